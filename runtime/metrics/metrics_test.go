package metrics

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
)

func newSet(t testing.TB, r *prometheus.Registry) *Set {
	t.Helper()
	s, err := New(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExposition(t *testing.T) {
	s := newSet(t, nil)
	m := s.Method("/echo.v1.EchoService/Echo")
	m.Started(0)
	m.Started(0)
	m.Done(0, codes.OK, 1500*time.Millisecond)
	m.Done(0, codes.Canceled, time.Second)
	s.Other().Started(0)
	s.Panic("call")
	if err := s.GaugeFunc("easyops_calls_in_flight", "Calls that are being served.", func() float64 { return 3 }); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP easyops_calls_in_flight Calls that are being served.
# TYPE easyops_calls_in_flight gauge
easyops_calls_in_flight 3
# HELP easyops_panics_total Panics that were recovered, by where they happened.
# TYPE easyops_panics_total counter
easyops_panics_total{where="call"} 1
easyops_panics_total{where="callback"} 0
easyops_panics_total{where="http"} 0
easyops_panics_total{where="tcp"} 0
# HELP grpc_server_call_started_total Calls that the server has started.
# TYPE grpc_server_call_started_total counter
grpc_server_call_started_total{grpc_method="echo.v1.EchoService/Echo"} 2
grpc_server_call_started_total{grpc_method="other"} 1
`
	if err := testutil.GatherAndCompare(s.Registry(), strings.NewReader(want), "easyops_calls_in_flight", PanicsName, StartedName); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(s.Registry(), "easyops_calls_in_flight", PanicsName, StartedName, DurationName)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestDurationBuckets(t *testing.T) {
	s := newSet(t, nil)
	s.Method("a.B/C").Done(0, codes.Unavailable, 2*time.Second)
	counts := map[string]uint64{}
	for _, series := range durationSeries(t, s) {
		for _, l := range series.GetLabel() {
			if l.GetName() == "grpc_status" {
				counts[l.GetValue()] += series.GetHistogram().GetSampleCount()
			}
		}
		if n := len(series.GetHistogram().GetBucket()); n != len(durationBounds) {
			t.Errorf("%d buckets, want the %d of A66", n, len(durationBounds))
		}
	}
	if counts["UNAVAILABLE"] != 1 || counts["OK"] != 0 {
		t.Errorf("counts by status: %v", counts)
	}
	if _, ok := counts["OK"]; !ok {
		t.Error("OK has no series before the first call")
	}
}

func TestCodesBeyondTheKnownAreUnknown(t *testing.T) {
	s := newSet(t, nil)
	m := s.Method("a.B/C")
	for _, c := range []codes.Code{17, 99, math.MaxUint32} {
		m.Done(0, c, time.Second)
	}
	if n := len(durationSeries(t, s)); n != 3 { // other OK, a.B/C OK, a.B/C UNKNOWN
		t.Errorf("%d series, want 3", n)
	}
}

func TestEveryCodeHasAName(t *testing.T) {
	for c, name := range statusNames {
		var back codes.Code
		if err := back.UnmarshalJSON([]byte(`"` + name + `"`)); err != nil || back != codes.Code(c) {
			t.Errorf("code %d is called %q (%v)", c, name, err)
		}
	}
}

func TestTwoServersInOneProcess(t *testing.T) {
	a, b := newSet(t, nil), newSet(t, nil)
	a.Method("a.B/C").Started(0)
	if got := testutil.CollectAndCount(b.Registry(), StartedName); got != 1 {
		t.Errorf("the second server has %d series, want its own 1", got)
	}
}

func TestOneRegistryTwice(t *testing.T) {
	r := prometheus.NewRegistry()
	first := newSet(t, r)
	before := testutil.CollectAndCount(r, StartedName, DurationName, PanicsName)
	_, err := New(r)
	if err == nil || !strings.Contains(err.Error(), "registry of its own") {
		t.Fatalf("error = %v", err)
	}
	if after := testutil.CollectAndCount(r, StartedName, DurationName, PanicsName); after != before {
		t.Errorf("the refused server left %d series, want %d", after, before)
	}
	first.Close()
	newSet(t, r)
}

func TestRegistryWithGoCollectors(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewBuildInfoCollector())
	s := newSet(t, r)
	if n := testutil.CollectAndCount(s.Registry(), "go_goroutines", "go_build_info"); n != 2 {
		t.Errorf("%d series, want 2", n)
	}
}

func TestRegistryWithAClashingName(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: PanicsName, Help: "someone else's"}))
	if _, err := New(r); err == nil || !strings.Contains(err.Error(), PanicsName) {
		t.Errorf("error = %v, want one that names %s", err, PanicsName)
	}
	if n := testutil.CollectAndCount(r, StartedName); n != 0 {
		t.Errorf("%d series left behind", n)
	}
}

func TestGaugeFuncRefusesBadNames(t *testing.T) {
	s := newSet(t, nil)
	zero := func() float64 { return 0 }
	if err := s.GaugeFunc("", "h", zero); err == nil {
		t.Error("an empty name was accepted")
	}
	if err := s.CounterFunc("easyops_x_total", "h", zero); err != nil {
		t.Error(err)
	}
	if err := s.CounterFunc("easyops_x_total", "h", zero); err == nil {
		t.Error("the same name was accepted twice")
	}
}

func TestConcurrentFirstCalls(t *testing.T) {
	s := newSet(t, nil)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			m, part := s.Method("a.B/C"), n%s.Parts()
			for c := range codes.Code(17) {
				m.Started(part)
				m.Done(part, c, time.Millisecond)
			}
		})
	}
	wg.Wait()
	var total uint64
	for _, series := range durationSeries(t, s) {
		total += series.GetHistogram().GetSampleCount()
	}
	if total != 8*17 {
		t.Errorf("%d calls recorded, want %d", total, 8*17)
	}
}

func TestCallsDoNotAllocate(t *testing.T) {
	m := newSet(t, nil).Method("a.B/C")
	m.Done(0, codes.NotFound, time.Second)
	if n := testing.AllocsPerRun(100, func() {
		m.Started(0)
		m.Done(0, codes.OK, time.Second)
		m.Done(0, codes.NotFound, time.Second)
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func BenchmarkCall(b *testing.B) {
	m := newSet(b, nil).Method("a.B/C")
	b.ReportAllocs()
	for b.Loop() {
		m.Started(0)
		m.Done(0, codes.OK, 350*time.Microsecond)
	}
}

// Gauges of one name differ in their labels.
func TestGaugesWithLabels(t *testing.T) {
	s := newSet(t, nil)
	one := func() float64 { return 1 }
	for _, value := range []string{"a", "b"} {
		if err := s.GaugeFunc("test_failing", "Whether it fails.", one, "source", value); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.GaugeFunc("test_failing", "Whether it fails.", one, "source", "a"); err == nil {
		t.Error("the same gauge twice")
	}
	families, err := s.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		if f.GetName() == "test_failing" {
			n = len(f.Metric)
		}
	}
	if n != 2 {
		t.Errorf("%d gauges, want 2", n)
	}
}
