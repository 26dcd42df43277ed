package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// Method counts and times the calls of one method. Its metrics are resolved
// when it is made, so that a call looks nothing up and allocates nothing. Its
// methods may be called concurrently.
type Method struct {
	name     string
	started  prometheus.Counter
	duration *prometheus.HistogramVec
	byCode   [len(statusNames)]atomic.Pointer[observer]
}

type observer struct{ prometheus.Observer }

func (s *Set) newMethod(name string) *Method {
	m := &Method{name: name, started: s.started.WithLabelValues(name), duration: s.duration}
	m.observer(codes.OK)
	return m
}

// Started counts a call that begins.
func (m *Method) Started() { m.started.Inc() }

// Done records a call that ended with code after d. A code that gRPC does not
// define counts as UNKNOWN.
func (m *Method) Done(code codes.Code, d time.Duration) {
	if int(code) >= len(m.byCode) {
		code = codes.Unknown
	}
	m.observer(code).Observe(d.Seconds())
}

// observer makes the series of a code when the first call ends with it: most
// methods only ever see a few of the seventeen. Two goroutines that come first
// at once store the same series.
func (m *Method) observer(code codes.Code) *observer {
	if o := m.byCode[code].Load(); o != nil {
		return o
	}
	o := &observer{m.duration.WithLabelValues(m.name, statusNames[code])}
	m.byCode[code].Store(o)
	return o
}

// nameOf is the value of the label grpc_status for a code.
func nameOf(code codes.Code) string {
	if int(code) >= len(statusNames) {
		code = codes.Unknown
	}
	return statusNames[code]
}
