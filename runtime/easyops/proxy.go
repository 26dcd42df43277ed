package easyops

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// Proxy says where requests and calls go that the server has no handler for (see
// [WithProxy]). Its methods are called concurrently, for each of them, before
// anything is known of who asks: they must look at names alone, and be quick. What
// they return may change while the server runs.
//
// A request or a call passes what those of the server's own methods pass, before a
// byte of it is read: the bounds, the identity of its caller and the rule of its
// route. Paths that belong to the status pages, however they are spelled, never come
// here.
type Proxy interface {
	// HTTPRoute returns the route of a request, or nil for none, which is
	// answered 404.
	HTTPRoute(*http.Request) *Route
	// GRPCRoute returns the route of a call, or nil for none, which is answered
	// UNIMPLEMENTED, and UNAUTHENTICATED where the caller is nobody. The method
	// is as in "/package.Service/Method"; md has what came with the call, such
	// as ":authority".
	GRPCRoute(fullMethod string, md metadata.MD) *Route
	// Routes returns all routes that there are. It is asked once, when the
	// server starts: without authenticators they must be for EVERYONE, unless
	// only this machine can connect.
	Routes() []*Route
}

// Route is one way through a [Proxy]. It must not change once it was returned. Routes
// with the same name and rule are counted as one, so that a table of routes can be
// made anew as often as one likes.
type Route struct {
	// Name stands for the route in the log, in metrics and on pages. There must
	// be few: each name that was ever used is kept.
	Name string
	// Access is who may use the route. Its zero value is AUTHENTICATED.
	Access auth.Access
	// HTTP serves the requests that [Proxy.HTTPRoute] returns the route for.
	// Nobody has looked at where they come from: cross-origin checks are for
	// what is behind. auth.User(r.Context()) is who asks. The body may take its
	// time, as long as it comes (see docs/services.md); a read deadline that the
	// handler sets holds too.
	HTTP http.Handler
	// GRPC serves the calls that [Proxy.GRPCRoute] returns the route for, of
	// every kind, as a [grpc.UnknownServiceHandler] does, which [WithGRPC] cannot
	// bring beside a proxy. It reads the messages by the codec of the server.
	GRPC grpc.StreamHandler

	record atomic.Pointer[routeRecord] // of the server that the route was used by last
}

// routeRecord is what a server keeps of a route, so that a call looks nothing up. A
// route whose rule makes no sense has one without methods.
type routeRecord struct {
	server     *Server
	http, grpc *method
}

// routeRecords are the records of all routes, by their names and rules: tables of
// routes come and go, and what was counted stays.
type routeRecords struct {
	mu   sync.Mutex
	all  map[string]*routeRecord
	open bool // every route that there was at the start is for EVERYONE
}

// recordOf returns the record of a route, which is made when the route is first used.
func (s *Server) recordOf(to *Route) *routeRecord {
	if r := to.record.Load(); r != nil && r.server == s {
		return r
	}
	s.routed.mu.Lock()
	defer s.routed.mu.Unlock()
	key := fmt.Sprintf("%q %#v", to.Name, to.Access) // all of the rule: its text for people is that of others too
	r := s.routed.all[key]
	if r == nil {
		r = s.newRecord(to)
		if s.routed.all == nil {
			s.routed.all = map[string]*routeRecord{}
		}
		s.routed.all[key] = r
	}
	to.record.Store(r)
	return r
}

func (s *Server) newRecord(to *Route) *routeRecord {
	r := &routeRecord{server: s}
	if err := to.Access.Validate(); err != nil {
		s.log.Error("a route is not served: its rule makes no sense", "route", to.Name, "err", err)
		return r
	}
	r.http = &method{
		server: s, name: "HTTP " + to.Name, access: to.Access, stream: true, http: true, routed: true,
		requests: s.requests.Route(to.Name),
	}
	r.grpc = &method{server: s, name: to.Name, access: to.Access, stream: true, routed: true}
	r.grpc.metrics = s.metrics.Method(to.Name)
	return r
}

