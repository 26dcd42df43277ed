package edge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"os"
	"sync"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// httpRoute is a route of HTTP that is in force.
type httpRoute struct {
	routes.HTTPRoute
	route   *easyops.Route
	backend *backend
	tally   *tally
	log     *slog.Logger
	proxy   *httputil.ReverseProxy
	leaving func() bool // see TableConfig

	patience time.Duration // see patience
}

func newHTTPRoute(r routes.HTTPRoute, b *backend, t *tally, log *slog.Logger) *httpRoute {
	h := &httpRoute{HTTPRoute: r, backend: b, tally: t, log: log}
	h.route = &easyops.Route{Name: r.Name(), Access: r.Access, HTTP: h}
	h.proxy = &httputil.ReverseProxy{
		Rewrite:   h.rewrite,
		Transport: b,
		ModifyResponse: func(r *http.Response) error {
			passChallenges(r.Header)
			return nil
		},
		ErrorHandler: h.fail,
		BufferPool:   buffers,
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return h
}

// ServeHTTP passes a request on and its answer back.
func (h *httpRoute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.tally.begin()
	defer h.tally.end()
	if h.leaving != nil && h.leaving() && !isWebSocket(r) {
		w.Header().Set("Connection", "close") // of HTTP/2 it is GOAWAY
	}
	if err := h.backend.take(); err != nil {
		h.fail(w, r, &unreachableError{err})
		return
	}
	defer h.backend.drop()
	to := newPatientWriter(w, h.patience)
	defer to.end()
	h.proxy.ServeHTTP(to, r)
}

// rewrite makes the request that goes on of the one that came. The path and the query
// are passed as they were sent.
func (h *httpRoute) rewrite(p *httputil.ProxyRequest) {
	passOn(p.Out.Header, p.In)
	p.Out.Host = p.In.Host
	p.Out.URL.Opaque, p.Out.URL.User, p.Out.URL.Fragment = "", nil, ""
	p.Out.URL.RawQuery, p.Out.URL.ForceQuery = p.In.URL.RawQuery, p.In.URL.ForceQuery
	if p.Out.Body != nil {
		body := &upload{ReadCloser: p.Out.Body, in: p.In}
		body.trailers(p.Out)
		p.Out.Body = body
	}
}

// fail answers a request that got no answer.
func (h *httpRoute) fail(w http.ResponseWriter, r *http.Request, err error) {
	code, text, message := h.failure(r, err)
	if code == 0 {
		return
	}
	if message != "" {
		h.tally.fail(h.log, message, err, "route", h.route.Name, "service", h.Service)
	}
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, text, code)
}

// failure says what the client learns of an error, and with which message the log
// does. Of what is behind the edge the client learns nothing.
func (h *httpRoute) failure(r *http.Request, err error) (code int, text, message string) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		if isDraining(r.Context()) {
			return 0, "", "" // the server answers
		}
		panic(http.ErrAbortHandler) // nobody waits for an answer
	}
	if _, ok := errors.AsType[*plaintextError](err); ok {
		return http.StatusBadGateway, "the service cannot be reached over a connection that is good for a token", "requests refused: a token would leave the machine unencrypted"
	}
	if _, ok := errors.AsType[*secureError](err); ok {
		return http.StatusBadGateway, "the service cannot be reached as the edge is set up", "requests refused: the service speaks TLS"
	}
	if _, ok := errors.AsType[*unreachableError](err); ok {
		return http.StatusServiceUnavailable, "no instance of the service can be reached: try again later", "requests refused: no instance can be had"
	}
	if up, ok := r.Body.(*upload); ok && up.failure() != nil {
		if errors.Is(up.failure(), os.ErrDeadlineExceeded) {
			return http.StatusRequestTimeout, "the rest of the request did not come in time", ""
		}
		return http.StatusBadRequest, "the rest of the request could not be read", ""
	}
	return http.StatusBadGateway, "the service broke the request off", "requests broken off by the service"
}

func isDraining(ctx context.Context) bool {
	select {
	case <-easyops.Draining(ctx):
		return true
	default:
		return false
	}
}

// upload is the body of a request.
type upload struct {
	io.ReadCloser
	in  *http.Request
	out http.Header // the trailers that go on

	mu  sync.Mutex
	err error
}

// trailers lets what comes after the body pass as well, if it was announced.
func (u *upload) trailers(out *http.Request) {
	if len(u.in.Trailer) == 0 {
		return
	}
	u.out = make(http.Header, len(u.in.Trailer))
	passTrailers(u.out, u.in.Trailer)
	out.Trailer = u.out
}

func (u *upload) Read(b []byte) (int, error) {
	n, err := u.ReadCloser.Read(b)
	switch {
	case err == io.EOF && u.out != nil:
		for name := range u.out {
			u.out[name] = u.in.Trailer[name]
		}
	case err != nil && err != io.EOF:
		u.mu.Lock()
		u.err = err
		u.mu.Unlock()
	}
	return n, err
}

// failure returns the error of reading, nil for none.
func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// buffers are those that bodies are copied by.
var buffers = &bufferPool{sync.Pool{New: func() any { return new([32 << 10]byte) }}}

type bufferPool struct{ sync.Pool }

func (p *bufferPool) Get() []byte  { return p.Pool.Get().(*[32 << 10]byte)[:] }
func (p *bufferPool) Put(b []byte) { p.Pool.Put((*[32 << 10]byte)(b)) }
