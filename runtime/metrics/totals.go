package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Totals is what has been counted of a method since the server was made.
type Totals struct {
	Started   uint64                   // calls that began
	Calls     uint64                   // calls that ended, never more than Started
	ByCode    [len(statusNames)]uint64 // of those, by codes.Code
	Latencies Latencies                // of all that ended
}

// Each calls f for each method that is counted, in no order, and for
// [Set.Other].
func (s *Set) Each(f func(m *Method)) {
	for _, m := range s.all() {
		f(m)
	}
}

// Collect adds a collector of the server's own, which [Set.Close] takes off the
// registry again. What it describes must be on the registry nowhere else.
func (s *Set) Collect(c prometheus.Collector) error { return s.register(c) }

// Name is the value of the label grpc_method: the name without a leading slash, or
// "other".
func (m *Method) Name() string { return m.name }

// Totals adds up what all parts have counted. It takes some microseconds.
func (m *Method) Totals() Totals {
	var t Totals
	for code := range statusNames {
		for i := range m.parts {
			if h := m.parts[i].byCode[code].Load(); h != nil {
				t.ByCode[code] += h.addTo(&t.Latencies)
			}
		}
		t.Calls += t.ByCode[code]
	}
	t.Started = m.started() // last: what has ended by now has begun
	return t
}

func (m *Method) started() (n uint64) {
	for i := range m.parts {
		n += m.parts[i].started.Load()
	}
	return n
}
