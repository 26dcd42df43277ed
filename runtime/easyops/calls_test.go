package easyops

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

const (
	reflectionMethod = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
)

// codeRan is what must not happen before identity is known.
func codeRan(t *testing.T) *funcs {
	ran := func(what string) error {
		t.Errorf("the %s handler ran", what)
		return status.Error(codes.Aborted, "the handler ran")
	}
	return &funcs{
		unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return nil, ran("unary")
		},
		down:   func(*testpb.StreamingOutputCallRequest, down) error { return ran("server streaming") },
		up:     func(up) error { return ran("client streaming") },
		duplex: func(duplex) error { return ran("bidirectional") },
	}
}

func TestRefusedBeforeTheBodyIsRead(t *testing.T) {
	interceptors := WithGRPC(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			t.Errorf("the user's unary interceptor ran for %s", info.FullMethod)
			return h(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			t.Errorf("the user's stream interceptor ran for %s", info.FullMethod)
			return h(srv, ss)
		}),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
			t.Error("the user's handler for unknown services ran")
			return nil
		}),
	)
	methods := []string{
		unaryMethod, downMethod, upMethod, duplexMethod, reflectionMethod,
		"grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
		testServiceName + "/NoSuchMethod", "no.such.Service/Method", "/", "a/b/c", "grpc.health.v1.Health/NoSuchMethod",
	}
	for name, opts := range map[string][]ServerOption{"plain": nil, "with interceptors": {interceptors}} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, codeRan(t), opts...).exposed()
				c := r.raw()
				for i, m := range methods {
					id, begun := uint32(2*i+1), time.Now()
					c.headers(id, "/"+m)
					st := c.status(id, time.Minute)
					if st.Code() != codes.Unauthenticated {
						t.Errorf("/%s: %v %q, want Unauthenticated", m, st.Code(), st.Message())
					}
					if d := time.Since(begun); d > time.Second {
						t.Errorf("/%s was answered after %v", m, d)
					}
				}
			})
		})
	}
}

// A path without a slash in it, or without one before it, names no method. It
// reaches nothing of the user's.
func TestMalformedPathReachesNothing(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, codeRan(t), WithGRPC(grpc.ChainStreamInterceptor(
			func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error {
				t.Error("the user's interceptor ran")
				return nil
			}))).exposed()
		c := r.raw()
		c.headers(1, "/NoMethod")
		wantCode(t, c.status(1, time.Minute).Err(), codes.Unimplemented)
		if !w.viaH2 { // net/http answers such a request itself
			c.headers(3, unaryMethod)
			if code := c.status(3, time.Minute).Code(); code == codes.OK || code == codes.Aborted {
				t.Errorf("a path without a slash before it: %v", code)
			}
		}
		r.await("a call in flight", func() bool { return r.calls.inFlight() == 0 })
	})
}

// Where callers pass, the body is waited for: the test above is not blind.
func TestAdmittedCallWaitsForItsBody(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{})
		c := r.raw()
		begun := time.Now()
		c.headers(1, "/"+unaryMethod)
		time.AfterFunc(20*time.Second, func() { c.message(1, true) })
		wantCode(t, c.status(1, time.Minute).Err(), codes.OK)
		wantWithin(t, "the call", begun, 20*time.Second, 21*time.Second)
	})
}

func TestHealthIsOpen(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}).exposed()
		client := healthpb.NewHealthClient(r.dial())
		got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: testServiceName})
		wantCode(t, err, codes.OK)
		wantEqual(t, "health", got.Status, healthpb.HealthCheckResponse_SERVING)
		watch, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{Service: testServiceName})
		wantCode(t, err, codes.OK)
		_, err = watch.Recv()
		wantCode(t, err, codes.OK)
		_, err = client.List(t.Context(), &healthpb.HealthListRequest{})
		wantCode(t, err, codes.OK)
	})
}

func TestUnknownMethodStandalone(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{})
		err := r.dial().Invoke(t.Context(), "/no.such.Service/Method", &testpb.Empty{}, &testpb.Empty{})
		wantCode(t, err, codes.Unimplemented)
		if !strings.Contains(err.Error(), "no.such.Service/Method") {
			t.Errorf("the error does not name the method: %v", err)
		}
	})
}

