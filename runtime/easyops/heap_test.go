package easyops

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// heapGoal returns how large the heap may grow before garbage is collected.
func heapGoal() uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TestHeapReserve: garbage is collected less often while a server serves, and as
// often as before where GOGC is set.
func TestHeapReserve(t *testing.T) {
	held := reserveHeap()
	runtime.GC() // what other tests have left
	with := heapGoal()
	runtime.KeepAlive(held)
	if without := heapGoal(); with < without+heapReserve {
		t.Errorf("garbage is collected at %d bytes with the reserve, at %d without", with, without)
	}
	for gogc, want := range map[string]int{"": heapReserve, "100": 0} {
		t.Setenv("GOGC", gogc)
		inBubble(t, func(t *testing.T) {
			s := newRig(t, ways[0], &funcs{})
			held := func() int {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.reserve)
			}
			wantEqual(t, "before the start is over", held(), 0)
			time.Sleep(2 * time.Second)
			wantEqual(t, "held with GOGC "+gogc, held(), want)
		})
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
		{"", 100, 7 * heapReserve, 0},
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
