package easyops

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/status"
)

// callBy returns a call of a method by a service.
func callBy(m *method, service string, part int) *call {
	c := &call{Context: context.Background(), method: m, flight: &flight{part: uint8(part), dice: 1}}
	if service != "" {
		c.caller.Service = &auth.Principal{ID: service}
	}
	return c
}

// totals returns what the rows of each caller have counted.
func (cs *callers) totals() map[string]uint64 {
	all := map[string]uint64{}
	cs.each(func(r *callerRow, t *callerTotals) {
		all[strings.TrimSpace(r.kind.String()+" "+r.id)] += t.latency.Count()
	})
	return all
}

func sum(of map[string]uint64) (n uint64) {
	for _, c := range of {
		n += c
	}
	return n
}

// A call is counted by the service that makes it, else by the user, else as one of
// nobody.
func TestWhoACallerIs(t *testing.T) {
	cs, m := newCallers(2), &method{name: "a.B/C"}
	user, service := &auth.Principal{ID: "alice"}, &auth.Principal{ID: "shop"}
	for _, id := range []auth.Identity{{}, {User: user}, {Service: service}, {User: user, Service: service}} {
		c := callBy(m, "", 1)
		c.caller.Identity = id
		cs.ended(c, codes.OK, time.Millisecond)
	}
	cs.ended(callBy(m, "alice", 0), codes.OK, time.Millisecond)      // a service like a user
	cs.ended(callBy(m, "shop", 0), codes.Code(99), time.Millisecond) // which gRPC does not define
	got := cs.totals()
	for who, want := range map[string]uint64{"nobody": 1, "user alice": 1, "service shop": 3, "service alice": 1} {
		if got[who] != want {
			t.Errorf("%s: %d calls, want %d; all: %v", who, got[who], want, got)
		}
	}
	cs.each(func(r *callerRow, n *callerTotals) {
		if want := uint64(0); r.id == "shop" && (n.failed[codes.Unknown] != 1 || n.failed[codes.OK] != want) {
			t.Errorf("failed: %v", n.failed)
		}
	})
}

