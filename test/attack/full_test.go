//go:build real

package attack

import "time"

// How much the attacks are.
const (
	manyResets  = 100_000   // calls begun and cancelled on one connection
	hastyResets = 100_000   // the same, of calls without time
	manyFrames  = 1_000_000 // frames of a flood
	tinyFrames  = 1_000_000 // DATA frames of one byte
	manyBlocks  = 20_000    // CONTINUATION frames of 15,000 bytes
	bombBytes   = 1 << 30
	slowEach    = 100                     // connections of each kind of slowness
	heldCalls   = 64                      // calls that keep the last byte of 4 MiB back
	tardiness   = 2500 * time.Millisecond // of clients that are to notice that they were closed

	full       = true            // all comparisons
	settling   = time.Second     // for the server to take note
	quietCalls = 2000            // of a client before the attack
	sustained  = 5 * time.Second // for attacks that go on
)
