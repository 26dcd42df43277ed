package easyops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text } // panics on nil

// A nil pointer in an error is a common slip, and would end the process.
func TestNilPointerAsError(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{
			unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				return nil, (*nilError)(nil)
			},
			duplex: func(duplex) error { return (*nilError)(nil) },
		})
		client := r.client()
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.Internal)
		stream, err := client.FullDuplexCall(t.Context())
		wantCode(t, err, codes.OK)
		_, err = stream.Recv()
		wantCode(t, err, codes.Internal)
		wantEqual(t, "panics counted", r.sample("easyops_panics_total", "where", "call"), 2)
		_, err = client.EmptyCall(t.Context(), &testpb.Empty{})
		wantCode(t, err, codes.OK)
	})
}

// Whoever watches the health of a server takes no room from its users, nor from
// those who check it.
func TestWatchersTakeNoRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{}, WithLimits(Limits{Calls: 2}))
		watch := func(conn *grpc.ClientConn) codes.Code {
			s, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
			wantCode(t, err, codes.OK)
			_, err = s.Recv()
			return status.Code(err)
		}
		admitted := 0
		for range maxOfRuntime/250 + 1 { // streams a connection
			conn := r.dial()
			for range 240 {
				if watch(conn) != codes.OK {
					break
				}
				admitted++
			}
		}
		if admitted != maxOfRuntime {
			t.Errorf("%d watchers, want %d", admitted, maxOfRuntime)
		}
		conn := r.dial()
		wantEqual(t, "one watcher more", watch(conn), codes.ResourceExhausted)
		_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		wantCode(t, err, codes.OK)
		_, err = testpb.NewTestServiceClient(conn).EmptyCall(t.Context(), &testpb.Empty{})
		wantCode(t, err, codes.OK)
	})
}

func TestLongNamesAreNotKept(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		client := healthpb.NewHealthClient(newRig(t, w, &funcs{}).dial())
		long := &healthpb.HealthCheckRequest{Service: strings.Repeat("x", 256)}
		_, err := client.Check(t.Context(), long)
		wantCode(t, err, codes.InvalidArgument)
		s, err := client.Watch(t.Context(), long)
		wantCode(t, err, codes.OK)
		_, err = s.Recv()
		wantCode(t, err, codes.InvalidArgument)
	})
}

// The registered code may be older than the descriptor that is linked in.
func TestDescriptorNewerThanTheCode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		old := testpb.TestService_ServiceDesc
		old.Methods = old.Methods[:1]
		var b Service
		recorder{&b}.RegisterService(&old, &funcs{})
		r := newRigOf(t, ways[0], []Service{b})
		code, body := r.get("/internal/service-info/api")
		wantEqual(t, "code", code, 403) // in memory nobody is operator; what counts is that the server starts
		if !strings.Contains(body, "operator") {
			t.Errorf("the page says %q", body)
		}
		for _, m := range r.describe()[0].Methods {
			if served := m.Name == old.Methods[0].MethodName || m.Kind != "unary"; served == strings.Contains(m.Access, "not served") {
				t.Errorf("%s: %s", m.Name, m.Access)
			}
		}
	})
}

// Contexts are printed by loggers and test packages.
func TestPrintedContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return &testpb.SimpleResponse{Username: fmt.Sprintf("%v|%+v", ctx, ctx)}, nil
		}}, WithAuthenticator(byWord))
		reply, err := r.client().UnaryCall(as(t.Context(), "user.canary"), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		wantEqual(t, "printed", reply.Username, "call of "+unaryMethod+"|call of "+unaryMethod)
	})
}

// After a client has cancelled, other calls cost what they did before.
func TestCancelsAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		_, err := r.client().UnaryCall(ctx, &testpb.SimpleRequest{})
		wantCode(t, err, codes.Canceled)
		synctest.Wait()
		wantEqual(t, "connections looked at", r.resets.active.Load(), 1)
		time.Sleep(resetWindow + 2*time.Second)
		wantEqual(t, "connections looked at later", r.resets.active.Load(), 0)
	})
}

// An HTTP handler learns of the drain as a stream does, and its context ends
// with the stream grace.
func TestHTTPHandlersDrain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		told, over := make(chan time.Duration, 1), make(chan time.Duration, 1)
		begun := make(chan struct{})
		var stop time.Time
		r := newRig(t, ways[0], &funcs{}, WithStreamGrace(3*time.Second), WithHTTP("/events", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.(http.Flusher).Flush()
			close(begun)
			<-Draining(req.Context())
			told <- time.Since(stop)
			<-req.Context().Done()
			over <- time.Since(stop)
		})))
		page := r.goGet("/events")
		receives(t, "the request", begun)
		stop = time.Now()
		err := receives(t, "the stop", r.goShutdown(context.Background()))
		if err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantEqual(t, "told after", <-told, 0)
		wantEqual(t, "over after", <-over, 3*time.Second)
		receives(t, "the page", page)
	})
}

