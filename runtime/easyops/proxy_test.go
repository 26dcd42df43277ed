package easyops

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// table is a proxy with a route for the first segment of each path. It counts what it
// is asked, and what its routes let through.
type table struct {
	mu     sync.Mutex
	routes map[string]*Route
	asked  []string
	served []string
}

func (t *table) HTTPRoute(r *http.Request) *Route {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return t.route(r.URL.Path, first)
}

func (t *table) GRPCRoute(method string, md metadata.MD) *Route {
	if len(md[":authority"]) != 1 {
		panic(fmt.Sprint("no authority in ", md))
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return t.route(method, first)
}

func (t *table) Routes() (all []*Route) {
	for _, r := range t.routes {
		all = append(all, r)
	}
	return all
}

func (t *table) route(path, first string) *Route {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = append(t.asked, path)
	if r := t.routes[first]; r != nil {
		return r
	}
	return t.routes["*"]
}

// note notes who was let through.
func (t *table) note(ctx context.Context, route string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	who := "nobody"
	if u := auth.User(ctx); u != nil {
		who = u.ID
	} else if s := auth.Service(ctx); s != nil {
		who = s.ID
	}
	t.served = append(t.served, route+" "+who)
}

// takes returns what was let through since it was last asked.
func (t *table) takes() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() { t.served = nil }()
	return strings.Join(t.served, ", ")
}

func (t *table) questions() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.asked)
}

// newTable makes a route for each rule. Each serves both kinds.
func newTable(rules map[string]auth.Access) *table {
	t := &table{routes: map[string]*Route{}}
	for name, rule := range rules {
		t.routes[name] = &Route{
			Name: "to " + name, Access: rule,
			HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				t.note(r.Context(), name)
				b, _ := io.ReadAll(r.Body)
				_, _ = fmt.Fprintf(w, "%s %s", r.URL.Path, b)
			}),
			GRPC: func(_ any, ss grpc.ServerStream) error {
				t.note(ss.Context(), name)
				var req testpb.SimpleRequest
				if err := ss.RecvMsg(&req); err != nil {
					return err
				}
				method, _ := grpc.MethodFromServerStream(ss)
				return ss.SendMsg(&testpb.SimpleResponse{Username: method, Payload: req.Payload})
			},
		}
	}
	return t
}

var someRules = map[string]auth.Access{
	"known.v1.S":    {},
	"users.v1.S":    {Allow: auth.Users},
	"staff.v1.S":    {Groups: []string{"staff"}},
	"services.v1.S": {Allow: auth.Services},
	"open.v1.S":     {Allow: auth.Everyone},
}

// eachWayIn is eachWay with and without interceptors of the user's, which make
// grpc-go take another way to the handlers of streams.
func eachWayIn(t *testing.T, test func(t *testing.T, w way, opts ...ServerOption)) {
	for name, opts := range map[string][]ServerOption{
		"plain": nil,
		"interceptors": {WithGRPC(grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			return h(srv, ss)
		}))},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) { test(t, w, opts...) })
		})
	}
}

// invoke calls a method that only a route serves.
func invoke(ctx context.Context, conn *grpc.ClientConn, method string) (string, error) {
	var reply testpb.SimpleResponse
	err := conn.Invoke(ctx, method, &testpb.SimpleRequest{}, &reply)
	return reply.Username, err
}

// The rule of a route meets the identity of the caller before anything of the request
// is read: its handler does that, and does not run.
func TestRulesOfRoutes(t *testing.T) {
	order := []string{"known.v1.S", "users.v1.S", "staff.v1.S", "services.v1.S", "open.v1.S", "none.v1.S"}
	const ok, nobody, denied, none = codes.OK, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented
	for tokens, want := range map[string][6]codes.Code{
		"":                              {nobody, nobody, nobody, nobody, ok, nobody},
		"forged":                        {nobody, nobody, nobody, nobody, ok, nobody},
		"user.bob":                      {ok, ok, denied, denied, ok, none},
		"user.alice.staff":              {ok, ok, ok, denied, ok, none},
		"service.shop":                  {ok, denied, denied, ok, ok, none},
		"user.alice.staff service.shop": {ok, ok, ok, ok, ok, none},
	} {
		t.Run(tokens, func(t *testing.T) {
			eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
				routes := newTable(someRules)
				r := newRig(t, w, &funcs{}, append(opts, WithAuthenticator(byWord), WithProxy(routes))...)
				conn := r.dial()
				for i, first := range order {
					who := "nobody"
					if words := strings.Split(tokens, "."); len(words) > 1 && first != "open.v1.S" {
						who = strings.Fields(words[1])[0]
					}
					let := ""
					if want[i] == codes.OK {
						let = first + " " + who
					}
					path := "/" + first + "/Method"
					name, err := invoke(as(t.Context(), strings.Fields(tokens)...), conn, path)
					wantEqual(t, first+" by gRPC", status.Code(err), want[i])
					wantEqual(t, first+" by gRPC: served", routes.takes(), let)
					if err == nil {
						wantEqual(t, "method", name, path)
					}
					a := r.ask(path, strings.Fields(tokens)...)
					wantEqual(t, first+" by HTTP", a.code, map[codes.Code]int{ok: 200, nobody: 401, denied: 403, none: 404}[want[i]])
					wantEqual(t, first+" by HTTP: served", routes.takes(), let)
				}
			})
		})
	}
}

