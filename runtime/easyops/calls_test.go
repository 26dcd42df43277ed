package easyops

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
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
		r.await("a call in flight", func() bool { return r.calls.n.Load() == 0 })
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

// await waits for what happens soon, in the bubble's time.
func (r *rig) await(what string, ok func() bool) {
	r.t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	r.t.Fatalf("%s: waited for a second", what)
}

// secret is in the text of every panic: it must not leave the server.
const secret = "secret-of-a-panic"

func TestPanics(t *testing.T) {
	boom := func() { panic("boom " + secret) }
	unary := func(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if in.GetPayload() == nil {
			return &testpb.SimpleResponse{}, nil
		}
		boom()
		return nil, nil
	}
	callUnary := func(c testpb.TestServiceClient) error {
		_, err := c.UnaryCall(context.Background(), toHold)
		return err
	}
	callDown := func(c testpb.TestServiceClient) error {
		s, err := c.StreamingOutputCall(context.Background(), &testpb.StreamingOutputCallRequest{})
		for err == nil {
			_, err = s.Recv()
		}
		return err
	}
	tests := map[string]struct {
		impl *funcs
		opts []ServerOption
		call func(testpb.TestServiceClient) error
		in   string
	}{
		"unary": {&funcs{unary: unary}, nil, callUnary, unaryMethod},
		"stream before the first message": {
			&funcs{down: func(*testpb.StreamingOutputCallRequest, down) error { boom(); return nil }}, nil, callDown, downMethod,
		},
		"stream after the first message": {
			&funcs{down: func(_ *testpb.StreamingOutputCallRequest, s down) error {
				_ = s.Send(&testpb.StreamingOutputCallResponse{})
				boom()
				return nil
			}}, nil, callDown, downMethod,
		},
		"an error as the panic's value": {
			&funcs{unary: func(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				if in.GetPayload() != nil {
					panic(status.Error(codes.NotFound, secret))
				}
				return &testpb.SimpleResponse{}, nil
			}}, nil, callUnary, unaryMethod,
		},
		"unary interceptor": {&funcs{}, []ServerOption{WithGRPC(grpc.ChainUnaryInterceptor(
			func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
				if req.(*testpb.SimpleRequest).GetPayload() != nil {
					boom()
				}
				return h(ctx, req)
			}))}, callUnary, unaryMethod},
		"stream interceptor": {&funcs{}, []ServerOption{WithGRPC(grpc.ChainStreamInterceptor(
			func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error { boom(); return nil }))}, callDown, downMethod},
		"unary, with a WithOnError that panics too": {&funcs{unary: unary}, []ServerOption{
			WithOnError(func(context.Context, string, error) { panic("second " + secret) }),
		}, callUnary, unaryMethod},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, test.impl, test.opts...)
				client := r.client()
				wantPanicReported(t, r, test.call(client), test.in)
				_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
				wantCode(t, err, codes.OK)
				wantEqual(t, "calls in flight", r.calls.n.Load(), 0)
			})
		})
	}
}

// wantPanicReported checks what the caller and the log learn of a panic.
func wantPanicReported(t *testing.T, r *rig, err error, in string) {
	t.Helper()
	wantCode(t, err, codes.Internal)
	if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "boom") {
		t.Errorf("the caller learns the panic's text: %v", err)
	}
	for _, line := range r.log.lines("panic") {
		if line.text("in") != in {
			continue
		}
		if !strings.Contains(status.Convert(err).Message(), line.text("id")) || len(line.text("id")) < 8 {
			t.Errorf("the log has ID %q, the caller got %v", line.text("id"), err)
		}
		if !strings.Contains(line.text("err"), secret) || !strings.Contains(line.text("stack"), "calls_test.go") {
			t.Errorf("the log lacks the panic's text or the stack: %v", line)
		}
		wantEqual(t, "panics counted", r.sample("easyops_panics_total", "where", "call"), 1)
		return
	}
	t.Errorf("the log has no panic in %s: %v", in, r.log.lines("panic"))
}