// heap is what is in use once garbage is collected.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// However many callers there are, the table and the page of it stay as they are:
// 100,000 take no more memory than 2,000, and no call is lost. Kept one by one,
// they would.
func TestCallersAreBounded(t *testing.T) {
	const few, many = 2000, 100_000
	s := &Server{callers: newCallers(16), started: time.Now()}
	m := &method{name: "a.B/C"}
	calls := func(from, to int, count func(*call)) {
		for i := from; i < to; i++ {
			count(callBy(m, "spiffe://example.org/ns/default/sa/service-"+strconv.Itoa(i), i%16))
		}
	}
	count := func(c *call) { s.callers.ended(c, codes.NotFound, time.Duration(c.dice+uint32(rand.IntN(1<<30)))) }
	page := func() []byte {
		b, err := json.Marshal(s.callersPage())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	empty := heap()
	calls(0, few, count)
	for range 10 * maxCallers { // every row has been in all its buckets
		calls(0, 10, count)
	}
	before, size := heap(), len(page())
	calls(few, many, count)
	grown := heap() - before
	t.Logf("%d rows take %d KiB; with %d callers %d KiB more, the page has %d KiB", len(s.callers.rows), (before-empty)>>10, many, grown>>10, len(page())>>10)
	if grown > 256<<10 {
		t.Errorf("%d callers take %d bytes more than %d", many, grown, few)
	}
	if len(s.callers.rows) != maxCallers || len(s.callers.rest) != 1 {
		t.Errorf("%d rows and %d more", len(s.callers.rows), len(s.callers.rest))
	}
	if now := len(page()); now > size+100 || now > 1<<20 {
		t.Errorf("the page had %d bytes and has %d", size, now)
	}
	if n := sum(s.callers.totals()); n != many+10*maxCallers*10 {
		t.Errorf("%d calls are counted", n)
	}

	kept := map[string]*callerRow{}
	before = heap()
	calls(0, many/5, func(c *call) {
		k := s.callers.key(c.caller.Identity)
		kept[k.id] = s.callers.newRow(m, k)
	})
	if grown := heap() - before; grown < 4<<20 {
		t.Errorf("negative control: %d rows take %d bytes", len(kept), grown)
	}
	runtime.KeepAlive(kept)
	runtime.KeepAlive(s)
}

// All rows take less than 8 MiB with 16 parts, were every one of them as large as
// it can be.
func TestMemoryOfCallers(t *testing.T) {
	if size := unsafe.Sizeof(callerCount{}); size != 256 {
		t.Errorf("a place has %d bytes: it is to fill whole cache lines", size)
	}
	var calls []*call
	for i := range maxCallers {
		calls = append(calls, callBy(&method{name: "a.B/C"}, strings.Repeat("x", maxCallerID)+strconv.Itoa(i), i%16))
	}
	before := heap()
	cs := newCallers(16)
	for range busyFrom {
		for _, c := range calls {
			c.dice = 0
			cs.ended(c, codes.OK, time.Millisecond)
		}
	}
	cs.sweep(0)
	for d := time.Microsecond; d < time.Hour; d *= 2 {
		for _, r := range cs.rows {
			r.each(func(n *callerCount) { n.add(codes.OK, d, 0) })
		}
	}
	size := heap() - before
	t.Logf("%d rows, of which %d are busy: %d KiB", len(cs.rows), cs.busy, size>>10)
	if cs.busy != maxBusy || size > 8<<20 {
		t.Errorf("%d busy rows, %d bytes", cs.busy, size)
	}
	runtime.KeepAlive(cs)
	runtime.KeepAlive(calls)
}

// unheard is the stream of a call to a method that there is not.
type unheard struct {
	grpc.ServerStream
	ctx context.Context
}

func (u unheard) Context() context.Context { return u.ctx }

// transport is what grpc-go has below it.
type transport struct {
	grpc.ServerTransportStream
	method string
}

func (s transport) Method() string { return s.method }

// However many methods are asked for that there are not, they are one row, one
// series and no memory.
func TestUnknownMethodsAreOneRow(t *testing.T) {
	r := newRig(t, ways[0], &funcs{})
	r.holdReserve() // it counts for the heap, and comes a second after the start otherwise
	h := r.unknownHandler()
	call := func(from, to int) {
		for i := from; i < to; i++ {
			below := transport{method: "/made.up.Service/Method" + strconv.Itoa(i)}
			err := h(nil, unheard{ctx: grpc.NewContextWithServerTransportStream(t.Context(), below)})
			if grpcstatus.Code(err) != codes.Unimplemented {
				t.Fatal(err)
			}
		}
	}
	series := func() (n int) {
		families, err := r.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			n += len(f.Metric)
		}
		return n
	}
	call(0, 2000)
	before, had := heap(), series()
	call(2000, 100_000)
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("100,000 unknown methods take %d bytes more than 2,000", grown)
	}
	if now := series(); now != had {
		t.Errorf("%d series, and %d before", now, had)
	}
	data := r.callersPage()
	if len(data.Callers) != 1 {
		t.Fatalf("%d rows: %+v", len(data.Callers), data.Callers)
	}
	c := data.Callers[0]
	if c.Method != "unknown method" || c.Kind != "nobody" || c.Calls != 100_000 || c.Errors["UNIMPLEMENTED"] != 100_000 || c.Failed != c.Calls {
		t.Errorf("%+v", c)
	}
}

// Counting a call of a known caller allocates nothing, also where it has no row.
func TestCountingAllocatesNothing(t *testing.T) {
	cs, m := newCallers(16), &method{name: "a.B/C"}
	for i := range maxCallers + 1 {
		cs.ended(callBy(m, strconv.Itoa(i), 0), codes.OK, time.Millisecond)
	}
	for _, id := range []string{"0", "1000", strconv.Itoa(maxCallers), "never seen"} {
		c := callBy(m, id, 3)
		if n := testing.AllocsPerRun(100, func() { cs.ended(c, codes.OK, time.Millisecond) }); n > 0 {
			t.Errorf("%s: %.0f allocations", id, n)
		}
	}
}