func TestUserInterceptorsRun(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		var seen []string
		note := func(ctx context.Context, method string) {
			if callFrom(ctx) == nil {
				t.Errorf("%s: the interceptor's context is not that of the call", method)
			}
			seen = append(seen, method)
		}
		r := newRig(t, w, &funcs{}, WithGRPC(
			grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
				note(ctx, info.FullMethod)
				return h(ctx, req)
			}),
			grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
				note(ss.Context(), info.FullMethod)
				return h(srv, ss)
			}),
		))
		conn := r.dial()
		client := testpb.NewTestServiceClient(conn)
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		stream, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
		wantCode(t, err, codes.OK)
		_, err = stream.Recv()
		wantCode(t, err, codes.OK)
		err = conn.Invoke(t.Context(), "/no.such/Method", &testpb.Empty{}, &testpb.Empty{})
		wantCode(t, err, codes.Unimplemented)
		wantEqual(t, "interceptors", strings.Join(seen, " "), "/"+unaryMethod+" /"+downMethod+" /no.such/Method")
		// Each call is one call, however many functions it went through.
		wantEqual(t, "started", r.sample("grpc_server_call_started_total"), 3)
	})
}

func TestMetricsOfCalls(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: failing})
		conn := r.dial()
		client := testpb.NewTestServiceClient(conn)
		for range 3 {
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
		}
		for range 2 {
			_, err := client.UnaryCall(t.Context(), askFor(codes.NotFound, ""))
			wantCode(t, err, codes.NotFound)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		wantCode(t, err, codes.DeadlineExceeded)
		for i := range 50 {
			err := conn.Invoke(t.Context(), fmt.Sprintf("/no.such.Service%d/Method", i), &testpb.Empty{}, &testpb.Empty{})
			wantCode(t, err, codes.Unimplemented)
		}
		time.Sleep(time.Second)
		const started, ended = "grpc_server_call_started_total", "grpc_server_call_duration_seconds"
		wantEqual(t, "started", r.sample(started, "grpc_method", unaryMethod), 6)
		wantEqual(t, "OK", r.sample(ended, "grpc_method", unaryMethod, "grpc_status", "OK")+r.sample(ended, "grpc_method", unaryMethod, "grpc_status", "DEADLINE_EXCEEDED"), 4)
		wantEqual(t, "NOT_FOUND", r.sample(ended, "grpc_method", unaryMethod, "grpc_status", "NOT_FOUND"), 2)
		wantEqual(t, "unknown", r.sample(started, "grpc_method", "other"), 50)
		wantEqual(t, "UNIMPLEMENTED", r.sample(ended, "grpc_method", "other", "grpc_status", "UNIMPLEMENTED"), 50)
		wantEqual(t, "all", r.sample(started), 56)
		wantEqual(t, "in flight", r.sample("easyops_calls_in_flight"), 0)
		wantEqual(t, "connections", r.sample("easyops_connections"), 1)
		wantEqual(t, "ready", r.sample("easyops_ready"), 1)
	})
}

// The two ways of these tests are the two that the port tells apart.
func TestWaysIn(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{})
		_, err := r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		got := r.port.Conns()
		wantEqual(t, "native connections", got.GRPC == 1, !w.viaH2)
		wantEqual(t, "net/http connections", got.HTTP2 == 1, w.viaH2)
	})
}

// grpc-go has no API to end a call while its handler runs, so the runtime uses
// the method that grpc-go uses itself.
func TestWriteStatusIsThere(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		check := func(ctx context.Context) {
			if _, ok := grpc.ServerTransportStreamFromContext(ctx).(statusWriter); !ok {
				t.Errorf("grpc-go %s: the %s transport's stream has no WriteStatus(*status.Status) error any more: "+
					"(*call).abort does nothing, so streams left at a stop and requests that never arrive hold on until they are cut", grpc.Version, w.name)
			}
		}
		r := newRig(t, w, &funcs{
			unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				check(callFrom(ctx).Context)
				return &testpb.SimpleResponse{}, nil
			},
			down: func(_ *testpb.StreamingOutputCallRequest, s down) error {
				check(callFrom(s.Context()).Context)
				return nil
			},
		})
		client := r.client()
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		s, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
		wantCode(t, err, codes.OK)
		_, _ = s.Recv()
	})
}

// statusWriter is what (*call).abort asks for.
type statusWriter interface {
	WriteStatus(*status.Status) error
}
