package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	startedDesc  = prometheus.NewDesc(StartedName, "Calls that the server has started.", []string{"grpc_method"}, nil)
	durationDesc = prometheus.NewDesc(DurationName, "Time from the start of a call to its end, as the server sees it.", []string{"grpc_method", "grpc_status"}, nil)
)

// methods is the metrics of the methods, as Prometheus collects them.
type methods struct{ set *Set }

// Describe implements [prometheus.Collector].
func (methods) Describe(to chan<- *prometheus.Desc) {
	to <- startedDesc
	to <- durationDesc
}

// Collect implements [prometheus.Collector].
func (c methods) Collect(to chan<- prometheus.Metric) {
	for _, m := range c.set.all() {
		m.collect(to)
	}
}

func (m *Method) collect(to chan<- prometheus.Metric) {
	var started uint64
	for i := range m.parts {
		started += m.parts[i].started.Load()
	}
	to <- prometheus.MustNewConstMetric(startedDesc, prometheus.CounterValue, float64(started), m.name)
	for code := range statusNames {
		if t, ok := m.total(code); ok {
			to <- prometheus.MustNewConstHistogram(durationDesc, t.count, t.sum.Seconds(), t.buckets, m.name, statusNames[code])
		}
	}
}

// total is what all parts have counted for a code.
type total struct {
	count   uint64
	sum     time.Duration
	buckets map[float64]uint64 // by bound in seconds, each with those below it
}

func (m *Method) total(code int) (t total, ok bool) {
	var counts [len(durationBounds) + 1]uint64
	for i := range m.parts {
		h := m.parts[i].byCode[code].Load()
		if h == nil {
			continue
		}
		ok = true
		t.sum += time.Duration(h.sum.Load())
		for b := range h.counts {
			counts[b] += h.counts[b].Load()
		}
	}
	t.buckets = make(map[float64]uint64, len(durationBounds))
	for b, bound := range durationBounds {
		t.count += counts[b]
		t.buckets[bound.Seconds()] = t.count
	}
	t.count += counts[len(durationBounds)]
	return t, ok
}