func TestDrainDelayAgainstTimeout(t *testing.T) {
	s := NewServer(WithFlags(nil), WithRegistry("none"), WithDrainDelay(30*time.Second))
	s.RegisterService((&funcs{}).service().desc, &funcs{})
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "-easyops.drain-delay of 30s leaves calls no time") {
		t.Errorf("Start: %v", err)
	}
}

// Where the user's options may bring interceptors, the call path is run once,
// also if one of them gives the stream another context.
func TestFreshContextOfAnInterceptor(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithGRPC(grpc.ChainStreamInterceptor(
			func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
				return handler(srv, freshStream{ss})
			})))
		s, err := r.client().FullDuplexCall(t.Context())
		wantCode(t, err, codes.OK)
		_, err = s.Recv()
		wantEqual(t, "the end", err, io.EOF)
		wantEqual(t, "started", r.sample("grpc_server_call_started_total", "grpc_method", duplexMethod), 1)
	})
}

type freshStream struct{ grpc.ServerStream }

func (freshStream) Context() context.Context { return context.Background() }

// Half a page must not look like a whole one.
func TestPageThatTheDrainCutsShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		begun := make(chan struct{})
		r := newRig(t, ways[0], &funcs{}, WithStreamGrace(time.Second), WithHTTP("/download", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			_, _ = w.Write([]byte("the first half"))
			_ = http.NewResponseController(w).Flush()
			close(begun)
			<-req.Context().Done() // a careful handler, which returns
		})))
		page := r.goGet("/download")
		receives(t, "the request", begun)
		_ = receives(t, "the stop", r.goShutdown(context.Background()))
		if got := receives(t, "the page", page); !strings.Contains(got, "error") {
			t.Errorf("the page looks whole: %s", got)
		}
	})
}

// Many streams leave room for calls.
func TestStreamsLeaveRoomForCalls(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{duplex: func(s duplex) error {
			<-s.Context().Done()
			return s.Context().Err()
		}}, WithLimits(Limits{Calls: 1, Streams: 3}))
		client := r.client()
		for range 3 {
			_, err := client.FullDuplexCall(t.Context())
			wantCode(t, err, codes.OK)
		}
		synctest.Wait()
		s, err := client.FullDuplexCall(t.Context())
		wantCode(t, err, codes.OK)
		_, err = s.Recv()
		wantCode(t, err, codes.ResourceExhausted)
		_, err = client.EmptyCall(t.Context(), &testpb.Empty{})
		wantCode(t, err, codes.OK)
	})
}

// Callers who send no request keep nobody out and hold no stop.
func TestSilentCallersKeepNobodyOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{}, WithLimits(Limits{Calls: 50}), WithStreamGrace(time.Second), WithShutdownTimeout(20*time.Second))
		silent := r.raw()
		for i := range uint32(100) {
			method := unaryMethod
			if i%2 == 0 {
				method = "grpc.health.v1.Health/Check"
			}
			if err := silent.tryHeaders(2*i+1, "/"+method); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		wantEqual(t, "waiting", r.calls.inFlight(), 100)
		conn := r.dial()
		for range 20 {
			_, err := testpb.NewTestServiceClient(conn).EmptyCall(t.Context(), &testpb.Empty{})
			wantCode(t, err, codes.OK)
			_, err = healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
			wantCode(t, err, codes.OK)
		}
		time.Sleep(4 * time.Second)
		wantEqual(t, "waiting, the runtime's own gone", r.calls.inFlight(), 50)
		begun := time.Now()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, time.Second, 7*time.Second) // 5 s for the ACK of the GOAWAY, which does not come
		_ = silent.Close()
	})
}

// What an on-stop function has to do is done, whatever else goes on.
func TestOnStopHasTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release, flushed := make(chan struct{}), false
		defer close(release)
		r := newRig(t, ways[0], &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			Go(ctx, func(context.Context) { <-release }) // ignores its context
			return &testpb.SimpleResponse{}, nil
		}}, WithShutdownTimeout(10*time.Second), WithOnStop("flush", func(ctx context.Context) error {
			select {
			case <-time.After(500 * time.Millisecond):
				flushed = true
			case <-ctx.Done():
			}
			return ctx.Err()
		}))
		_, err := r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		begun := time.Now()
		err = r.Shutdown(t.Context())
		if err == nil || !strings.Contains(err.Error(), "Go in "+unaryMethod) {
			t.Errorf("Wait: %v, want the work that goes on", err)
		}
		wantWithin(t, "the stop", begun, 0, 10*time.Second)
		wantEqual(t, "flushed", flushed, true)
	})
}

func TestRunWithoutStart(t *testing.T) {
	for _, s := range []*Server{nil, NewServer(WithFlags(nil))} {
		if err := Run(s, nil); !errors.Is(err, errNotStarted) {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestTargetOfNoScheme(t *testing.T) {
	conn, err := Dial("a.B", WithFlags(nil), DialTarget("foo:///x"))
	if err == nil {
		_ = conn.Close()
		t.Fatal("dialled")
	}
	if !strings.Contains(err.Error(), "write host:port or dns:///host:port") {
		t.Error(err)
	}
}