// checkProxy finds what is wrong with the routes that there are at the start.
func (s *Server) checkProxy() {
	routes, err := routesOf(s.cfg.proxy)
	s.cfg.fault(err)
	s.routed.open = err == nil
	for _, to := range routes {
		if err := to.check(); err != nil {
			s.cfg.fault(fmt.Errorf("WithProxy: %w", err))
		}
		s.routed.open = s.routed.open && to != nil && to.Access.Allow == auth.Everyone
	}
}

// routesOf asks a proxy, if there is one, for its routes. Some panic, such as a nil
// pointer in the interface.
func routesOf(p Proxy) (routes []*Route, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("WithProxy: Routes of the %T panics: %v", p, panicked)
		}
	}()
	if p != nil {
		routes = p.Routes()
	}
	return routes, nil
}

func (to *Route) check() error {
	switch {
	case to == nil:
		return errors.New("a route is nil")
	case to.Name == "":
		return errors.New("a route has no name")
	case to.HTTP == nil && to.GRPC == nil:
		return fmt.Errorf("route %q serves neither HTTP nor gRPC", to.Name)
	}
	if err := to.Access.Validate(); err != nil {
		return fmt.Errorf("route %q: %w", to.Name, err)
	}
	return nil
}

// ask asks the proxy for a route. One that panics has none.
func (s *Server) ask(ctx context.Context, route func(Proxy) *Route) (to *Route) {
	_ = s.guard(ctx, "WithProxy", func() { to = route(s.cfg.proxy) })
	return to
}

// passOn serves a request by its route, and tells whether it was answered.
func (s *Server) passOn(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodConnect || !strings.HasPrefix(r.URL.Path, "/") {
		return false
	}
	if maybeReserved(r.URL.EscapedPath()) {
		http.NotFound(w, r)
		return true
	}
	to := s.ask(r.Context(), func(p Proxy) *Route { return p.HTTPRoute(r) })
	if to == nil || to.HTTP == nil {
		return false
	}
	m := s.recordOf(to).http
	if m == nil {
		return false
	}
	s.serveHTTP(m, to.HTTP, nil, w, r)
	return true
}

// whereTo says what a call of a method that is not registered is of, and returns
// its stream with the route, where it has one.
func (s *Server) whereTo(fullMethod string, ss grpc.ServerStream) (*method, grpc.ServerStream) {
	if s.cfg.proxy == nil || maybeReserved(fullMethod) {
		return s.unknown, ss
	}
	md, _ := metadata.FromIncomingContext(ss.Context())
	to := s.ask(ss.Context(), func(p Proxy) *Route { return p.GRPCRoute(fullMethod, md) })
	if to == nil || to.GRPC == nil {
		return s.unknown, ss
	}
	m := s.recordOf(to).grpc
	if m == nil {
		return s.unknown, ss
	}
	return m, routedStream{ss, context.WithValue(ss.Context(), routeKey{}, to)}
}

// routedStream is the stream of a call that has a route.
type routedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements [grpc.ServerStream].
func (s routedStream) Context() context.Context { return s.ctx }

type routeKey struct{}

// passOnOrRefuse is the handler of methods that are not registered, behind the way
// in.
func passOnOrRefuse(srv any, ss grpc.ServerStream) error {
	if to, ok := ss.Context().Value(routeKey{}).(*Route); ok {
		return to.GRPC(srv, ss)
	}
	name, _ := grpc.MethodFromServerStream(ss)
	if c, ok := ss.Context().Value(callKey{}).(*call); ok && c.method.server.cfg.proxy != nil {
		return status.Errorf(codes.Unimplemented, "there is no route here for %.256q", name)
	}
	return status.Errorf(codes.Unimplemented, "this server has no method %.256q", name)
}

// path is what was asked for of a route.
func (c *call) path() string {
	if c.request != nil {
		return c.request.URL.Path
	}
	name, _ := grpc.Method(c)
	return name
}
