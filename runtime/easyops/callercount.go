package easyops

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/metrics"
	"github.com/go-easyops/easyops/runtime/status"
)

// callerCount is what is counted of a row in one place.
type callerCount struct {
	last    atomic.Int64 // milliseconds from the start of the server to the end of the last call
	latency metrics.Latency
	failed  [codes.Unauthenticated + 1]atomic.Uint64 // by code
	_       [8]byte                                  // to 256, so that no place is in a cache line of another
}

func (n *callerCount) add(code codes.Code, elapsed, at time.Duration) {
	n.latency.Observe(elapsed)
	if code != codes.OK {
		if int(code) >= len(n.failed) {
			code = codes.Unknown
		}
		n.failed[code].Add(1)
	}
	if ms := at.Milliseconds(); ms > n.last.Load() {
		n.last.Store(ms)
	}
}

// callerTotals is what has been counted of a row in all places.
type callerTotals struct {
	last    time.Duration
	latency metrics.Latencies
	failed  [codes.Unauthenticated + 1]uint64
}

// addTo adds what has been counted to t. The caller holds callers.mu, as that of
// last does.
func (r *callerRow) addTo(t *callerTotals) {
	t.last = max(t.last, r.last())
	r.each(func(n *callerCount) {
		for code := range n.failed { // first: what has failed by now has been timed
			t.failed[code] += n.failed[code].Load()
		}
		n.latency.AddTo(&t.latency)
	})
	if r.gone != nil {
		t.latency.Add(&r.gone.latency)
		for code, n := range r.gone.failed {
			t.failed[code] += n
		}
	}
}

// last returns when the last call ended.
func (r *callerRow) last() (last time.Duration) {
	r.each(func(n *callerCount) { last = max(last, time.Duration(n.last.Load())*time.Millisecond) })
	return last
}

// each calls f for each place.
func (r *callerRow) each(f func(*callerCount)) {
	f(&r.count)
	if parts := r.parts.Load(); parts != nil {
		for i := range *parts {
			f(&(*parts)[i])
		}
	}
}

// describeCaller is what the page of the callers shows of a row.
func (s *Server) describeCaller(r *callerRow, t *callerTotals) status.Caller {
	c := status.Caller{
		Method: r.method.name, Kind: r.kind.String(), Caller: clean(r.id), Calls: t.latency.Count(), Errors: map[string]uint64{},
		Last: s.started.Add(t.last), P50: status.Seconds(t.latency.Quantile(0.5)), P99: status.Seconds(t.latency.Quantile(0.99)),
	}
	if r.size > len(r.id) {
		c.Caller += "…"
	}
	for code, n := range t.failed {
		if n > 0 {
			c.Errors[codeName(codes.Code(code))] = n
			c.Failed += n
		}
	}
	return c
}

// callersPage is what the page of the callers shows.
func (s *Server) callersPage() (data status.CallersData) {
	s.callers.each(func(r *callerRow, t *callerTotals) {
		c := s.describeCaller(r, t)
		data.Callers = append(data.Callers, c)
		if r.kind == byOthers {
			data.Unlisted += c.Calls
		}
	})
	return data
}
