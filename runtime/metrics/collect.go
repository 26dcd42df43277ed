package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"
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
		m.collect(to, c.set.made)
	}
}

func (m *Method) collect(to chan<- prometheus.Metric, since *timestamppb.Timestamp) {
	to <- prometheus.MustNewConstMetricWithCreatedTimestamp(startedDesc, prometheus.CounterValue, float64(m.started()), since.AsTime(), m.name)
	for code := range statusNames {
		if d, ok := m.durations(code); ok {
			d.since = since
			to <- d
		}
	}
}

// durations adds up what all parts have counted for a code.
func (m *Method) durations(code int) (d *durations, ok bool) {
	d = &durations{method: m.name, status: statusNames[code]}
	for i := range m.parts {
		if h := m.parts[i].byCode[code].Load(); h != nil {
			ok = true
			h.each(func(bucket int, n uint64) { d.counts[bucket] += n })
			d.sum += time.Duration(h.sum.Load())
		}
	}
	return d, ok
}
