package easyops

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/auth"
)

// Who has no identity cannot tell paths of methods from others.
func TestNamesAreNotToldOverHTTP(t *testing.T) {
	with := func(opts ...ServerOption) []ServerOption { return opts }
	for name, test := range map[string]struct {
		opts   []ServerOption
		tokens []string
		known  int
		none   int
	}{
		"nobody":       {with(WithAuthenticator(byWord)), nil, 401, 401},
		"forged":       {with(WithAuthenticator(byWord)), []string{"forged"}, 401, 401},
		"with a route": {with(WithAuthenticator(byWord), WithHTTP("/mine", http.NotFoundHandler())), nil, 401, 401},
		"the wrong one": {
			with(WithAuthenticator(byWord), WithAccess(testServiceName, auth.Access{Allow: auth.Services})), []string{"user.bob"}, 403, 404,
		},
		"may call":      {with(WithAuthenticator(byWord)), []string{"user.bob"}, 405, 404},
		"for everyone":  {with(WithAuthenticator(byWord), WithAccess(testServiceName, auth.Access{Allow: auth.Everyone})), nil, 405, 401},
		"standalone":    {nil, nil, 405, 404},
		"insecure-none": {with(WithAuth("insecure-none")), nil, 405, 404},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, &funcs{}, test.opts...)
				known, none := r.ask("/"+unaryMethod, test.tokens...), r.ask("/"+testServiceName+"/Missing", test.tokens...)
				wantEqual(t, "a method", known.code, test.known)
				wantEqual(t, "none", none.code, test.none)
				if test.known == test.none {
					wantEqual(t, "text", known.body, none.body)
				}
				wantEqual(t, "another service", r.ask("/no.such.Service/Method", test.tokens...).code, test.none)
				wantEqual(t, "the runtime's own", r.ask("/grpc.health.v1.Health/Check").code, http.StatusMethodNotAllowed)
				wantEqual(t, "a page", r.ask("/internal/health", test.tokens...).code, http.StatusOK)
				wantEqual(t, "no page", r.ask("/internal/none", test.tokens...).code, http.StatusNotFound)
				wantEqual(t, "no path of a method", r.ask("/none", test.tokens...).code, http.StatusNotFound)
			})
		})
	}
}

// A web page whose name points at this machine (DNS rebinding), and a proxy on
// it, reach no handler of a standalone server.
func TestHandlersAreForThisMachine(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		served := 0
		count := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })
		handlers := []ServerOption{WithHTTP("/mine", count), WithHTTP("/open", count, auth.Access{Allow: auth.Everyone})}
		alone := newRig(t, w, &funcs{}, handlers...)
		known := newRig(t, w, &funcs{}, append(handlers, WithAuthenticator(byWord))...)
		for name, test := range map[string]struct {
			host, header string
			want         int
		}{
			"control":         {"localhost", "", 200},
			"an address":      {"127.0.0.1:80", "", 200},
			"IPv6":            {"[::1]:80", "", 200},
			"another name":    {"evil.example:80", "", 403},
			"X-Forwarded-For": {"localhost", "X-Forwarded-For", 403},
			"Forwarded":       {"localhost", "Forwarded", 403},
			"Via":             {"localhost", "Via", 403},
		} {
			send := func(r *rig, path, token string) int {
				scheme := "http"
				if w.viaH2 {
					scheme = "https"
				}
				req, _ := http.NewRequest(http.MethodPost, scheme+"://localhost"+path, nil)
				req.Host = test.host
				req.Header.Set("Origin", scheme+"://"+test.host)
				req.Header.Set("Sec-Fetch-Site", "same-origin")
				if test.header != "" {
					req.Header.Set(test.header, "x")
				}
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
			before := served
			wantEqual(t, name, send(alone, "/mine", ""), test.want)
			if ran := served > before; ran != (test.want == 200) {
				t.Errorf("%s: the handler ran: %v", name, ran)
			}
			wantEqual(t, name+", for everyone", send(alone, "/open", ""), 200)
			wantEqual(t, name+", authenticated", send(known, "/mine", "user.alice"), 200)
		}
	})
}

