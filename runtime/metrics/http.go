package metrics

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// Names of the metrics of HTTP handlers: those of OpenTelemetry's semantic
// conventions, in their Prometheus spelling.
const (
	HTTPDurationName = "http_server_request_duration_seconds"
	HTTPActiveName   = "http_server_active_requests"
)

// httpBounds are the bucket bounds that OpenTelemetry recommends for requests.
var httpBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// maxHTTPStatuses bounds how many statuses of a handler have series of their own, for
// each method: what is behind a proxy may answer with any.
const maxHTTPStatuses = 40

// HTTP is the metrics of the HTTP handlers of a server, by route. Its methods may be
// called concurrently.
type HTTP struct {
	durations *prometheus.HistogramVec
	active    *prometheus.GaugeVec

	mu     sync.Mutex
	routes map[string]*HTTPRoute
}

// HTTP adds the metrics of HTTP handlers to the set. It is meant to be called once: a
// registry that has metrics of these names already is an error.
func (s *Set) HTTP() (*HTTP, error) {
	h := &HTTP{
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: HTTPDurationName, Help: "Time from the start of a request to the end of its answer, as the server sees it.",
			Buckets: httpBounds, NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: 160,
		}, []string{"http_request_method", "http_route", "http_response_status_code"}),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: HTTPActiveName, Help: "Requests that have begun and not ended.",
		}, []string{"http_request_method", "http_route"}),
		routes: map[string]*HTTPRoute{},
	}
	return h, s.register(h.durations, h.active)
}

// nativeFactor is how much wider each exponential bucket is, as those of calls are.
const nativeFactor = 1.19

// Route is the metrics of one handler, by its route, such as "/items/{id}". Each name
// makes series that stay. The same name gives the same HTTPRoute. Of a nil HTTP it is
// one that counts nothing.
func (h *HTTP) Route(name string) *HTTPRoute {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.routes[name]
	if r == nil {
		r = &HTTPRoute{set: h, name: name, tally: newMethod("HTTP "+name, 1)}
		h.routes[name] = r
	}
	return r
}

// HTTPRoute counts and times the requests to one handler. A request looks nothing up,
// but for the first with a method or a status.
type HTTPRoute struct {
	set     *HTTP
	name    string
	tally   *Method // in no registry: for [HTTP.Each]
	methods [len(httpMethods)]atomic.Pointer[HTTPMethod]
}

// Each calls f for each route, in no order, with what [HTTPRoute.Ended] has counted of
// it. Its name is that of the route behind "HTTP ". Of a nil HTTP there are none.
func (h *HTTP) Each(f func(m *Method)) {
	if h == nil {
		return
	}
	h.mu.Lock()
	all := slices.Collect(maps.Values(h.routes))
	h.mu.Unlock()
	for _, r := range all {
		f(r.tally)
	}
}

// Ended counts a request as calls are: by the code of gRPC that says the same as its
// status. No metric has it.
func (r *HTTPRoute) Ended(code codes.Code, d time.Duration) {
	if r != nil {
		r.tally.Started(0)
		r.tally.Done(0, code, d)
	}
}

// httpMethods are the methods that have series of their own (RFC 9110 and RFC 5789);
// the last stands for all others, so that callers cannot invent series.
var httpMethods = [...]string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions, http.MethodConnect, http.MethodTrace, "_OTHER",
}

func indexOf(method string) int {
	for i, known := range httpMethods[:len(httpMethods)-1] {
		if known == method {
			return i
		}
	}
	return len(httpMethods) - 1
}

// Method is the metrics of the route's requests with a method.
func (r *HTTPRoute) Method(method string) *HTTPMethod {
	if r == nil {
		return nil
	}
	i := indexOf(method)
	if m := r.methods[i].Load(); m != nil {
		return m
	}
	labels := prometheus.Labels{"http_request_method": httpMethods[i], "http_route": r.name}
	r.methods[i].CompareAndSwap(nil, &HTTPMethod{
		durations: r.set.durations.MustCurryWith(labels), active: r.set.active.With(labels),
	})
	return r.methods[i].Load()
}

// HTTPMethod counts and times the requests to one handler with one method. A nil one
// counts nothing.
type HTTPMethod struct {
	durations prometheus.ObserverVec
	active    prometheus.Gauge

	known atomic.Pointer[[]ofStatus] // one more than maxHTTPStatuses where there are others
	mu    sync.Mutex                 // held to replace known
}

type ofStatus struct {
	status    int
	durations prometheus.Observer
}

// Started counts a request that begins.
func (m *HTTPMethod) Started() {
	if m != nil {
		m.active.Inc()
	}
}

// Done records a request that was answered with a status after d. A status of 0 stands
// for an answer that was broken off before it began.
func (m *HTTPMethod) Done(status int, d time.Duration) {
	if m == nil {
		return
	}
	m.active.Dec()
	m.of(status).Observe(d.Seconds())
}

func (m *HTTPMethod) of(status int) prometheus.Observer {
	if known := m.known.Load(); known != nil {
		if o := find(*known, status); o != nil {
			return o
		}
		if len(*known) > maxHTTPStatuses {
			return (*known)[maxHTTPStatuses].durations
		}
	}
	return m.add(status)
}

func find(known []ofStatus, status int) prometheus.Observer {
	for _, k := range known {
		if k.status == status {
			return k.durations
		}
	}
	return nil
}

// otherStatus stands for the statuses that have no series of their own.
const otherStatus = -1

// add makes the series of a status when the first request ends with it.
func (m *HTTPMethod) add(status int) prometheus.Observer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var known []ofStatus
	if old := m.known.Load(); old != nil {
		known = *old
	}
	if o := find(known, status); o != nil {
		return o
	}
	value := ""
	switch {
	case len(known) > maxHTTPStatuses:
		return known[maxHTTPStatuses].durations
	case len(known) == maxHTTPStatuses:
		status, value = otherStatus, "_OTHER"
	case status > 0:
		value = strconv.Itoa(status)
	}
	o := m.durations.WithLabelValues(value)
	known = append(known[:len(known):len(known)], ofStatus{status, o})
	m.known.Store(&known)
	return o
}