// Interceptors of the user's run behind identity, and one that hides from whom a call
// came hides its route too.
func TestInterceptorsOfRoutes(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		ran, hide := 0, false
		routes := newTable(map[string]auth.Access{"known.v1.S": {}})
		r := newRig(t, w, &funcs{}, WithAuthenticator(byWord), WithProxy(routes),
			WithGRPC(grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
				ran++
				wantEqual(t, "method", info.FullMethod, "/known.v1.S/M")
				wantEqual(t, "user", auth.User(ss.Context()).ID, "alice")
				if hide {
					stream := grpc.ServerTransportStreamFromContext(ss.Context())
					ss = routedStream{ss, grpc.NewContextWithServerTransportStream(context.Background(), stream)}
				}
				return h(srv, ss)
			})))
		conn, ctx := r.dial(), as(t.Context(), "user.alice")
		_, err := invoke(t.Context(), conn, "/known.v1.S/M")
		wantCode(t, err, codes.Unauthenticated)
		wantEqual(t, "ran for nobody", ran, 0)
		_, err = invoke(ctx, conn, "/known.v1.S/M")
		wantCode(t, err, codes.OK)
		hide = true
		_, err = invoke(ctx, conn, "/known.v1.S/M")
		wantCode(t, err, codes.Unimplemented)
		wantEqual(t, "ran", ran, 2)
		wantEqual(t, "served", routes.takes(), "known.v1.S alice")
	})
}

// A call without a body is refused, or not, all the same.
func TestRoutesAreRefusedBeforeTheBody(t *testing.T) {
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		routes := newTable(map[string]auth.Access{"known.v1.S": {}})
		c := newRig(t, w, &funcs{}, append(opts, WithAuthenticator(byWord), WithProxy(routes))...).raw()
		c.headers(1, "/known.v1.S/Method")
		wantEqual(t, "code", c.status(1, time.Second).Code(), codes.Unauthenticated)
		c.headers(3, "/none.v1.S/Method")
		wantEqual(t, "none", c.status(3, time.Second).Code(), codes.Unauthenticated)
		wantEqual(t, "served", routes.takes(), "")
	})
}

// Who presents nothing passes a server without authenticators as far as its methods
// would let him.
func TestRoutesWithoutAuthenticators(t *testing.T) {
	for name, test := range map[string]struct {
		trust trust
		code  codes.Code
		none  codes.Code
	}{
		"standalone": {standalone, codes.OK, codes.Unimplemented},
		"insecure":   {insecure, codes.OK, codes.Unimplemented},
		"open":       {open, codes.Unauthenticated, codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
				routes := newTable(map[string]auth.Access{"known.v1.S": {}, "open.v1.S": {Allow: auth.Everyone}})
				r := newRig(t, w, &funcs{}, append(opts, WithProxy(routes))...)
				r.trust = test.trust
				conn := r.dial()
				for path, want := range map[string]codes.Code{"/known.v1.S/M": test.code, "/open.v1.S/M": codes.OK, "/none.v1.S/M": test.none} {
					_, err := invoke(t.Context(), conn, path)
					wantEqual(t, path, status.Code(err), want)
				}
				_, err := invoke(as(t.Context(), "user.alice"), conn, "/open.v1.S/M")
				wantEqual(t, "a token nobody looks at", status.Code(err), codes.OK)
			})
		})
	}
}