// What an authenticator of the program's does wrong hits the call that it is
// asked about, and no other.
func TestBadAuthenticators(t *testing.T) {
	panics := auth.AuthenticatorFunc(func(context.Context, auth.Credential) (auth.Identity, error) { panic("boom " + secret) })
	blocks := auth.AuthenticatorFunc(func(ctx context.Context, c auth.Credential) (auth.Identity, error) {
		if c.Token != "user.block" {
			return byWord(ctx, c)
		}
		<-ctx.Done()
		return auth.Identity{}, ctx.Err()
	})
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithAuthenticator(panics), WithHTTP("/mine", http.NotFoundHandler()))
		for kind, code := range allKinds(as(t.Context(), "user.alice"), r.client()) {
			wantEqual(t, kind, code, codes.Internal)
		}
		for _, path := range []string{"/mine", "/internal/help", "/" + unaryMethod} {
			wantEqual(t, path, r.ask(path, "user.alice").code, http.StatusInternalServerError)
		}
		wantEqual(t, "panics", len(r.log.lines("panic")), 7)
		wantEqual(t, "in flight", r.calls.inFlight(), 0)
	})
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithAuthenticator(blocks), WithHTTP("/mine", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		client, begun := r.client(), time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		blocked := make(chan struct{})
		go func() {
			defer close(blocked)
			_, err := client.UnaryCall(as(ctx, "user.block"), &testpb.SimpleRequest{})
			wantCode(t, err, codes.DeadlineExceeded)
			wantWithin(t, "the call", begun, 20*time.Second, 21*time.Second)
		}()
		gone, leave := context.WithTimeout(t.Context(), 10*time.Second)
		defer leave()
		req, _ := http.NewRequestWithContext(gone, http.MethodGet, map[bool]string{false: "http", true: "https"}[w.viaH2]+"://localhost/mine", nil)
		req.Header.Set(auth.UserHeader, "Bearer user.block")
		if resp, err := r.httpClient().Do(req); err == nil {
			resp.Body.Close()
			t.Error("answered")
		}
		wantEqual(t, "others", r.ask("/mine", "user.alice").code, http.StatusOK)
		_, err := client.UnaryCall(as(t.Context(), "user.alice"), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		<-blocked
		r.await("nothing in flight", func() bool { return r.calls.inFlight() == 0 })
	})
}

// A call that ends while it is found out who calls was not refused: whoever called
// must not take its token for a bad one.
func TestCallsThatEndBeforeTheirCallerIsKnown(t *testing.T) {
	slow := errors.New("the provider is slow")
	asks := auth.AuthenticatorFunc(func(ctx context.Context, c auth.Credential) (auth.Identity, error) {
		select {
		case <-ctx.Done():
			if c.Token == "user.own" {
				return auth.Identity{}, slow
			}
			return auth.Identity{}, ctx.Err()
		case <-time.After(time.Minute):
			return byWord(ctx, c)
		}
	})
	for _, test := range []struct {
		name, token, timeout string
		leave                time.Duration
		want                 codes.Code
	}{
		{"its deadline passes", "user.alice", "2S", time.Hour, codes.DeadlineExceeded},
		{"it is cancelled", "user.alice", "", 2 * time.Second, codes.Canceled},
		{"control: the authenticator has a fault of its own", "user.own", "2S", time.Hour, codes.Unauthenticated},
		{"control: it is known in time", "user.alice", "2M", time.Hour, codes.OK},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, ways[0], &funcs{}, WithAuthenticator(asks))
				r.get("/livez") // it serves
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				time.AfterFunc(test.leave, cancel)
				req := grpcRequest(ctx, "/"+unaryMethod, "application/grpc", test.timeout)
				req.Header.Set(auth.UserHeader, "Bearer "+test.token)
				r.http.Handler.ServeHTTP(httptest.NewRecorder(), req)
				r.await("nothing in flight", func() bool { return r.calls.inFlight() == 0 })
				by := r.metrics.Method(unaryMethod).Totals().ByCode
				wantEqual(t, "calls by code", by[test.want], 1)
			})
		})
	}
}
