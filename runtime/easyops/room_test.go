package easyops

import (
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/go-easyops/easyops/runtime/port"
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

// A flight is one call's at a time, and few are kept, with nothing of the call.
func TestFlights(t *testing.T) {
	cs, m := newShards(1, 1000)
	var listed []*call
	seen := map[*flight]bool{}
	for range 2 * maxIdle {
		c := &call{method: m}
		if !cs.board(c, time.Second, &port.Use{}) || seen[c.flight] || c.of != c {
			t.Fatal("a flight is not its call's alone")
		}
		seen[c.flight] = true
		listed = append(listed, c)
	}
	for _, c := range listed {
		c.decode = func(any) error { return nil }
		cs.land(c)
		if c.flight != nil {
			t.Error("a call that is over has what is another's next")
		}
	}
	kept := 0
	for f := cs.shards[0].idle; f != nil; f = f.idle {
		f.receive = nil
		if kept++; !reflect.DeepEqual(f, &flight{idle: f.idle, after: f.after}) {
			t.Errorf("it keeps what was the call's: %+v", f)
		}
	}
	if kept != maxIdle {
		t.Errorf("%d are kept, want %d", kept, maxIdle)
	}
	again := &call{method: m}
	if !cs.board(again, 0, nil) || !seen[again.flight] {
		t.Error("none is used again")
	}
}

// A call that is refused gives its flight back too.
func TestFlightOfARefusedCall(t *testing.T) {
	cs, m := newShards(1, 1)
	m.stream = true
	cs.max[streaming] = 1
	cs.rooms[streaming].init(1, 1)
	first, second := &call{method: m}, &call{method: m}
	if !cs.board(first, 0, nil) || cs.board(second, 0, nil) {
		t.Fatal("the bound does not hold")
	}
	cs.land(second)
	cs.land(first)
	wantEqual(t, "in flight", cs.inFlight(), 0)
	if f := cs.shards[0].idle; f == nil || f.idle == nil {
		t.Error("a flight is lost")
	}
}

// What every call allocates is no more than it was made for.
func TestSizeOfACall(t *testing.T) {
	wantEqual(t, "bytes", unsafe.Sizeof(call{}), 80)
}
