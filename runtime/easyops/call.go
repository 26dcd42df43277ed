package easyops

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/metrics"
)

// method is all that is known of a method when it is registered, so that a
// call looks nothing up.
type method struct {
	server  *Server
	name    string // "echo.v1.EchoService/Echo"
	access  auth.Access
	timeout time.Duration
	stream  bool
	ours    bool // of the runtime itself, such as health
	http    bool // not a method, but an HTTP handler of the user's
	routed  bool // not a method, but a route of a proxy's
	metrics *metrics.Method
	callers callersOf

	requests *metrics.HTTPRoute // of HTTP handlers, nil where they are not counted
}

// call is one call in flight. It is also the context of its handler, so that it
// costs one allocation, and a small one, of 80 bytes: how often the garbage is
// collected goes by the bytes. It lives on with whatever keeps the context. What is of
// no use once the call has ended is in its flight.
type call struct {
	context.Context
	*flight // while it is in flight
	*extra  // nil for most

	method *method
	caller auth.Caller
	ended  atomic.Pointer[status.Status] // what the call was ended with, by the runtime or byHandler
}

// extra is what only some calls have: HTTP requests, and calls of routes, with a
// timeout or with an identity that ends them.
type extra struct {
	cancel   context.CancelFunc     // where the method has a timeout, and of HTTP requests
	request  *http.Request          // that the call is, with the HTTP handlers of the user's
	expiry   *time.Timer            // ends a stream with the identity of its caller
	instance atomic.Pointer[string] // that answered, where it has a route: see NoteInstance
	flushed  atomic.Bool            // the answer to an HTTP request is sent in parts
}

// more makes the extra of a call, before anybody else has the call.
func (c *call) more() *extra {
	if c.extra == nil {
		c.extra = &extra{}
	}
	return c.extra
}

type callKey struct{}

// Value implements [context.Context].
func (c *call) Value(key any) any {
	switch key.(type) {
	case callKey:
		return c
	case auth.ContextKey:
		return &c.caller
	}
	return c.Context.Value(key)
}

// streamCall is a call as the stream that its handler gets.
type streamCall struct {
	call
	grpc.ServerStream
}

// Context implements [grpc.ServerStream].
func (c *streamCall) Context() context.Context { return &c.call }

// String keeps packages that print contexts from printing all calls.
func (c *call) String() string { return "call of " + c.method.name }

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// wrap returns a copy of a service's descriptor whose handlers run the call
// path. Nothing of a request is decoded before the path lets it through.
func (s *Server) wrap(desc *grpc.ServiceDesc, ours bool) *grpc.ServiceDesc {
	rules, _ := s.rulesOf(desc, ours) // checked with the service
	wrapped := *desc
	wrapped.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, d := range desc.Methods {
		m := s.method(desc.ServiceName, d.MethodName, rules, ours)
		wrapped.Methods[i] = grpc.MethodDesc{MethodName: d.MethodName, Handler: m.unary(d.Handler)}
	}
	wrapped.Streams = make([]grpc.StreamDesc, len(desc.Streams))
	for i, d := range desc.Streams {
		m := s.method(desc.ServiceName, d.StreamName, rules, ours)
		m.stream = true
		wrapped.Streams[i] = d
		wrapped.Streams[i].Handler = m.streaming(d.Handler)
	}
	return &wrapped
}

// unary wraps the handler of a unary method.
func (m *method) unary(handler grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, i grpc.UnaryServerInterceptor) (reply any, err error) {
		c := &call{Context: ctx}
		defer func() { err = c.end(err, recover()) }()
		if err := m.begin(c); err != nil {
			return nil, err
		}
		c.decode = decode
		return handler(srv, c, c.receive, i)
	}
}

// streaming wraps the handler of a streaming method. Where interceptStream
// comes first, it has begun the call already.
func (m *method) streaming(handler grpc.StreamHandler) grpc.StreamHandler {
	if m.server.intercepts() {
		return handler
	}
	return func(srv any, ss grpc.ServerStream) error { return m.runStream(srv, ss, handler) }
}

// intercepts tells whether the user brings options of grpc-go, with which
// interceptors may come.
func (s *Server) intercepts() bool { return len(s.cfg.grpcOptions) > 0 }

func (m *method) runStream(srv any, ss grpc.ServerStream, handler grpc.StreamHandler) (err error) {
	c := &streamCall{call{Context: ss.Context()}, ss}
	defer func() { err = c.end(err, recover()) }()
	if err := m.begin(&c.call); err != nil {
		return err
	}
	return handler(srv, c)
}

// interceptStream is the first stream interceptor where the user brings some:
// grpc-go runs those before the handler, and identity comes before them.
func (s *Server) interceptStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	m, ok := s.methods[strings.TrimPrefix(info.FullMethod, "/")]
	if !ok {
		m, ss = s.whereTo(info.FullMethod, ss)
	}
	return m.runStream(srv, ss, handler)
}

