package easyops

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/metrics"
	"github.com/go-easyops/easyops/runtime/port"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

// checkRoutes looks at the handlers of the user's.
func (s *Server) checkRoutes() {
	mux := http.NewServeMux()
	for _, r := range s.cfg.routes {
		if r.named && !registry.ValidService(r.service) {
			s.cfg.fault(fmt.Errorf("%s: the name must be 1 to 255 letters, digits, dots, dashes or underscores", r.option()))
		}
		if r.handler == nil {
			s.cfg.fault(fmt.Errorf("%s: the handler is nil", r.option()))
			continue
		}
		if path := patternPath(r.pattern); status.Reserved(path) {
			s.cfg.fault(fmt.Errorf("%s: the path belongs to the status pages: choose one that does not begin with /internal/, /metrics, /livez or /readyz", r.option()))
		}
		s.cfg.fault(r.try(mux))
		if err := r.access.Validate(); err != nil {
			s.cfg.fault(fmt.Errorf("%s: %w", r.option(), err))
		}
	}
}

// option is the route as its option in the program.
func (r route) option() string {
	if r.named {
		return fmt.Sprintf("WithHTTPService(%q, %q)", r.service, r.pattern)
	}
	return fmt.Sprintf("WithHTTP(%q)", r.pattern)
}

// withoutMethod returns "example.com/path" of a pattern like "GET example.com/path".
func withoutMethod(pattern string) string {
	if _, rest, ok := strings.Cut(pattern, " "); ok {
		return strings.TrimSpace(rest)
	}
	return pattern
}

// patternPath returns the path of such a pattern.
func patternPath(pattern string) string {
	pattern = withoutMethod(pattern)
	if i := strings.Index(pattern, "/"); i >= 0 {
		return pattern[i:]
	}
	return pattern
}

// try turns ServeMux's panic into an error.
func (r route) try(mux *http.ServeMux) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %s", r.option(), withoutPlaces(fmt.Sprint(p)))
		}
	}()
	mux.Handle(r.pattern, http.NotFoundHandler())
	return nil
}

// withoutPlaces removes the places in our source that ServeMux names, where a
// user looks for one in theirs.
func withoutPlaces(s string) string {
	for {
		before, rest, ok := strings.Cut(s, "(registered at ")
		_, after, closed := strings.Cut(rest, ")")
		if !ok || !closed {
			return s
		}
		s = strings.TrimSuffix(before, " ") + after
	}
}

// newHTTPMetrics makes the metrics of HTTP handlers, where there are any. The names
// are OpenTelemetry's, so the user's own may be in the registry: they stay.
func (s *Server) newHTTPMetrics() {
	if len(s.cfg.routes) == 0 && s.cfg.proxy == nil {
		return
	}
	requests, err := s.metrics.HTTP()
	if err != nil {
		s.log.Warn("HTTP requests are not counted: the registry of WithPrometheus has other metrics of these names", "err", err)
		return
	}
	s.requests = requests
}

// httpHandler serves the HTTP side of the port.
func (s *Server) httpHandler() http.Handler {
	routes, pages := http.NewServeMux(), s.onPort()
	for _, r := range s.cfg.routes {
		routes.Handle(r.pattern, s.userHandler(r))
	}
	other := http.Handler(routes)
	if len(s.cfg.routes) == 0 && s.cfg.proxy == nil {
		other = pages
	}
	strays, verbs := s.newStrays(other), s.verbs()
	return onceChunked(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case port.IsGRPC(r):
			s.serveGRPC(w, r)
		case status.Reserved(r.URL.Path):
			pages.ServeHTTP(w, r)
		case s.cfg.proxy != nil && !strays.has(r) && !takes(routes, r, verbs) && s.passOn(w, r):
		case isStray(r) && !handles(routes, r):
			strays.ServeHTTP(w, r)
		default:
			other.ServeHTTP(w, r)
		}
	}))
}

// handles tells whether the user has a handler for a request, such as one that
// speaks JSON for gRPC's methods.
func handles(mux *http.ServeMux, r *http.Request) bool {
	_, pattern := mux.Handler(r)
	return pattern != ""
}

// verbs are the methods of HTTP that the patterns of the user's name.
func (s *Server) verbs() (all []string) {
	for _, r := range s.cfg.routes {
		if fields := strings.Fields(r.pattern); len(fields) > 1 && !slices.Contains(all, fields[0]) {
			all = append(all, fields[0])
		}
	}
	return all
}

// takes tells whether the user has a handler for the path of a request, with its
// method or with another: then it is not for a proxy, whose rule may be a weaker one.
func takes(mux *http.ServeMux, r *http.Request, verbs []string) bool {
	return handles(mux, r) || slices.ContainsFunc(verbs, func(verb string) bool {
		other := *r
		other.Method = verb
		return handles(mux, &other)
	})
}