// What the server has itself is not the proxy's, and what the proxy has not is
// answered as if there were none.
func TestTheServersOwnComesFirst(t *testing.T) {
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		routes := newTable(map[string]auth.Access{"*": {Allow: auth.Everyone}})
		r := newRig(t, w, &funcs{}, append(opts, WithProxy(routes), WithHTTP("GET /mine/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "mine")
		})))...)
		for kind, code := range allKinds(t.Context(), r.client()) {
			wantEqual(t, kind, code, codes.OK)
		}
		wantEqual(t, "a handler", r.ask("/mine/x").body, "mine")
		wantEqual(t, "a page", r.ask("/internal/health").code, http.StatusOK)
		wantEqual(t, "a probe", r.ask("/livez").code, http.StatusOK)
		wantEqual(t, "asked", routes.questions(), 0)
		wantEqual(t, "another path", r.ask("/others").body, "/others ")
		wantEqual(t, "the root", r.ask("/").body, "/ ")
		wantEqual(t, "another method of the service", r.ask("/"+testServiceName+"/None").body, "/"+testServiceName+"/None ")
		wantEqual(t, "asked", routes.questions(), 3)
	})
}

// A route is counted, logged and listed by its name, whatever was asked for, and the
// record of equal routes is one.
func TestRoutesAreNamed(t *testing.T) {
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		routes := newTable(map[string]auth.Access{"known.v1.S": {}})
		r := newRig(t, w, &funcs{}, append(opts, WithAuthenticator(byWord), WithProxy(routes), WithAccessLogSample(1))...)
		ctx, conn := as(t.Context(), "user.alice"), r.dial()
		methods := len(r.methods)
		for i := range 5 {
			_, err := invoke(ctx, conn, fmt.Sprintf("/known.v1.S/Method%d", i))
			wantCode(t, err, codes.OK)
			wantEqual(t, "code", r.ask(fmt.Sprintf("/known.v1.S/%d", i), "user.alice").code, http.StatusOK)
			old := routes.routes["known.v1.S"] // the table is made anew
			routes.routes["known.v1.S"] = &Route{Name: old.Name, Access: old.Access, HTTP: old.HTTP, GRPC: old.GRPC}
		}
		_, err := invoke(t.Context(), conn, "/known.v1.S/Refused")
		wantCode(t, err, codes.Unauthenticated)
		r.ask("/known.v1.S/refused")
		wantEqual(t, "records", len(r.routed.all), 1)
		wantEqual(t, "methods", len(r.methods), methods)
		wantEqual(t, "calls", r.sample("grpc_server_call_duration_seconds", "grpc_method", "to known.v1.S"), 6)
		wantEqual(t, "requests", r.sample("http_server_request_duration_seconds", "http_route", "to known.v1.S"), 6)
		wantEqual(t, "answered", r.sample("http_server_request_duration_seconds", "http_request_method", "GET", "http_response_status_code", "200"), 5)
		wantEqual(t, "refused", r.sample("http_server_request_duration_seconds", "http_response_status_code", "401"), 1)
		wantEqual(t, "active", r.sample("http_server_active_requests"), 0)
		logged := map[string]string{}
		for _, e := range r.log.lines("call") {
			logged[e.text("method")+" "+e.text("path")] = e.text("user")
		}
		wantEqual(t, "lines", len(logged), 12)
		for _, line := range []string{"to known.v1.S /known.v1.S/Method3", "HTTP to known.v1.S /known.v1.S/3"} {
			wantEqual(t, line, logged[line], "alice")
		}
		callers := map[string]uint64{}
		for _, c := range r.callersPage().Callers {
			callers[c.Method+" "+c.Caller] = c.Calls
		}
		for who, n := range map[string]uint64{"to known.v1.S alice": 5, "HTTP to known.v1.S alice": 5, "to known.v1.S ": 1, "HTTP to known.v1.S ": 1} {
			wantEqual(t, who, callers[who], n)
		}
		stricter := &Route{Name: "to known.v1.S", Access: auth.Access{Allow: auth.Services}}
		if r.recordOf(stricter) == r.recordOf(routes.routes["known.v1.S"]) {
			t.Error("another rule has the same record")
		}
		wantEqual(t, "rule", r.recordOf(stricter).grpc.access.Allow, auth.Services)
	})
}

// A route whose rule makes no sense serves nobody, also when it comes after the start.
func TestRoutesWithoutSense(t *testing.T) {
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		routes := newTable(map[string]auth.Access{"open.v1.S": {Allow: auth.Everyone}})
		r := newRig(t, w, &funcs{}, append(opts, WithAuthenticator(byWord), WithProxy(routes))...)
		conn, ctx := r.dial(), as(t.Context(), "user.alice")
		_, err := invoke(ctx, conn, "/open.v1.S/M")
		wantCode(t, err, codes.OK)
		routes.routes["open.v1.S"] = &Route{
			Name: "bad", Access: auth.Access{Allow: auth.Everyone, Groups: []string{"staff"}},
			HTTP: routes.routes["open.v1.S"].HTTP, GRPC: routes.routes["open.v1.S"].GRPC,
		}
		routes.takes()
		_, err = invoke(ctx, conn, "/open.v1.S/M")
		wantCode(t, err, codes.Unimplemented)
		wantEqual(t, "HTTP", r.ask("/open.v1.S", "user.alice").code, http.StatusNotFound)
		wantEqual(t, "served", routes.takes(), "")
		wantEqual(t, "logged", r.log.one(t, "a route is not served: its rule makes no sense").text("route"), "bad")
	})
}

