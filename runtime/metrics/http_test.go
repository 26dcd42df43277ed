package metrics

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

// httpSeries are the durations, by method, route and status.
func httpSeries(t *testing.T, s *Set) map[[3]string]*dto.Histogram {
	t.Helper()
	all, err := s.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[[3]string]*dto.Histogram{}
	for _, f := range all {
		if f.GetName() != HTTPDurationName {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			found[[3]string{labels["http_request_method"], labels["http_route"], labels["http_response_status_code"]}] = m.GetHistogram()
		}
	}
	return found
}

func newHTTP(t *testing.T) (*Set, *HTTP) {
	t.Helper()
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.HTTP()
	if err != nil {
		t.Fatal(err)
	}
	return s, h
}

// Requests are counted under what the handler is called, whatever clients send.
func TestHTTPLabels(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		status int
		want   [3]string
	}{
		"plain":        {http.MethodGet, 200, [3]string{"GET", "/items/{id}", "200"}},
		"refused":      {http.MethodPost, 403, [3]string{"POST", "/items/{id}", "403"}},
		"broken off":   {http.MethodGet, 0, [3]string{"GET", "/items/{id}", ""}},
		"invented":     {"BREW", 418, [3]string{"_OTHER", "/items/{id}", "418"}},
		"empty":        {"", 400, [3]string{"_OTHER", "/items/{id}", "400"}},
		"other case":   {"get", 200, [3]string{"_OTHER", "/items/{id}", "200"}},
		"said as much": {"_OTHER", 200, [3]string{"_OTHER", "/items/{id}", "200"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := newHTTP(t)
			m := h.Route("/items/{id}").Method(test.method)
			m.Started()
			if n := testutil.ToFloat64(m.active); n != 1 {
				t.Errorf("%v active", n)
			}
			m.Done(test.status, 30*time.Millisecond)
			if n := testutil.ToFloat64(m.active); n != 0 {
				t.Errorf("%v active at the end", n)
			}
			series := httpSeries(t, s)
			got := series[test.want]
			if got == nil || len(series) != 1 {
				t.Fatalf("series %v", series)
			}
			if got.GetSampleCount() != 1 || got.GetSampleSum() != 0.03 || len(got.GetPositiveSpan()) == 0 {
				t.Errorf("counted %v", got)
			}
			for i, b := range got.GetBucket() {
				if want := b.GetUpperBound() >= 0.03; (b.GetCumulativeCount() == 1) != want || b.GetUpperBound() != httpBounds[i] {
					t.Errorf("bucket %d: %v", i, b)
				}
			}
		})
	}
}

// However many statuses a handler answers with, there are few series.
func TestHTTPStatusesAreBounded(t *testing.T) {
	s, h := newHTTP(t)
	m := h.Route("/").Method("GET")
	for status := 100; status < 1000; status++ {
		m.Started()
		m.Done(status, time.Millisecond)
	}
	m.mu.Lock() // nothing waits for another
	m.Started()
	done := make(chan struct{})
	go func() { defer close(done); m.Done(999, time.Millisecond) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("a request of another status waits")
	}
	m.mu.Unlock()
	<-done
	series := httpSeries(t, s)
	if len(series) != maxHTTPStatuses+1 {
		t.Errorf("%d series", len(series))
	}
	var n uint64
	for _, d := range series {
		n += d.GetSampleCount()
	}
	if rest := series[[3]string{"GET", "/", "_OTHER"}].GetSampleCount(); n != 901 || rest != 901-maxHTTPStatuses {
		t.Errorf("%d requests, %d of other statuses", n, rest)
	}
}

// A request that is like one before costs no allocation.
func TestHTTPAllocations(t *testing.T) {
	_, h := newHTTP(t)
	r := h.Route("/")
	request := func() {
		m := r.Method("POST")
		m.Started()
		m.Done(200, time.Millisecond)
	}
	request()
	if n := testing.AllocsPerRun(100, request); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if h.Route("/") != r || h.Route("/x") == r {
		t.Error("a route is not known by its name")
	}
}

// Where there are no handlers there is nothing to count.
func TestWithoutHTTP(t *testing.T) {
	var h *HTTP
	m := h.Route("/").Method("GET")
	m.Started()
	m.Done(200, time.Second)
}

// A registry that has metrics of these names keeps its own, and Close makes room.
func TestHTTPRegistry(t *testing.T) {
	registry := prometheus.NewRegistry()
	s, err := New(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.HTTP(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.HTTP(); err == nil {
		t.Error("registered twice")
	}
	s.Close()
	if s, err = New(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := s.HTTP(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}
