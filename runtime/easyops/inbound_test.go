package easyops

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/port"
	"github.com/go-easyops/easyops/runtime/status"
)

// callerRows are those of the page of the callers, in order, in a few words each.
func (r *rig) callerRows() (rows []string) {
	for _, c := range r.callersPage().Callers {
		var errs []string
		for code, n := range c.Errors {
			errs = append(errs, fmt.Sprintf("%s %d", code, n))
		}
		slices.Sort(errs)
		_, method, _ := strings.Cut(c.Method, "/")
		row := fmt.Sprintf("%s by %s: %d", method, strings.TrimSpace(c.Kind+" "+c.Caller), c.Calls)
		if len(errs) > 0 {
			row += ", " + strings.Join(errs, ", ")
		}
		rows = append(rows, row)
		if c.Last.Before(r.started) || c.Last.After(r.started.Add(r.uptime())) {
			r.t.Errorf("%s: last call at %v", row, c.Last)
		}
	}
	slices.Sort(rows)
	return rows
}

func wantRows(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Callers are who they have proved to be, refused ones too; what nobody takes is
// of nobody.
func TestCallersByIdentity(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		impl := &funcs{down: func(*testpb.StreamingOutputCallRequest, down) error {
			return grpcstatus.Error(codes.NotFound, "none")
		}}
		r := newRig(t, w, impl, WithAuthenticator(byWord), WithAccess(upMethod, auth.Access{Groups: []string{"staff"}}))
		client := r.client()
		for _, tokens := range [][]string{{}, {"forged"}, {"user.alice"}, {"service.shop"}, {"user.alice", "service.shop"}, {"", "service.shop"}} {
			_, _ = client.UnaryCall(as(t.Context(), tokens...), &testpb.SimpleRequest{})
		}
		if s, err := client.StreamingOutputCall(as(t.Context(), "user.alice"), &testpb.StreamingOutputCallRequest{}); err == nil {
			_, _ = s.Recv()
		}
		if s, err := client.StreamingInputCall(as(t.Context(), "user.bob.visitor")); err == nil {
			_, _ = s.CloseAndRecv()
		}
		_ = r.dial().Invoke(as(t.Context(), "user.alice"), "/made.up/Method", &testpb.Empty{}, &testpb.Empty{})
		synctest.Wait()
		wantRows(t, r.callerRows(),
			"UnaryCall by nobody: 2, UNAUTHENTICATED 2",
			"UnaryCall by user alice: 1",
			"UnaryCall by service shop: 3",
			"StreamingOutputCall by user alice: 1, NOT_FOUND 1",
			"StreamingInputCall by user bob: 1, PERMISSION_DENIED 1",
			" by user alice: 1, UNIMPLEMENTED 1",
		)
	})
}

// Requests to HTTP handlers are calls, and their statuses are errors.
func TestCallersOfHandlers(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithAuthenticator(byWord), WithHTTP("/h/{what}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.PathValue("what") {
			case "missing":
				http.NotFound(w, r)
			case "panic":
				panic("no")
			case "abort":
				w.WriteHeader(http.StatusOK)
				panic(http.ErrAbortHandler)
			case "late":
				w.WriteHeader(http.StatusOK)
				panic("no")
			}
		})))
		for _, path := range []string{"ok", "missing", "panic", "ok"} {
			r.ask("/h/"+path, "user.alice")
		}
		for _, path := range []string{"abort", "late"} { // the answers break off
			req, _ := http.NewRequest(http.MethodGet, map[bool]string{false: "http", true: "https"}[w.viaH2]+"://localhost/h/"+path, nil)
			req.Header.Set(auth.UserHeader, "Bearer user.alice")
			if resp, err := r.httpClient().Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
		r.ask("/h/ok")
		r.ask("/internal/health") // no call
		synctest.Wait()
		rows := r.callerRows()
		wantRows(t, rows,
			"h/{what} by user alice: 6, ABORTED 1, INTERNAL 2, NOT_FOUND 1",
			"h/{what} by nobody: 1, UNAUTHENTICATED 1",
		)
		if name := r.callersPage().Callers[0].Method; name != "HTTP /h/{what}" {
			t.Error(name)
		}
	})
}