// Streams that a route serves end with the identity, with the drain, and within the
// bounds, as all others do.
func TestStreamsOfRoutes(t *testing.T) {
	waits := func(routes *table, began chan<- struct{}) {
		routes.routes["wait.v1.S"] = &Route{
			Name: "wait",
			HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).Flush()
				began <- struct{}{}
				<-r.Context().Done()
			}),
			GRPC: func(_ any, ss grpc.ServerStream) error {
				began <- struct{}{}
				<-ss.Context().Done()
				return nil
			},
		}
	}
	stream := func(t *testing.T, conn *grpc.ClientConn, token string) grpc.ClientStream {
		s, err := conn.NewStream(as(t.Context(), token), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/wait.v1.S/Wait")
		wantCode(t, err, codes.OK)
		return s
	}
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		routes, began := newTable(nil), make(chan struct{}, 10)
		waits(routes, began)
		r := newRig(t, w, &funcs{}, append(opts, WithAuthenticator(byWord), WithProxy(routes), WithLimits(Limits{Streams: 2}), WithDrainDelay(0))...)
		conn, begun := r.dial(), time.Now()
		s := stream(t, conn, "user.alice.for.20s")
		wantCode(t, s.RecvMsg(&testpb.SimpleResponse{}), codes.Unauthenticated)
		wantWithin(t, "the stream", begun, 20*time.Second, 21*time.Second)
		begun = time.Now()
		if code, body, err := r.fetchAs("/wait.v1.S", "user.alice.for.30s"); err == nil {
			t.Errorf("the answer is whole: %d %q", code, body)
		}
		wantWithin(t, "the events", begun, 30*time.Second, 31*time.Second)
		<-began
		<-began

		s = stream(t, conn, "user.alice")
		broken := make(chan error, 1)
		go func() {
			_, _, err := r.fetchAs("/wait.v1.S", "user.alice")
			broken <- err
		}()
		<-began
		<-began
		wantCode(t, stream(t, conn, "user.alice").RecvMsg(&testpb.SimpleResponse{}), codes.ResourceExhausted)
		wantEqual(t, "one request more", r.ask("/wait.v1.S", "user.alice").code, http.StatusServiceUnavailable)
		begun = time.Now()
		wantEqual(t, "the stop", r.Shutdown(t.Context()), nil)
		wantWithin(t, "the stop", begun, 5*time.Second, 6*time.Second)
		wantCode(t, s.RecvMsg(&testpb.SimpleResponse{}), codes.Unavailable)
		if err := receives(t, "the events", broken); err == nil {
			t.Error("the events ended as if they were whole")
		}
	})
}

// Panics of the proxy and of its routes end what they are asked about, and nothing
// else.
func TestProxiesThatPanic(t *testing.T) {
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		routes := newTable(map[string]auth.Access{"open.v1.S": {Allow: auth.Everyone}})
		routes.routes["boom.v1.S"] = &Route{
			Name: "boom", HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(secret) }),
			GRPC: func(any, grpc.ServerStream) error { panic(secret) },
		}
		p := &panicky{table: routes}
		r := newRig(t, w, &funcs{}, append(opts, WithProxy(p))...)
		conn := r.dial()
		for n, want := range []codes.Code{codes.Internal, codes.Unimplemented} {
			p.panics.Store(n > 0)
			_, err := invoke(t.Context(), conn, "/boom.v1.S/M")
			wantCode(t, err, want)
			a := r.ask("/boom.v1.S/x")
			wantEqual(t, "HTTP", a.code, map[codes.Code]int{codes.Internal: 500, codes.Unimplemented: 404}[want])
			if strings.Contains(err.Error()+a.body, secret) {
				t.Errorf("the caller learns %v, %q", err, a.body)
			}
			wantEqual(t, "panics", len(r.log.lines("panic")), 2*(n+1))
		}
		p.panics.Store(false)
		_, err := invoke(t.Context(), conn, "/open.v1.S/M")
		wantCode(t, err, codes.OK)
		wantEqual(t, "HTTP", r.ask("/open.v1.S").code, http.StatusOK)
		wantEqual(t, "in flight", r.calls.inFlight(), 0)
	})
}

