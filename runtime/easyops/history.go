package easyops

import (
	goruntime "runtime"
	gometrics "runtime/metrics"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/metrics"
	"github.com/go-easyops/easyops/runtime/status"
)

// The history of a server: points at two distances, and of each method a few.
const (
	fineStep   = 5 * time.Second
	coarseStep = time.Minute
	points     = 60 // of each
	perCoarse  = int(coarseStep / fineStep)

	methodStep  = time.Minute
	methodKept  = 6 // from the latest to about 5 min before
	methodSpan  = 5 * time.Minute
	methodSlack = methodStep / 2
	lastMinute  = time.Minute
)

// history is how a server has been of late, in memory that does not grow. Its
// zero value is ready for use, and takes none.
type history struct {
	server *Server

	mu      sync.Mutex
	samples int
	fine    []sample // of which the first is where the first point begins
	coarse  []sample
	methods map[*metrics.Method]*methodHistory
}

// sample is what has been counted at a time, and how things were then.
type sample struct {
	at         time.Time
	counts     counts
	judged     counts             // without the methods that every server has
	latencies  *metrics.Latencies // shared while no call ends
	inFlight   int64
	goroutines int
	heap       uint64
}

// counts are the calls, and requests to HTTP handlers, that have ended.
type counts struct{ calls, errors, faults uint64 }

func (c counts) sub(earlier counts) counts {
	return counts{c.calls - earlier.calls, c.errors - earlier.errors, c.faults - earlier.faults}
}

// sample is called each second, and takes a sample where it is time.
func (h *history) sample(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.fine) == 0 {
		zero := sample{at: h.server.started, latencies: &metrics.Latencies{}}
		h.fine, h.coarse = append(h.fine, zero), append(h.coarse, zero)
	}
	if now.Sub(h.latest().at) < fineStep-time.Second/2 {
		return
	}
	s := h.server.sampleNow(now, h.latest().latencies, h.noteMethod(now))
	h.fine = keep(h.fine, s, points+1)
	if h.samples++; h.samples%perCoarse == 0 {
		h.coarse = keep(h.coarse, s, points+1)
	}
}

func (h *history) latest() *sample { return &h.fine[len(h.fine)-1] }

// keep adds to a list and drops the oldest where there are more than so many.
func keep[T any](list []T, one T, most int) []T {
	if len(list) == most {
		copy(list, list[1:])
		list = list[:most-1]
	}
	return append(list, one)
}

// sampleNow takes a sample, and shows each method's totals, which hold for as long
// as each runs.
func (s *Server) sampleNow(now time.Time, before *metrics.Latencies, each func(*metrics.Method, *metrics.Totals)) sample {
	one := sample{at: now, inFlight: s.calls.inFlight(), goroutines: goruntime.NumGoroutine(), heap: heapBytes()}
	var latencies metrics.Latencies
	var t metrics.Totals
	s.eachCounted(func(m *metrics.Method) {
		t = m.Totals()
		of := countsOf(m, &t)
		one.counts.add(of)
		if !brought(m.Name()) {
			one.judged.add(of)
		}
		latencies.Add(&t.Latencies)
		each(m, &t)
	})
	one.latencies = before
	if before == nil || latencies != *before {
		one.latencies = &latencies
	}
	return one
}

// eachCounted calls f for what is counted: methods, and handlers of HTTP.
func (s *Server) eachCounted(f func(*metrics.Method)) {
	s.metrics.Each(f)
	s.requests.Each(f)
}

func (c *counts) add(of counts) {
	c.calls += of.calls
	c.errors += of.errors
	c.faults += of.faults
}

// countsOf tells the errors, and those that are the server's own.
func countsOf(m *metrics.Method, t *metrics.Totals) counts {
	c := counts{calls: t.Calls, errors: t.Calls - t.ByCode[codes.OK]}
	for code, n := range t.ByCode {
		if isFault(codes.Code(code), m.Name() != "other") {
			c.faults += n
		}
	}
	return c
}

// isFault tells the server's own faults from what clients bring about, such as
// calls of a method that is not registered.
func isFault(code codes.Code, registered bool) bool {
	switch code {
	case codes.Unknown, codes.Internal, codes.DataLoss, codes.Unavailable, codes.DeadlineExceeded:
		return true
	case codes.Unimplemented:
		return registered
	}
	return false
}

// heapBytes is what is on the heap, collected or not.
func heapBytes() uint64 {
	one := []gometrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	gometrics.Read(one)
	return one[0].Value.Uint64()
}

// lines are the histories, the fine one first.
func (h *history) lines() []status.HistoryData {
	h.mu.Lock()
	defer h.mu.Unlock()
	return []status.HistoryData{line(h.fine, fineStep), line(h.coarse, coarseStep)}
}

func line(samples []sample, step time.Duration) status.HistoryData {
	d := status.HistoryData{Step: status.Seconds(step), Points: []status.HistoryPoint{}}
	for i := 1; i < len(samples); i++ {
		d.Points = append(d.Points, samples[i].since(&samples[i-1]))
		d.End = samples[i].at.UTC()
	}
	return d
}

// since is the point from the sample before to this one.
func (s *sample) since(before *sample) status.HistoryPoint {
	c := s.counts.sub(before.counts)
	p := status.HistoryPoint{Calls: c.calls, Errors: c.errors, InFlight: s.inFlight, Goroutines: s.goroutines, HeapBytes: s.heap}
	if s.latencies != before.latencies {
		l := *s.latencies
		l.Sub(before.latencies)
		p.P50, p.P99 = status.Seconds(l.Quantile(0.5)), status.Seconds(l.Quantile(0.99))
	}
	return p
}

// windows are what calls were like in stretches of time that end with a sample.
func (h *history) windows(now sample, spans ...time.Duration) []status.TrafficData {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []status.TrafficData
	for _, span := range spans {
		from := h.ago(now.at, span)
		l := *now.latencies
		l.Sub(from.latencies)
		all = append(all, traffic(now.at.Sub(from.at), now.counts.sub(from.counts), &l))
	}
	return all
}

// ago is the sample that is nearest to a time before, or the start. Samples that
// were taken since do not count.
func (h *history) ago(now time.Time, span time.Duration) sample {
	nearest := sample{at: h.server.started, latencies: &metrics.Latencies{}}
	off := func(s sample) time.Duration { return (now.Sub(s.at) - span).Abs() }
	for _, s := range slices.Concat(h.coarse, h.fine) {
		if !s.at.After(now) && off(s) < off(nearest) {
			nearest = s
		}
	}
	return nearest
}

// judged are the calls of the same stretches of time that are looked at for
// problems.
func (h *history) judged(now sample, spans ...time.Duration) []status.CallCounts {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []status.CallCounts
	for _, span := range spans {
		from := h.ago(now.at, span)
		all = append(all, callCounts(now.at.Sub(from.at), now.judged.sub(from.judged)))
	}
	return all
}

func callCounts(window time.Duration, c counts) status.CallCounts {
	return status.CallCounts{Window: status.Seconds(window.Round(time.Millisecond)), Calls: c.calls, Errors: c.errors, Faults: c.faults}
}

func traffic(window time.Duration, c counts, l *metrics.Latencies) status.TrafficData {
	t := status.TrafficData{
		Window: status.Seconds(window.Round(time.Millisecond)), Calls: c.calls, Errors: c.errors, Faults: c.faults,
		P50: status.Seconds(l.Quantile(0.5)), P99: status.Seconds(l.Quantile(0.99)), Average: status.Seconds(l.Average()),
	}
	if window > 0 {
		t.Rate = float64(c.calls) / window.Seconds()
	}
	return t
}