func TestCodesOfHTTP(t *testing.T) {
	for status, want := range map[int]codes.Code{
		200: codes.OK, 304: codes.OK, 400: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied,
		404: codes.NotFound, 405: codes.Unimplemented, 409: codes.Aborted, 418: codes.InvalidArgument, 429: codes.ResourceExhausted,
		500: codes.Internal, 501: codes.Unimplemented, 502: codes.Unknown, 503: codes.Unavailable, 504: codes.DeadlineExceeded,
	} {
		if got := codeOfHTTP(status); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
}

// onlyInbound returns the connection that there is.
func (r *rig) onlyInbound() status.Inbound {
	r.t.Helper()
	in := r.connectionsPage().Inbound
	if len(in) != 1 {
		r.t.Fatalf("%d connections: %+v", len(in), in)
	}
	return in[0]
}

// A connection tells of its calls, while they run and afterwards, of who made the
// last, and of its bytes; and goes when it is closed.
func TestInboundConnections(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		running := make(chan struct{})
		impl := &funcs{duplex: func(s duplex) error { close(running); <-s.Context().Done(); return nil }}
		r := newRig(t, w, impl, WithAuthenticator(byWord))
		conn := r.dial()
		client := testpb.NewTestServiceClient(conn)
		ctx, cancel := context.WithCancel(as(t.Context(), "user.alice", "service.shop"))
		defer cancel()
		if _, err := client.FullDuplexCall(ctx); err != nil {
			t.Fatal(err)
		}
		<-running
		in := r.onlyInbound()
		wantEqual(t, "calls", fmt.Sprint(in.Calls, in.InFlight), "1 1")
		wantEqual(t, "identity", in.User+", "+in.Service, "alice, shop")
		wantEqual(t, "protocol and TLS", in.Protocol+", "+in.TLS, map[bool]string{false: "gRPC, ", true: "HTTP/2, TLS 1.3"}[w.viaH2])

		const size = 100_000
		if _, err := client.UnaryCall(as(t.Context(), "user.bob"), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, size)}}); err != nil {
			t.Fatal(err)
		}
		_, _ = client.UnaryCall(t.Context(), &testpb.SimpleRequest{}) // of nobody: it leaves what is known
		cancel()
		synctest.Wait()
		before, in := in, r.onlyInbound()
		wantEqual(t, "calls", fmt.Sprint(in.Calls, in.InFlight), "3 0")
		wantEqual(t, "identity", in.User+", "+in.Service, "bob, ")
		for what, n := range map[string]uint64{"received": in.Received - before.Received, "sent": in.Sent - before.Sent} {
			if n < size || n > size*11/10 {
				t.Errorf("%s %d bytes for %d", what, n, size)
			}
		}
		_ = conn.Close()
		r.await("the connection is gone", func() bool { return len(r.connectionsPage().Inbound) == 0 })
	})
}

// Requests to HTTP handlers are calls of their connection, while they run and when
// they have ended.
func TestInboundRequests(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		held := newHeld(t)
		r := newRig(t, w, &funcs{}, WithHTTP("/hold", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			close(held.begun)
			<-held.release
		})))
		page := r.goGet("/hold")
		<-held.begun
		in, use := r.onlyInbound(), r.onlyUse()
		wantEqual(t, "calls", fmt.Sprint(in.Calls, in.InFlight), "1 1")
		held.let()
		<-page
		synctest.Wait()
		wantEqual(t, "calls", fmt.Sprint(use.Calls(), use.InFlight()), "1 0")
	})
}

// onlyUse is the use of the connection that there is.
func (r *rig) onlyUse() *port.Use {
	open, _ := r.port.List(1)
	return open[0].Use
}

// Before the first call a connection has the identity of its certificate, where
// that is one.
func TestInboundCertificate(t *testing.T) {
	withTLS := WithTLSConfig(&tls.Config{
		Certificates: []tls.Certificate{testCert()}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clientTLS().RootCAs,
	})
	for name, test := range map[string]struct {
		opts []ServerOption
		cert bool
		want string
	}{
		"certificate":          {[]ServerOption{WithAuth("mtls")}, true, "server.test"},
		"none":                 {[]ServerOption{WithAuth("mtls")}, false, ""},
		"nobody looks at them": {[]ServerOption{WithAuthenticator(byWord)}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, ways[0], &funcs{}, append(test.opts, withTLS)...)
			nc, err := r.lis.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			cfg := clientTLS("h2")
			if test.cert {
				cfg.Certificates = []tls.Certificate{testCert()}
			}
			if err := tls.Client(nc, cfg).Handshake(); err != nil {
				t.Fatal(err)
			}
			r.await("the handshake", func() bool { return r.onlyInbound().TLS != "" })
			if in := r.onlyInbound(); in.Service != test.want || in.User != "" || in.TLS != "TLS 1.3" || in.Protocol != "new" || in.Calls != 0 {
				t.Errorf("%+v", in)
			}
		})
	}
}
