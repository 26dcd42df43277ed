//go:build !real

package attack

import "time"

// How much the attacks are.
const (
	manyResets  = 10_000  // calls begun and cancelled on one connection
	hastyResets = 100_000 // the same, of calls without time
	manyFrames  = 50_000  // frames of a flood
	tinyFrames  = 100_000 // DATA frames of one byte
	manyBlocks  = 2_000   // CONTINUATION frames of 15,000 bytes
	bombBytes   = 32 << 20
	slowEach    = 20           // connections of each kind of slowness
	heldCalls   = 16           // calls that keep the last byte of 4 MiB back
	tardiness   = patience / 2 // of clients that are to notice that they were closed

	full       = false                  // all comparisons
	settling   = 200 * time.Millisecond // for the server to take note
	quietCalls = 500                    // of a client before the attack
	sustained  = 300 * time.Millisecond // for attacks that go on
)
