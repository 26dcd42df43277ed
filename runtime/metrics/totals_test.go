package metrics

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

func TestEachMethod(t *testing.T) {
	s := newSet(t, nil)
	s.Method("/a.B/C")
	s.Method("a.B/C")
	s.Method("a.B/D")
	var names []string
	s.Each(func(m *Method) { names = append(names, m.Name()) })
	slices.Sort(names)
	if want := []string{"a.B/C", "a.B/D", "other"}; !slices.Equal(names, want) {
		t.Errorf("methods %q, want %q", names, want)
	}
}

func TestTotals(t *testing.T) {
	s := newSet(t, nil)
	m := s.Method("a.B/C")
	last := s.Parts() - 1
	m.Started(0)
	m.Started(last)
	m.Started(0)
	m.Done(0, codes.OK, time.Millisecond)
	m.Done(last, codes.NotFound, 3*time.Millisecond)
	got := m.Totals()
	if got.Started != 3 || got.Calls != 2 || got.ByCode[codes.OK] != 1 || got.ByCode[codes.NotFound] != 1 {
		t.Errorf("totals %+v", got)
	}
	if got.Latencies != latenciesOf(time.Millisecond, 3*time.Millisecond) {
		t.Error("the latencies are not those of both parts and codes")
	}
	if none := s.Other().Totals(); none != (Totals{}) {
		t.Errorf("other has %+v", none)
	}
}

// However they are read, not more calls have ended than begun.
func TestTotalsOfRunningCalls(t *testing.T) {
	s := newSet(t, nil)
	m := s.Method("a.B/C")
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() {
			for range 20_000 {
				m.Started(n % s.Parts())
				m.Done(n%s.Parts(), codes.OK, time.Millisecond)
			}
		})
	}
	for range 200 {
		if got := m.Totals(); got.Calls > got.Started {
			t.Errorf("%d of %d calls have ended", got.Calls, got.Started)
		}
	}
	wg.Wait()
	if got := m.Totals(); got.Calls != 40_000 || got.Latencies.Count() != 40_000 {
		t.Errorf("%d calls, %d latencies", got.Calls, got.Latencies.Count())
	}
}

func TestCollectorsGoWithTheServer(t *testing.T) {
	r := prometheus.NewRegistry()
	s := newSet(t, r)
	mine := func() prometheus.Collector {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "test_things", Help: "Things."})
	}
	if err := s.Collect(mine()); err != nil {
		t.Fatal(err)
	}
	if err := s.Collect(mine()); err == nil {
		t.Error("the same was added twice")
	}
	s.Close()
	if err := r.Register(mine()); err != nil {
		t.Errorf("it is still there: %v", err)
	}
}

func BenchmarkTotals(b *testing.B) {
	s := newSet(b, nil)
	m := s.Method("a.B/C")
	for part := range s.Parts() {
		for d := 100 * time.Microsecond; d < 10*time.Millisecond; d *= 2 {
			m.Done(part, codes.OK, d)
			m.Done(part, codes.NotFound, d)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = m.Totals()
	}
}
