package easyops

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/metrics"
	"github.com/go-easyops/easyops/runtime/status"
)

// sampled is a server of which nothing but the history runs, by a clock of ours.
type sampled struct {
	*Server
	t   *testing.T
	now time.Time
}

func newSampled(t *testing.T) *sampled {
	t.Helper()
	set, err := metrics.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s := &Server{metrics: set, started: now, calls: newCalls(Limits{Calls: 10, Streams: 10}, 1, nil, nil)}
	s.history.server = s
	return &sampled{s, t, now}
}

// pass lets time pass, in each second of which so many calls of a method end.
func (s *sampled) pass(d time.Duration, m *metrics.Method, each int, code codes.Code, took time.Duration) {
	for range d / time.Second {
		for range each {
			m.Started(0)
			m.Done(0, code, took)
		}
		s.now = s.now.Add(time.Second)
		s.history.sample(s.now)
	}
}

// traffic is that of the last minute, 5 minutes and hour.
func (s *sampled) last() []status.TrafficData {
	one := s.sampleNow(s.now, nil, func(*metrics.Method, *metrics.Totals) {})
	return s.history.windows(one, time.Minute, 5*time.Minute, time.Hour)
}

func (s *sampled) ofMethod(m *metrics.Method) status.MethodTraffic {
	t := m.Totals()
	return s.history.method(s.now, m, &t)
}

func TestHistoryOfAYoungServer(t *testing.T) {
	s := newSampled(t)
	m := s.metrics.Method("a/B")
	s.pass(3*time.Second, m, 2, codes.OK, time.Millisecond)
	for _, w := range s.last() {
		if w.Calls != 6 || w.Rate != 2 || w.Window != status.Seconds(3*time.Second) || w.Errors != 0 {
			t.Errorf("%+v", w)
		}
	}
	if lines := s.history.lines(); len(lines[0].Points) != 0 || len(lines[1].Points) != 0 {
		t.Errorf("there are points before their time: %+v", lines)
	}
	s.pass(2*time.Second, m, 2, codes.NotFound, time.Millisecond)
	lines := s.history.lines()
	if p := lines[0].Points; len(p) != 1 || p[0].Calls != 10 || p[0].Errors != 4 || !lines[0].End.Equal(s.now) {
		t.Errorf("the first point: %+v", lines[0])
	}
	if w := s.ofMethod(m); w.Calls != 10 || w.Errors != 4 || w.Rate != 2 || w.Faults != 0 {
		t.Errorf("the method: %+v", w)
	}
}

func TestHistoryForgets(t *testing.T) {
	s := newSampled(t)
	m := s.metrics.Method("a/B")
	s.pass(30*time.Minute, m, 1, codes.Internal, time.Second)
	s.pass(6*time.Minute, m, 3, codes.OK, time.Millisecond)
	got := s.last()
	for i, want := range []struct {
		window, p50 time.Duration
		calls, bad  uint64
	}{
		{time.Minute, time.Millisecond, 180, 0},
		{5 * time.Minute, time.Millisecond, 900, 0},
		{36 * time.Minute, time.Second, 1800 + 1080, 1800},
	} {
		w := got[i]
		if time.Duration(w.Window) != want.window || w.Calls != want.calls || w.Faults != want.bad || w.Errors != want.bad || !near(w.P50, want.p50) {
			t.Errorf("%+v, want %+v", w, want)
		}
	}
	w := s.ofMethod(m)
	if span := time.Duration(w.Window); span < 4*time.Minute+30*time.Second || span > 5*time.Minute+30*time.Second || w.Errors != 0 || w.Rate != 3 {
		t.Errorf("the method: %+v", w)
	}
	s.pass(2*time.Hour, m, 0, codes.OK, 0)
	lines := s.history.lines()
	if len(lines[0].Points) != points || len(lines[1].Points) != points {
		t.Errorf("%d and %d points", len(lines[0].Points), len(lines[1].Points))
	}
	for _, w := range append(s.last(), s.ofMethod(m).TrafficData) {
		if w.Calls != 0 || w.P99 != 0 || w.Rate != 0 {
			t.Errorf("after two hours of nothing: %+v", w)
		}
	}
}

func near(got status.Seconds, want time.Duration) bool {
	off := time.Duration(got) - want
	return off.Abs() < want/8
}

func TestHistoryHasLatencies(t *testing.T) {
	s := newSampled(t)
	m := s.metrics.Method("a/B")
	s.pass(5*time.Second, m, 2, codes.OK, 10*time.Millisecond)
	s.pass(5*time.Second, m, 0, codes.OK, 0)
	s.pass(5*time.Second, m, 2, codes.OK, time.Second)
	p := s.history.lines()[0].Points
	if len(p) != 3 || !near(p[0].P50, 10*time.Millisecond) || p[1].P50 != 0 || !near(p[2].P50, time.Second) || !near(p[2].P99, time.Second) {
		t.Errorf("%+v", p)
	}
	if p[0].Goroutines == 0 || p[0].HeapBytes == 0 {
		t.Errorf("the process is missing: %+v", p[0])
	}
}

