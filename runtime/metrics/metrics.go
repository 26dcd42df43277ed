package metrics

import (
	"errors"
	"fmt"
	"maps"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Names of the metrics, gRFC A66's in their Prometheus spelling where it names
// them.
const (
	StartedName  = "grpc_server_call_started_total"
	DurationName = "grpc_server_call_duration_seconds"
	PanicsName   = "easyops_panics_total"
)

// other is the method label of calls to methods that are not registered, so
// that callers cannot invent series (gRFC A66).
const other = "other"

// durationBounds are the bucket bounds that gRFC A66 prescribes.
var durationBounds = [...]time.Duration{
	0, us(10), us(50), us(100), us(300), us(600), us(800), ms(1), ms(2), ms(3),
	ms(4), ms(5), ms(6), ms(8), ms(10), ms(13), ms(16), ms(20), ms(25), ms(30), ms(40),
	ms(50), ms(65), ms(80), ms(100), ms(130), ms(160), ms(200), ms(250), ms(300), ms(400), ms(500), ms(650), ms(800),
	sec(1), sec(2), sec(5), sec(10), sec(20), sec(50), sec(100),
}

func us(n int) time.Duration  { return time.Duration(n) * time.Microsecond }
func ms(n int) time.Duration  { return time.Duration(n) * time.Millisecond }
func sec(n int) time.Duration { return time.Duration(n) * time.Second }

// Set is the metrics of one server. Its methods may be called concurrently.
type Set struct {
	registry *prometheus.Registry
	parts    int
	shared   func() error // adds the collectors of the process: they take a tenth of a start
	panics   *prometheus.CounterVec
	other    *Method
	made     *timestamppb.Timestamp

	mu      sync.Mutex
	methods map[string]*Method
	ours    []prometheus.Collector
}

// New registers the metrics of a server, and the collectors for the Go
// runtime, the process and the build, with registry, or with a new one where
// registry is nil. A registry that already carries the metrics of a server is
// an error, and is left as it was; Go, process and build collectors that stand
// there already are not.
func New(registry *prometheus.Registry) (*Set, error) {
	own := registry == nil
	if own {
		registry = prometheus.NewRegistry()
	}
	s := &Set{registry: registry, parts: min(goruntime.GOMAXPROCS(0), maxParts), methods: make(map[string]*Method)}
	s.made = timestamppb.Now()
	s.other = newMethod(other, s.parts)
	s.panics = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: PanicsName, Help: "Panics that were recovered, by where they happened.",
	}, []string{"where"})
	for _, where := range places {
		s.panics.WithLabelValues(where) // so that the first one is seen to be an increase
	}
	if err := s.register(methods{s}, s.panics); err != nil {
		return nil, err
	}
	s.shared = sync.OnceValue(s.registerShared)
	if own { // nothing can stand in their way
		return s, nil
	}
	if err := s.shared(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// maxParts bounds the memory of a method: a part is of 192 bytes, and for each code
// that calls end with of 128 more and 128 for each twelfth of the range in which they
// take their time: mostly 256 or 384, at most 1,664.
const maxParts = 16

// Parts returns how many parts the methods are counted in: one for each
// processor, but not more than 16.
func (s *Set) Parts() int { return s.parts }

// Registry is where the metrics are gathered.
func (s *Set) Registry() *prometheus.Registry {
	_ = s.shared() // has failed in New, if at all
	return s.registry
}

// Gather implements [prometheus.Gatherer].
func (s *Set) Gather() ([]*dto.MetricFamily, error) { return s.Registry().Gather() }

// Method is the metrics of one registered method, such as
// "echo.v1.EchoService/Echo" (a leading slash is ignored). It is meant for the
// time of registration: each name makes series that stay. The same name gives
// the same Method.
func (s *Set) Method(name string) *Method {
	name = strings.TrimPrefix(name, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.methods[name]
	if m == nil {
		m = newMethod(name, s.parts)
		s.methods[name] = m
	}
	return m
}

// all returns the methods that are counted.
func (s *Set) all() []*Method {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(slices.Collect(maps.Values(s.methods)), s.other)
}

// Other is the metrics of calls to methods that are not registered, all under
// the one label value "other".
func (s *Set) Other() *Method { return s.other }

// places are where panics are recovered.
var places = [...]string{"call", "http", "tcp", "callback"}

// Panic counts one recovered panic. where is one of few fixed words: "call",
// "http", "tcp", "callback".
func (s *Set) Panic(where string) { s.panics.WithLabelValues(where).Inc() }

// GaugeFunc adds a gauge whose value f gives at each scrape. f must not block
// and may be called concurrently. Labels are pairs of names and values; gauges of
// the same name differ in values.
func (s *Set) GaugeFunc(name, help string, f func() float64, labels ...string) error {
	return s.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: pairs(labels)}, f))
}

func pairs(labels []string) prometheus.Labels {
	all := prometheus.Labels{}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	return all
}

// CounterFunc adds a counter whose value f gives at each scrape. f must never
// go down, must not block and may be called concurrently. Labels are those of
// GaugeFunc.
func (s *Set) CounterFunc(name, help string, f func() float64, labels ...string) error {
	return s.register(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: pairs(labels)}, f))
}

// Close takes the server's metrics off the registry, so that another server
// may use it. Counting afterwards is harmless and seen by nobody.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.ours {
		s.registry.Unregister(c)
	}
	s.ours = nil
}

// register registers all or none.
func (s *Set) register(cs ...prometheus.Collector) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range cs {
		if err := s.registry.Register(c); err != nil {
			for _, done := range cs[:i] {
				s.registry.Unregister(done)
			}
			return explain(err)
		}
	}
	s.ours = append(s.ours, cs...)
	return nil
}

// registerShared adds the collectors that describe the process and not the
// server; where the registry has them, they are right already.
func (s *Set) registerShared() error {
	// By the package that has them: package collectors hands on to it, and compiles
	// regular expressions whenever a program starts.
	for _, c := range []prometheus.Collector{
		prometheus.NewGoCollector(),                                       //nolint:staticcheck // see above
		prometheus.NewProcessCollector(prometheus.ProcessCollectorOpts{}), //nolint:staticcheck // see above
		prometheus.NewBuildInfoCollector(),                                //nolint:staticcheck // see above
	} {
		err := s.registry.Register(c)
		if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !ok {
			return explain(err)
		}
	}
	return nil
}

func explain(err error) error {
	if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return errors.New("metrics registry: it already carries these metrics of a server: give each server a registry of its own")
	}
	return fmt.Errorf("metrics registry: %w", err)
}

// statusNames are the values of the label grpc_status, by code.
var statusNames = [...]string{
	codes.OK:                 "OK",
	codes.Canceled:           "CANCELLED",
	codes.Unknown:            "UNKNOWN",
	codes.InvalidArgument:    "INVALID_ARGUMENT",
	codes.DeadlineExceeded:   "DEADLINE_EXCEEDED",
	codes.NotFound:           "NOT_FOUND",
	codes.AlreadyExists:      "ALREADY_EXISTS",
	codes.PermissionDenied:   "PERMISSION_DENIED",
	codes.ResourceExhausted:  "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION",
	codes.Aborted:            "ABORTED",
	codes.OutOfRange:         "OUT_OF_RANGE",
	codes.Unimplemented:      "UNIMPLEMENTED",
	codes.Internal:           "INTERNAL",
	codes.Unavailable:        "UNAVAILABLE",
	codes.DataLoss:           "DATA_LOSS",
	codes.Unauthenticated:    "UNAUTHENTICATED",
}
