package easyops

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
)

// collections returns how many times garbage is collected while 256 MiB of it
// come into being.
func collections() uint32 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 16 << 10 {
		garbage = make([]byte, 16<<10)
	}
	runtime.ReadMemStats(&after)
	return after.NumGC - before.NumGC
}

var garbage []byte // where the compiler must put it on the heap

// TestHeapReserve: garbage is collected less often while a server serves, and as
// often as before where GOGC is set.
func TestHeapReserve(t *testing.T) {
	without := collections()
	r := newRig(t, ways[0], &funcs{})
	with := collections()
	runtime.KeepAlive(r)
	if with == 0 || with > without/2 {
		t.Errorf("%d collections with a server, %d without", with, without)
	}
	t.Setenv("GOGC", "100")
	told := newRig(t, ways[0], &funcs{})
	if n := len(told.reserve); n != 0 {
		t.Errorf("%d bytes are held though GOGC is set", n)
	}
}

func TestReserveFor(t *testing.T) {
	for _, c := range []struct {
		gogc    string
		percent uint64
		limit   int64
		want    int
	}{
		{"", 100, math.MaxInt64, heapReserve},
		{"", 100, 1 << 30, heapReserve},
		{"", 100, 64 << 20, 0},
		{"100", 100, math.MaxInt64, 0},
		{"", 400, math.MaxInt64, 0},
	} {
		if got := reserveFor(c.gogc, c.percent, c.limit); got != c.want {
			t.Errorf("GOGC %q, percent %d, limit %d: %d bytes, want %d", c.gogc, c.percent, c.limit, got, c.want)
		}
	}
}

func TestGCPercent(t *testing.T) {
	was := debug.SetGCPercent(321)
	defer debug.SetGCPercent(was)
	if got := gcPercent(); got != 321 {
		t.Errorf("got %d", got)
	}
	debug.SetGCPercent(-1)
	if got := gcPercent(); got == 100 {
		t.Error("off is 100")
	}
}