// Writers, sweeps and readers do not disturb each other, and nothing is lost.
func TestCallersTogether(t *testing.T) {
	const writers, calls = 32, 4000
	cs := newCallers(4)
	methods := []*method{{name: "a.B/C"}, {name: "a.B/D"}, {name: "a.B/E"}}
	var group sync.WaitGroup
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for now := time.Duration(0); ; now += time.Second {
				select {
				case <-stop:
					return
				default:
					cs.sweep(now % (5 * time.Minute)) // no row is idle
					cs.totals()
				}
			}
		})
	}
	for w := range writers {
		group.Go(func() {
			for i := range calls {
				c := callBy(methods[i%len(methods)], strconv.Itoa(i%700), w%4)
				c.dice = uint32(i)
				cs.ended(c, codes.Code(i%3), time.Duration(i)*time.Microsecond)
			}
		})
	}
	group.Wait()
	close(stop)
	others.Wait()
	if n := sum(cs.totals()); n != writers*calls {
		t.Errorf("%d calls are counted, %d were made", n, writers*calls)
	}
	if len(cs.rows) != maxCallers {
		t.Errorf("%d rows", len(cs.rows))
	}
}

// A busy row is counted in a place for each part, which add up, and no more than 64
// are.
func TestBusyRowsSpread(t *testing.T) {
	cs, m := newCallers(4), &method{name: "a.B/C"}
	busy := callBy(m, "busy", 0)
	for part := range uint8(4) {
		busy.part = part
		for range 300 {
			busy.dice = 0 // it is among those that are counted for this
			cs.ended(busy, codes.OK, time.Millisecond)
			cs.ended(callBy(m, "idle", int(part)), codes.OK, time.Millisecond)
		}
		cs.sweep(0)
	}
	places := func(r *callerRow) (n int) {
		r.each(func(*callerCount) { n++ })
		return n
	}
	for _, r := range cs.rows {
		if want := map[string]int{"busy": 4, "idle": 1}[r.id]; places(r) != want {
			t.Errorf("%s: %d places, want %d", r.id, places(r), want)
		}
	}
	if got := cs.totals(); got["service busy"] != 1200 || got["service idle"] != 1200 {
		t.Errorf("%v", got)
	}
}

// Rows that were busy and are given away leave their places to others: 64 may be
// busy at a time, however often.
func TestBusyRowsGiveTheirPlaceBack(t *testing.T) {
	const rounds = 3
	cs, m := newCallers(2), &method{name: "a.B/C"}
	for round := range time.Duration(rounds) {
		now := round * 2 * callerIdle
		for i := range maxBusy {
			c := callBy(m, fmt.Sprint(round, i), 0)
			c.begun = now
			for range busyFrom {
				c.dice = 0
				cs.ended(c, codes.OK, 0)
			}
		}
		cs.sweep(now)
		busy := 0
		for _, r := range cs.rows {
			if r.busy {
				busy++
			}
		}
		if busy != maxBusy || cs.busy != maxBusy {
			t.Errorf("round %d: %d rows are busy, and %d by the count", round, busy, cs.busy)
		}
		cs.short.Store(true)
		cs.sweep(now + callerIdle)
		if cs.busy != 0 || len(cs.rows) != 0 {
			t.Errorf("round %d: %d rows are left, %d by the count are busy", round, len(cs.rows), cs.busy)
		}
	}
	if got := cs.totals(); got["other"] != rounds*maxBusy*busyFrom {
		t.Errorf("%v", got)
	}
}

// A row that is given away while the page looks at the rows, before its turn, is
// shown with the others alone.
func TestRowsGoWhileThePageIsMade(t *testing.T) {
	cs, m := newCallers(1), &method{name: "a.B/C"}
	for i := range 10 {
		cs.ended(callBy(m, strconv.Itoa(i), 0), codes.OK, 0)
	}
	seen, calls := 0, uint64(0)
	cs.each(func(_ *callerRow, t *callerTotals) {
		if seen++; seen == 4 {
			cs.short.Store(true)
			cs.sweep(callerIdle)
		}
		calls += t.latency.Count()
	})
	// The four that were shown are with the others too.
	if seen != 5 || calls != 4+10 {
		t.Errorf("%d rows with %d calls", seen, calls)
	}
}