type panicky struct {
	*table
	panics atomic.Bool
}

func (p *panicky) HTTPRoute(r *http.Request) *Route {
	if p.panics.Load() {
		panic(secret)
	}
	return p.table.HTTPRoute(r)
}

func (p *panicky) GRPCRoute(method string, md metadata.MD) *Route {
	if p.panics.Load() {
		panic(secret)
	}
	return p.table.GRPCRoute(method, md)
}

// What is behind checks where a change comes from; a server on its own is for callers
// that name this machine, unless the route is for everyone.
func TestRoutesAndOtherSites(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		rules := map[string]auth.Access{"known": {}, "open": {Allow: auth.Everyone}}
		handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		known := newRig(t, w, &funcs{}, WithAuthenticator(byWord), WithProxy(newTable(rules)), WithHTTP("/mine", handler))
		alone := newRig(t, w, &funcs{}, WithProxy(newTable(rules)))
		send := func(r *rig, path, host, token string) int {
			scheme := map[bool]string{false: "http", true: "https"}[w.viaH2]
			req, _ := http.NewRequest(http.MethodPost, scheme+"://localhost"+path, strings.NewReader("x"))
			req.Host = host
			req.Header.Set("Origin", "https://evil.example")
			req.Header.Set("Sec-Fetch-Site", "cross-site")
			if token != "" {
				req.Header.Set(auth.UserHeader, "Bearer "+token)
			}
			resp, err := r.httpClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		wantEqual(t, "control", send(known, "/mine", "shop.example", "user.alice"), 403)
		wantEqual(t, "a route", send(known, "/known", "shop.example", "user.alice"), 200)
		wantEqual(t, "alone", send(alone, "/known", "localhost", ""), 200)
		wantEqual(t, "alone, another name", send(alone, "/known", "shop.example", ""), 403)
		wantEqual(t, "alone, for everyone", send(alone, "/open", "shop.example", ""), 200)
	})
}

// A body may take its time to come through a route, as long as it comes.
func TestSlowBodies(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		reads := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusRequestTimeout)
				return
			}
			_, _ = fmt.Fprint(w, len(b))
		})
		routes := newTable(nil)
		routes.routes["slow"] = &Route{Name: "slow", HTTP: reads}
		routes.routes["busy"] = &Route{Name: "busy", HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(30 * time.Second)
			reads(w, r)
		})}
		routes.routes["deaf"] = &Route{Name: "deaf", HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		r := newRig(t, w, &funcs{}, WithProxy(routes), WithHTTP("/mine", reads))
		send := func(path string, parts, size int, pause time.Duration) (string, time.Duration) {
			begun := time.Now()
			body := &slowBody{parts, size, pause}
			resp, err := r.httpClient().Post(map[bool]string{false: "http", true: "https"}[w.viaH2]+"://localhost"+path, "text/plain", body)
			if err != nil {
				return "broken", time.Since(begun)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusOK {
				return "late", time.Since(begun)
			}
			return string(b), time.Since(begun)
		}
		if got, _ := send("/mine", 30, 2048, time.Second); got == "61440" {
			t.Error("control: a handler waits for a minute")
		}
		got, _ := send("/slow", 30, 2048, time.Second)
		wantEqual(t, "half a minute", got, "61440")
		got, _ = send("/busy", 3, 2048, time.Second)
		wantEqual(t, "a handler that lets it wait", got, "6144")
		for _, path := range []string{"/slow", "/deaf"} {
			switch got, took := send(path, 1000, 1, time.Second); {
			case got == "1000":
				t.Errorf("%s: a byte a second is enough", path)
			case path == "/slow" && (took < 9*time.Second || took > 12*time.Second):
				t.Errorf("%s: ended after %v", path, took)
			}
		}
		time.Sleep(time.Hour) // until the last body has been given up
	})
}

// slowBody is a body that comes in parts.
type slowBody struct {
	parts, size int
	pause       time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.parts--; b.parts < 0 {
		return 0, io.EOF
	}
	time.Sleep(b.pause)
	return min(len(p), b.size), nil
}

// A client that sends no body, after the handler has answered, is not waited for.
func TestBodiesThatNeverCome(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		routes := newTable(nil)
		routes.routes["deaf"] = &Route{Name: "deaf", HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		r := newRig(t, ways[0], &funcs{}, WithProxy(routes))
		conn, err := r.lis.Dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		begun := time.Now()
		_, _ = io.WriteString(conn, "POST /deaf HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
		_, err = io.Copy(io.Discard, bufio.NewReader(conn))
		wantWithin(t, fmt.Sprint("the connection: ", err), begun, 0, 20*time.Second)
	})
}