func TestPanicsInCallbacks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		boom := func(string) { panic("boom " + secret) }
		impl := &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			Go(ctx, func(context.Context) { boom("Go") })
			return nil, status.Error(codes.NotFound, "no such thing")
		}}
		second := make(chan struct{})
		r := newRig(t, ways[0], impl,
			WithOnError(func(context.Context, string, error) { boom("WithOnError") }),
			WithOnReady(func(*Server) { boom("WithOnReady") }),
			WithOnReady(func(*Server) { close(second) }),
			WithOnStop("hook", func(context.Context) error { boom("WithOnStop"); return nil }),
		)
		receives(t, "the second WithOnReady", second)
		_, err := r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.NotFound)
		r.await("the work", func() bool { return r.sample("easyops_panics_total", "where", "callback") == 3 })
		if err := r.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "WithOnStop hook") || strings.Contains(err.Error(), secret) {
			t.Errorf("Wait: %v, want the hook named and the panic's text withheld", err)
		}
		var in []string
		for _, line := range r.log.lines("panic") {
			in = append(in, line.text("in"))
		}
		for _, want := range []string{"WithOnError", "WithOnReady", "WithOnStop hook", "Go in " + unaryMethod} {
			if !slices.Contains(in, want) {
				t.Errorf("the log has no panic in %s: %v", want, in)
			}
		}
	})
}

func TestPanicsInHTTPHandlers(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{},
			WithHTTP("/boom", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(secret) })),
			WithHTTP("/late", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte("half"))
				panic(secret)
			})),
			WithHTTP("/abort", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })),
		)
		code, body := r.get("/boom")
		line := r.log.one(t, "panic")
		if code != http.StatusInternalServerError || strings.Contains(body, secret) || !strings.Contains(body, line.text("id")) {
			t.Errorf("%d %q, want 500 and the ID %s", code, body, line.text("id"))
		}
		if !strings.Contains(line.text("err"), secret) || !strings.Contains(line.text("stack"), "calls_test.go") {
			t.Errorf("log: %v", line)
		}
		if _, body, _ := r.fetch("/late"); strings.Contains(body, secret) {
			t.Errorf("the caller learns the panic's text: %q", body)
		}
		if _, _, err := r.fetch("/abort"); err == nil {
			t.Error("http.ErrAbortHandler did not abort the request")
		}
		wantEqual(t, "panics counted", r.sample("easyops_panics_total", "where", "http"), 2)
		code, _ = r.get("/readyz")
		wantEqual(t, "/readyz", code, http.StatusOK)
	})
}

// A thousand panics disturb no other call and leave nothing behind.
func TestThousandPanics(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: func(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			if in.GetPayload() != nil {
				panic(secret)
			}
			time.Sleep(time.Millisecond)
			return &testpb.SimpleResponse{}, nil
		}})
		client := r.client()
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		synctest.Wait()
		before := runtime.NumGoroutine()
		loop := newCallLoop(4, client)
		for range 1000 {
			_, err := client.UnaryCall(t.Context(), toHold)
			wantCode(t, err, codes.Internal)
		}
		time.Sleep(100 * time.Millisecond)
		loop.end()
		synctest.Wait()
		if loop.failed.Load() > 0 || loop.ok.Load() == 0 {
			t.Errorf("other calls: %d ok, %d failed", loop.ok.Load(), loop.failed.Load())
		}
		if after := runtime.NumGoroutine(); after > before+2*streamWorkers {
			t.Errorf("%d goroutines before, %d after", before, after)
		}
		wantEqual(t, "panics counted", r.sample("easyops_panics_total"), 1000)
	})
}

// failing is a server whose unary method fails with the code and the message
// that the request asks for.
func failing(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	time.Sleep(20 * time.Millisecond)
	if s := in.GetResponseStatus(); s != nil {
		return nil, status.Error(codes.Code(s.Code), s.Message) // #nosec G115 -- of the test's own
	}
	return &testpb.SimpleResponse{}, nil
}

func askFor(code codes.Code, msg string) *testpb.SimpleRequest {
	return &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: int32(code), Message: msg}} // #nosec G115
}

func TestAccessLogOfFailedCalls(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: failing})
		client := r.client()
		hostile := "a\r\nlevel=ERROR\x1b[31m\u202e\u2066\u200b\x00" + strings.Repeat("x", 1<<10)
		_, err := client.UnaryCall(t.Context(), askFor(codes.Internal, hostile))
		wantCode(t, err, codes.Internal)
		line := r.log.one(t, "call")
		wantEqual(t, "method", line.text("method"), unaryMethod)
		wantEqual(t, "code", line.text("code"), "Internal")
		wantEqual(t, "level", line.text("level"), "ERROR")
		if d, _ := line["duration"].(float64); time.Duration(d) < 20*time.Millisecond || time.Duration(d) > time.Second {
			t.Errorf("duration: %v", line["duration"])
		}
		if line.text("peer") == "" || line.text("peer") == "unknown" {
			t.Errorf("peer: %q", line.text("peer"))
		}
		got := line.text("err")
		if strings.ContainsAny(got, "\r\n\x1b\u202e\u2066\u200b\x00") || len([]rune(got)) > 257 {
			t.Errorf("err is not cleaned: %q", got)
		}
		if !strings.Contains(got, "level=ERROR") {
			t.Errorf("err lacks the message: %q", got)
		}
		wantEqual(t, "samples", r.sample("grpc_server_call_duration_seconds", "grpc_method", unaryMethod, "grpc_status", "INTERNAL"), 1)
	})
}

