package easyops

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// newShards returns calls in so many shards, and a unary method.
func newShards(parts, most int) (*calls, *method) {
	s := &Server{calls: newCalls(Limits{Calls: most, Streams: most}, parts, nil, nil)}
	return s.calls, &method{server: s}
}

// The bound is exact, however the calls are spread over the shards, and however
// much room these have to spare.
func TestRoomIsExact(t *testing.T) {
	for _, parts := range []int{1, 2, 16} {
		for _, most := range []int{1, 3, 1000, 10_000} {
			cs, m := newShards(parts, most)
			var listed []*call
			fill := func() {
				for {
					c := &call{method: m}
					if !cs.add(c) {
						return
					}
					if !cs.arrived(c) {
						cs.remove(c)
						return
					}
					listed = append(listed, c)
				}
			}
			for range 3 {
				fill()
				if len(listed) != most || cs.inFlight() != int64(most) {
					t.Fatalf("%d shards: %d of %d calls, %d in flight", parts, len(listed), most, cs.inFlight())
				}
				rand.Shuffle(len(listed), func(i, j int) { listed[i], listed[j] = listed[j], listed[i] })
				for _, c := range listed[most/2:] {
					cs.remove(c)
				}
				listed = listed[:most/2]
			}
		}
	}
}

// At no time are there more calls than the bound, and all room comes back.
func TestRoomUnderLoad(t *testing.T) {
	const most = 50
	cs, m := newShards(8, most)
	var now, refused atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range 500 {
				c := &call{method: m}
				if !cs.add(c) || !cs.arrived(c) {
					refused.Add(1)
				} else {
					if n := now.Add(1); n > most {
						t.Errorf("%d calls", n)
					}
					now.Add(-1)
				}
				cs.remove(c)
			}
		})
	}
	all.Wait()
	if n := cs.inFlight(); n != 0 {
		t.Errorf("%d are left", n)
	}
	for k := range classes {
		cs.gather(k)
		if left := cs.rooms[k].left.Load(); left != cs.max[k] {
			t.Errorf("class %d: room for %d, want %d", k, left, cs.max[k])
		}
	}
}

// A receiver serves one call at a time, and few are kept.
func TestReceivers(t *testing.T) {
	cs, m := newShards(1, 1000)
	var listed []*call
	seen := map[*receiver]bool{}
	for range 2 * maxIdle {
		c := &call{method: m}
		if !cs.add(c) || seen[c.in] || c.in.call != c {
			t.Fatal("a receiver is not its call's alone")
		}
		seen[c.in] = true
		listed = append(listed, c)
	}
	for _, c := range listed {
		cs.remove(c)
	}
	kept := 0
	for r := cs.shards[0].idle; r != nil; r = r.next {
		if kept++; r.call != nil || r.decode != nil {
			t.Error("it keeps what was the call's")
		}
	}
	if kept != maxIdle {
		t.Errorf("%d are kept, want %d", kept, maxIdle)
	}
	again := &call{method: m}
	if !cs.add(again) || !seen[again.in] {
		t.Error("none is used again")
	}
}