// unknownHandler serves the calls of methods that are not registered.
func (s *Server) unknownHandler() grpc.StreamHandler {
	if s.intercepts() { // interceptStream has begun the call
		return passOnOrRefuse
	}
	return func(srv any, ss grpc.ServerStream) error {
		name, _ := grpc.MethodFromServerStream(ss)
		m, ss := s.whereTo(name, ss)
		return m.runStream(srv, ss, passOnOrRefuse)
	}
}

// begin is the way in, the same for every call: count, deadline, bound,
// admit.
func (m *method) begin(c *call) error {
	if c.method = m; m.routed {
		c.more()
	}
	begun, use := m.server.uptime(), m.server.port.UseOf(c.Context)
	use.Begin()
	c.limit(m.timeout, m.server.started.Add(begun))
	ok := m.server.calls.board(c, begun, use)
	m.metrics.Started(int(c.part))
	if !ok {
		return errTooManyCalls
	}
	if err := m.server.admit(c); err != nil {
		return c.refused(err)
	}
	c.use.By(idsIn(c.caller.Identity))
	if m.stream {
		c.endAt(c.caller.Expires())
	}
	return nil
}

// limit sets the method's deadline, unless the client's is as short. The call
// ends with it, whatever its handler does.
func (c *call) limit(timeout time.Duration, start time.Time) {
	if timeout <= 0 {
		return
	}
	if deadline, ok := c.Deadline(); ok && !deadline.After(start.Add(timeout)) {
		return
	}
	ctx, cancel := context.WithDeadline(c.Context, start.Add(timeout))
	c.Context = ctx
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.abort(status.Newf(codes.DeadlineExceeded, "the call took longer than %v", timeout))
		}
	})
	c.more().cancel = func() { stop(); cancel() }
}

var errTooManyCalls = status.Error(codes.ResourceExhausted, "too many calls in flight: try again later")

// end is the way out, the same for every call: recover, count, log.
func (c *call) end(err error, panicked any) error {
	m := c.method
	defer m.server.calls.land(c)
	if panicked != nil {
		err = m.server.recovered(c, "call", m.name, panicked)
	}
	cancelled := c.cancelled()
	if c.isLimited() {
		defer c.cancel()
	}
	c.stopExpiry()
	if !c.ended.CompareAndSwap(nil, byHandler) {
		err, cancelled = c.ended.Load().Err(), false
	}
	elapsed := c.age()
	code := codes.OK
	if err != nil {
		code, err = c.codeOf(err)
	}
	m.metrics.Done(int(c.part), code, elapsed)
	m.server.callers.ended(c, code, elapsed)
	if err != nil {
		for _, f := range m.server.cfg.onError {
			_ = m.server.guard(c, "WithOnError", func() { f(c, m.name, err) })
		}
	}
	c.use.End()
	m.server.recent.add(c, code, err)
	m.server.resets.ended(c, cancelled)
	m.server.access.write(c, code, err, elapsed)
	return err
}

// byHandler marks a call that its handler has ended.
var byHandler = status.New(codes.OK, "")

// cancelled tells whether the client has cancelled the call. A client whose
// deadline passes cancels too, and may be a little earlier than our own timer: by
// the way of the call to here, and by what it has waited before it began. The
// latter is the more of the two where there are more calls than processors.
func (c *call) cancelled() bool {
	if !errors.Is(c.Err(), context.Canceled) {
		return false
	}
	deadline, ok := c.Deadline()
	if !ok {
		return true
	}
	left := time.Until(deadline)
	return left >= hastyDeadline && c.age() < 4*left
}

// codeOf returns the code that grpc-go sends for a handler's error. An error
// whose methods panic, such as a nil pointer in the interface, would end the
// process in grpc-go, and is replaced.
func (c *call) codeOf(err error) (code codes.Code, safe error) {
	defer func() {
		if p := recover(); p != nil {
			code, safe = codes.Internal, c.method.server.recovered(c, "call", c.method.name, p)
		}
	}()
	if s, ok := status.FromError(err); ok {
		return s.Code(), err
	}
	return status.FromContextError(err).Code(), err
}

// uptime is the time since the server was set up, by the clock that nobody puts
// forward or back. It costs half of time.Now.
func (s *Server) uptime() time.Duration { return time.Since(s.started) }

// start is when the call began.
func (c *call) start() time.Time { return c.method.server.started.Add(c.begun) }

// age is how long ago the call began.
func (c *call) age() time.Duration { return c.method.server.uptime() - c.begun }

// isLimited tells whether the method has a timeout.
func (c *call) isLimited() bool { return c.extra != nil && c.cancel != nil }

// isStream tells whether the call may last, so that it has to be told to end.
// Of HTTP requests those whose answer is sent in parts, such as events, may.
func (c *call) isStream() bool {
	if c.method.http {
		return c.flushed.Load()
	}
	return c.method.stream
}

// isSilent tells whether the request of a unary call has not arrived.
func (c *call) isSilent() bool { return !c.method.stream && !c.arrived.Load() }

// peer returns the address of the caller.
func (c *call) peer() string {
	if c.method.http {
		return c.request.RemoteAddr
	}
	return peerOf(c)
}

func peerOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return p.Addr.String()
	}
	return "unknown"
}
