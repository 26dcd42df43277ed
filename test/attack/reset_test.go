package attack

import (
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// resets begins calls and cancels each at once (CVE-2023-44487).
func resets(n int, more ...string) attack {
	slow, id := message("slow"), uint32(1)
	all := encode(3*n, func(fr *http2.Framer, i int) error {
		switch i % 3 {
		case 0:
			return headers(id, true, request(echoPath, more...)...)(fr)
		case 1:
			return fr.WriteData(id, true, slow)
		}
		id += 2
		return fr.WriteRSTStream(id-2, http2.ErrCodeCancel)
	})
	return func(t *testing.T, x *target) (int, string) {
		h := x.h2(t)
		defer h.Close()
		go h.read()
		written := 0
		for piece := range slices.Chunk(all, 1<<15) {
			k, err := h.Write(piece)
			written += k
			if err != nil {
				break
			}
		}
		h.settle()
		return n * written / len(all), h.said()
	}
}

// mostHandlers is what a connection may keep busy, and the good client's one.
const mostHandlers = 250 + 1

func TestRapidReset(t *testing.T) {
	for _, protocols := range [][]string{nil, {"h2"}, {"h2", "http/1.1"}} {
		x := startEasyopsOver(t, protocols...)
		t.Run(x.name, func(t *testing.T) {
			d := strikeFor(t, x, resets(manyResets), sustained)
			unharmed(t, d)
			if d.peak > mostHandlers {
				t.Errorf("%d handlers ran at once, want at most %d", d.peak, mostHandlers)
			}
			if d.served >= manyResets {
				t.Errorf("all %d calls were served", d.served)
			}
		})
	}
	// Such calls end by their deadline, and count a tenth.
	t.Run("short deadline", func(t *testing.T) {
		d := strikeFor(t, startEasyops(t), resets(hastyResets, "grpc-timeout", "1u"), sustained)
		unharmed(t, d)
		if d.peak > mostHandlers {
			t.Errorf("%d handlers ran at once, want at most %d", d.peak, mostHandlers)
		}
		if d.sent >= hastyResets {
			t.Errorf("all %d calls were taken", d.sent)
		}
	})
	t.Run("control", func(t *testing.T) {
		if d := strikeFor(t, startBare(t), resets(manyResets), sustained); d.peak <= mostHandlers {
			t.Errorf("%d handlers ran at once, want more than %d: the attack is none", d.peak, mostHandlers)
		}
	})
}

// startEasyopsOver starts a server for clients that offer the protocols, or
// for plaintext where there are none.
func startEasyopsOver(t *testing.T, protocols ...string) *target {
	t.Helper()
	if len(protocols) == 0 {
		return startEasyops(t)
	}
	return startTLS(t, plain(t), protocols...)
}

// TestRapidResetAgain resets on a connection ten times a second: what another
// client notices.
func TestRapidResetAgain(t *testing.T) {
	if !full {
		t.Skip("the long version only: it fails on nothing that the others let pass")
	}
	each := resets(1_500)
	again := func(t *testing.T, x *target) (sent int, ended string) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		var all sync.WaitGroup
		for begun := time.Now(); time.Since(begun) < sustained; <-tick.C {
			sent += 1_500
			all.Go(func() { each(t, x) })
		}
		all.Wait()
		return sent, "one connection after the other"
	}
	for _, x := range []*target{startEasyops(t), startBare(t)} {
		if d := strikeFor(t, x, again, sustained); len(d.failed) > 0 {
			t.Errorf("%s: %d of %d calls failed, first: %v", x.name, len(d.failed), d.calls, d.failed[0])
		}
	}
}