func TestFaultsAreTheServers(t *testing.T) {
	s := newSampled(t)
	m, other := s.metrics.Method("a/B"), s.metrics.Other()
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		m.Done(0, code, 0)
		other.Done(0, code, 0)
	}
	w := s.last()[0]
	if w.Calls != 34 || w.Errors != 32 || w.Faults != 6+5 {
		t.Errorf("%+v", w)
	}
}

// TestHistoryKeepsMethodsWithoutCallsForNothing holds the memory of 2,000 methods
// against a bound, and that it does not grow.
func TestHistoryKeepsMethodsWithoutCallsForNothing(t *testing.T) {
	s := newSampled(t)
	var all []*metrics.Method
	for i := range 2000 {
		all = append(all, s.metrics.Method(fmt.Sprint("a/", i)))
	}
	s.pass(time.Minute, all[0], 1, codes.OK, time.Millisecond)
	if n := len(s.history.methods); n != 1 {
		t.Errorf("%d methods are kept", n)
	}
	for range 12 {
		for _, m := range all {
			m.Done(0, codes.OK, time.Millisecond)
		}
		s.pass(time.Minute, all[0], 0, codes.OK, 0)
	}
	for m, of := range s.history.methods {
		kept := of.moments
		if len(kept) > methodKept || cap(kept) > 2*methodKept {
			t.Fatalf("%d moments of %s, room for %d", len(kept), m.Name(), cap(kept))
		}
	}
}

func BenchmarkSampleOf2000Methods(b *testing.B) {
	set, err := metrics.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	s := &Server{metrics: set, started: time.Now(), calls: newCalls(Limits{Calls: 10, Streams: 10}, 1, nil, nil)}
	s.history.server = s
	for i := range 2000 {
		set.Method(fmt.Sprint("a/", i)).Done(0, codes.OK, time.Millisecond)
	}
	now := s.started
	for b.Loop() {
		now = now.Add(fineStep)
		s.history.sample(now)
	}
}

// TestOneMethodThatFailsIsNotDiluted: its last minute is told by itself, and what
// every server has is not judged.
func TestOneMethodThatFailsIsNotDiluted(t *testing.T) {
	s := newSampled(t)
	busy, failing, health := s.metrics.Method("a/Busy"), s.metrics.Method("a/Failing"), s.metrics.Method("grpc.health.v1.Health/Check")
	for range 6 * 60 {
		health.Done(0, codes.Unavailable, 0)
		s.pass(time.Second, busy, 10, codes.OK, time.Millisecond)
	}
	if got := s.ofMethod(failing).LastMinute; got.Calls != 0 {
		t.Errorf("before its first call: %+v", got)
	}
	for range 12 {
		failing.Done(0, codes.Unavailable, time.Millisecond)
		s.pass(5*time.Second, busy, 10, codes.OK, time.Millisecond)
	}
	if got := s.ofMethod(failing).LastMinute; got.Calls != 12 || got.Errors != 12 || got.Faults != 12 || got.Window != status.Seconds(time.Minute) {
		t.Errorf("the method that fails: %+v", got)
	}
	if got := s.ofMethod(busy).LastMinute; got.Calls != 600 || got.Faults != 0 {
		t.Errorf("the busy one: %+v", got)
	}
	one := s.sampleNow(s.now, nil, func(*metrics.Method, *metrics.Totals) {})
	judged, all := s.history.judged(one, 5*time.Minute)[0], s.last()[1]
	if judged.Calls != 3012 || judged.Faults != 12 || all.Calls != 3012+240 || all.Faults != 12+240 {
		t.Errorf("judged %+v, of all %+v", judged, all)
	}
	s.pass(2*time.Minute, busy, 1, codes.OK, 0)
	if got := s.ofMethod(failing).LastMinute; got.Calls != 0 {
		t.Errorf("2 min later: %+v", got)
	}
	for m, of := range s.history.methods {
		if len(of.tallies) > perCoarse+1 {
			t.Errorf("%d tallies of %s", len(of.tallies), m.Name())
		}
	}
}

// A server that serves takes samples by itself, and its charts have points.
func TestServersKeepAHistory(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{})
		client := r.client()
		for range 3 {
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
		}
		time.Sleep(2*coarseStep + time.Second)
		lines := r.history.lines()
		wantEqual(t, "points", fmt.Sprint(len(lines[0].Points), len(lines[1].Points)), "24 2")
		wantEqual(t, "calls", fmt.Sprint(lines[0].Points[0].Calls, lines[1].Points[0].Calls, lines[1].Points[1].Calls), "3 3 0")
	})
}

// A sample that was taken after the time that is asked about is not one of before,
// where no other is as near.
func TestHistoryDoesNotRunBackwards(t *testing.T) {
	s := newSampled(t)
	m := s.metrics.Method("a/B")
	s.now = s.now.Add(time.Hour) // the machine slept
	asked := s.sampleNow(s.now, nil, func(*metrics.Method, *metrics.Totals) {})
	s.pass(time.Second, m, 5, codes.OK, time.Millisecond)
	for _, w := range s.history.windows(asked, time.Minute, 5*time.Minute) {
		if w.Calls != 0 || w.Errors != 0 {
			t.Errorf("%+v", w)
		}
	}
}