// A row whose last call was 10 minutes ago is given away, and not before. What it
// has counted goes on in the row of the others.
func TestIdleRowsAreGivenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRig(t, ways[0], &funcs{})
		m := h.methods[unaryMethod]
		call := func(id string) {
			c := callBy(m, id, 0)
			c.begun = h.uptime()
			h.callers.ended(c, codes.OK, 0)
		}
		for i := range maxCallers {
			call(strconv.Itoa(i))
		}
		row := func(id string) *callerRow {
			return m.callers.known.Load().find(h.callers.key(auth.Identity{Service: &auth.Principal{ID: id}}))
		}
		call("new")
		time.Sleep(callerIdle - 10*time.Second)
		call("0") // not idle
		call("new")
		time.Sleep(5 * time.Second)
		if row("new") != nil || row("1") == nil {
			t.Error("a row was given away too early")
		}
		time.Sleep(10 * time.Second)
		if row("1") == nil {
			t.Error("a row was given away that nobody needs")
		}
		call("new")
		time.Sleep(2 * time.Second)
		call("new")
		if row("new") == nil || row("0") == nil {
			t.Error("there is still no room, or the wrong row was given away")
		}
		if n := len(h.callers.rows); n != maxCallers-maxDropped+1 {
			t.Errorf("%d rows", n)
		}
		got := h.callers.totals()
		if got["other"] != maxDropped+3 || got["service new"] != 1 || got["service 0"] != 2 || sum(got) != maxCallers+5 {
			t.Errorf("other %d, new %d, 0 %d, all %d", got["other"], got["service new"], got["service 0"], sum(got))
		}
		if data := h.callersPage(); data.Unlisted != maxDropped+3 {
			t.Errorf("%d calls are unlisted", data.Unlisted)
		}
	})
}

// IDs that are long or odd are shown short and clean, and are told apart all the
// same.
func TestOddIDs(t *testing.T) {
	s := &Server{callers: newCallers(1), started: time.Now()}
	m := &method{name: "a.B/C"}
	long := strings.Repeat("ä", 5000)
	for _, id := range []string{long + "1", long + "2", "line\nfeed\x1b[31m", ""} {
		c := callBy(m, "", 0)
		c.caller.User = &auth.Principal{ID: id}
		s.callers.ended(c, codes.OK, time.Second)
	}
	data := s.callersPage()
	if len(data.Callers) != 4 {
		t.Fatalf("%d rows", len(data.Callers))
	}
	for _, c := range data.Callers {
		if c.Kind != "user" || len(c.Caller) > 3*maxCallerID || strings.ContainsAny(c.Caller, "\n\x1b") || c.P50 < status.Seconds(900*time.Millisecond) || c.P99 > status.Seconds(1100*time.Millisecond) {
			t.Errorf("%+v", c)
		}
	}
}

// BenchmarkCallers measures what it costs to count a call, by one processor and by
// all: for one caller, for many, and where there is no room.
func BenchmarkCallers(b *testing.B) {
	for _, test := range []struct {
		name    string
		callers int
	}{{"one", 1}, {"hundred", 100}, {"full", maxCallers}, {"no room", 4 * maxCallers}} {
		cs, m := newCallers(16), &method{name: "bench.Service/Method"}
		var parts atomic.Int64
		run := func(next func() bool) {
			part := int(parts.Add(1)) % 16
			var calls []*call
			for i := range test.callers {
				c := callBy(m, "spiffe://example.org/ns/shop/sa/"+strconv.Itoa(i), part)
				c.dice = uint32(i)
				cs.ended(c, codes.OK, time.Millisecond)
				calls = append(calls, c)
			}
			for i := 0; next(); i++ {
				c := calls[i%len(calls)]
				c.dice = uint32(i)
				cs.ended(c, codes.OK, time.Duration(i%1000)*time.Microsecond)
			}
		}
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			run(b.Loop)
			cs.sweep(0)
		})
		b.Run(test.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) { run(pb.Next) })
		})
	}
}