// onceChunked ends the connection after a request of HTTP/1 with
// Transfer-Encoding, as RFC 9112, section 6.1, has it where Content-Length is there
// too, which net/http does not tell: what a proxy took for the rest of the body
// must not become the next request. It hides Transfer-Encoding of HTTP/1.0 as
// well, so those connections end in any case.
func onceChunked(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// httpServer makes a server within the limits.
func (s *Server) httpServer(h http.Handler) *http.Server {
	l := s.cfg.limits
	return &http.Server{
		Handler:           onceChunked(h),
		ReadHeaderTimeout: l.HTTPHeader,
		ReadTimeout:       l.HTTPRead,
		IdleTimeout:       l.HTTPIdle,
		HTTP2:             http2Config(l.StreamWindow),
		// It would answer without onceChunked.
		DisableGeneralOptionsHandler: true,

		MaxHeaderBytes: l.HTTPHeaderBytes,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// http2Config bounds what a connection keeps of bodies that handlers do not read, as
// those of gRPC do. Each stream can have its part, so that however many are not read,
// the others of the connection go on. These windows cannot grow.
func http2Config(window int) *http.HTTP2Config {
	if window < 0 {
		window = streamWindow
	}
	return &http.HTTP2Config{
		MaxConcurrentStreams:          streamsPerConn,
		MaxReceiveBufferPerConnection: connWindow(window),
		MaxReceiveBufferPerStream:     window,
		// Go 1.26 changes the table of the header encoder while it is in use,
		// when a client sends SETTINGS_HEADER_TABLE_SIZE, and the process can
		// end with a concurrent map access. No header fits a table of one byte.
		MaxEncoderHeaderTableSize: 1,
	}
}

// serveGRPC serves a call that came by net/http's HTTP/2. Such a call may be a
// stream of any length.
func (s *Server) serveGRPC(w http.ResponseWriter, r *http.Request) {
	if r.RequestURI != r.URL.Path { // net/http takes URLs, gRPC only paths as they are
		h := w.Header()
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", "12") // UNIMPLEMENTED
		h.Set("Grpc-Message", "malformed method name")
		return
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		s.log.Debug("read deadline", "err", err)
	}
	r = paced(r)
	defer r.Body.Close()
	s.grpcHTTP.ServeHTTP(w, r)
}

// userHandler is a handler of the user's behind the way in.
func (s *Server) userHandler(r route) http.Handler {
	return s.handlerOf(r, s.requests.Route(withoutMethod(r.pattern)))
}

// handlerOf is userHandler with metrics of the caller's choice.
func (s *Server) handlerOf(r route, counted *metrics.HTTPRoute) http.Handler {
	m := &method{server: s, name: "HTTP " + r.pattern, access: r.access, stream: true, http: true, requests: counted}
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { s.serveHTTP(m, r.handler, origin, w, req) })
}

// serveHTTP runs a handler like a call: bounded, admitted, recovered, listed,
// counted, and told when the server drains. Where it sends its answer in parts, its
// context ends with the stream grace. The answer lasts no longer than the identity
// that it is for.
func (s *Server) serveHTTP(m *method, h http.Handler, origin *http.CrossOriginProtection, w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	c := &call{Context: ctx, method: m, flight: &flight{begun: s.uptime(), use: s.port.UseOf(ctx)}, extra: &extra{cancel: cancel, request: req}}
	answer := &response{ResponseWriter: w, call: c, counted: m.requests.Method(req.Method)}
	c.use.Begin()
	answer.counted.Started()
	defer func() { c.endHTTP(answer) }()
	if !s.calls.add(c) {
		http.Error(answer, "too many requests in flight: try again later", http.StatusServiceUnavailable)
		return
	}
	defer s.calls.remove(c)
	defer c.stopExpiry()
	defer s.recoverHTTP(answer)
	if !s.letIn(answer, c, origin) {
		return
	}
	c.use.By(idsIn(c.caller.Identity))
	c.endAt(c.caller.Expires())
	req = req.WithContext(c)
	if m.routed && req.ContentLength != 0 {
		defer answer.await(req, s.cfg.limits.HTTPRead).end()
	}
	h.ServeHTTP(answer, req)
	answer.close()
}

// endHTTP counts a request that has ended.
func (c *call) endHTTP(r *response) {
	elapsed := c.age()
	c.use.End()
	r.counted.Done(r.answered(), elapsed)
	c.method.requests.Ended(r.code, elapsed)
	c.method.server.callers.ended(c, r.code, elapsed)
	if r.code != codes.OK {
		c.method.server.recent.add(c, r.code, r.err)
	}
	c.method.server.access.write(c, r.code, r.err, elapsed)
}

// letIn admits a request, or answers it.
func (s *Server) letIn(w *response, c *call, origin *http.CrossOriginProtection) bool {
	if err := s.admit(c); err != nil {
		refusal := s.refusal(err)
		refuseHTTP(w, refusal)
		w.err = refusal
		return false
	}
	if err := s.fromElsewhere(c, origin); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		w.err = err
		return false
	}
	return true
}

// fromElsewhere finds requests that a page of another site makes a browser send:
// what changes something, and, where being on this machine is all that callers
// have to prove, whatever does not name it (DNS rebinding) or came by a proxy.
// What is for everyone is for those too. A nil origin leaves the former to what is
// behind.
func (s *Server) fromElsewhere(c *call, origin *http.CrossOriginProtection) error {
	if c.method.access.Allow == auth.Everyone {
		return nil
	}
	if origin != nil {
		if err := origin.Check(c.request); err != nil {
			return fmt.Errorf("%w: this page takes changes from its own pages only", err)
		}
	}
	if s.trust != standalone {
		return nil
	}
	if err := status.FromThisMachine(c.request); err != nil {
		return fmt.Errorf("%w; to serve it behind a proxy, set -easyops.auth (EASYOPS_AUTH, WithAuth) on the service, or give the handler the rule EVERYONE", err)
	}
	return nil
}

// serveStatus serves the pages on an address of their own.
func (s *Server) serveStatus() error {
	if s.tls != nil {
		return s.statusHTTP.ServeTLS(s.statusLis, "", "")
	}
	return s.statusHTTP.Serve(s.statusLis)
}