func TestAccessLogOfRefusedAndUnknownCalls(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}).exposed()
		conn := r.dial()
		for _, m := range []string{unaryMethod, "no.such/\u202eMethod"} {
			err := conn.Invoke(t.Context(), "/"+m, &testpb.Empty{}, &testpb.Empty{})
			wantCode(t, err, codes.Unauthenticated)
		}
		lines := r.log.lines("call")
		wantEqual(t, "lines", len(lines), 2)
		wantEqual(t, "method", lines[0].text("method"), unaryMethod)
		if strings.Contains(lines[1].text("method"), "\u202e") {
			t.Errorf("method: %q", lines[1].text("method"))
		}
	})
}

// A flood of failures is not a flood of lines, and how many were left out is said.
func TestAccessLogIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return nil, status.Error(codes.NotFound, "no such thing")
		}})
		client := r.client()
		call := func(n int) {
			for range n {
				_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
				wantCode(t, err, codes.NotFound)
			}
		}
		call(500) // all in one second of the bubble
		wantEqual(t, "lines", len(r.log.lines("call")), linesPerSecond)
		time.Sleep(1100 * time.Millisecond)
		call(2)
		lines := r.log.lines("call")
		wantEqual(t, "lines", len(lines), linesPerSecond+2)
		wantEqual(t, "suppressed", lines[linesPerSecond]["suppressed"], any(float64(450)))
		if _, again := lines[linesPerSecond+1]["suppressed"]; again {
			t.Error("suppressed lines are reported twice")
		}
	})
}

func TestAccessLogSamplesGoodCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{})
		client := r.client()
		const n = 4000
		for i := range n {
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
			if i%10 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		// 40 are to be expected; fewer than 5 or more than 120 do not happen.
		lines := r.log.lines("call")
		if len(lines) < 5 || len(lines) > 120 {
			t.Errorf("%d of %d good calls were logged, want about one in %d", len(lines), n, sampleOneIn)
		}
		for _, line := range lines {
			wantEqual(t, "level", line.text("level"), "INFO")
			wantEqual(t, "code", line.text("code"), "OK")
		}
	})
}

func TestLevels(t *testing.T) {
	for code, want := range map[codes.Code]slog.Level{
		codes.Unknown: slog.LevelError, codes.Internal: slog.LevelError, codes.DataLoss: slog.LevelError,
		codes.DeadlineExceeded: slog.LevelWarn, codes.Unavailable: slog.LevelWarn, codes.ResourceExhausted: slog.LevelWarn, codes.Unimplemented: slog.LevelWarn,
		codes.NotFound: slog.LevelInfo, codes.Canceled: slog.LevelInfo, codes.InvalidArgument: slog.LevelInfo, codes.Unauthenticated: slog.LevelInfo,
	} {
		wantEqual(t, code.String(), levelOf(code), want)
	}
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

func TestDrainingAndGoOutsideOfACall(t *testing.T) {
	if Draining(context.Background()) != nil {
		t.Error("Draining outside of a call: not nil")
	}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	Go(ctx, func(ctx context.Context) {
		defer close(done)
		if ctx.Err() != nil {
			t.Error("the context of the work ends with the caller's")
		}
	})
	<-done
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"plain ü 漢":                      "plain ü 漢",
		"a\tb\nc\x7f\u0085":              "a?b?c??",
		"\u200e\u2028\u202a\u2069\ufeff": "?????",
		"bad \xff utf-8":                 "bad \ufffd utf-8",
		strings.Repeat("ä", 300):         strings.Repeat("ä", 256) + "…",
	} {
		wantEqual(t, fmt.Sprintf("clean(%q)", in), clean(in), want)
	}
}

// Calls that end about the turn of a second do not reset the count of lines.
func TestAccessLogSecondsGoForward(t *testing.T) {
	var a accessLog
	n := 0
	for i := range int64(1000) {
		if a.allow(100 + i%2) {
			n++
		}
	}
	if n > 2*linesPerSecond {
		t.Errorf("%d lines in two seconds, want at most %d", n, 2*linesPerSecond)
	}
}
