package easyops

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/cache"
)

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
				wantEqual(t, "calls in flight", r.calls.inFlight(), 0)
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
		if !strings.Contains(line.text("err"), secret) || !strings.Contains(line.text("stack"), "panics_test.go") {
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
		if !strings.Contains(line.text("err"), secret) || !strings.Contains(line.text("stack"), "panics_test.go") {
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

// A panic that is passed on from another goroutine is logged with the stack there.
func TestPanicsFromElsewhere(t *testing.T) {
	users := cache.New[string, int]("panics", cache.Options{})
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			_, err := users.Load(ctx, "alice", loadThatPanics)
			return &testpb.SimpleResponse{}, err
		}})
		_, err := r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.Internal)
		line := r.log.one(t, "panic")
		wantEqual(t, "err", line.text("err"), secret)
		if !strings.Contains(line.text("stack"), "loadThatPanics") {
			t.Errorf("the stack is not that of the load: %v", line)
		}
	})
}

func loadThatPanics(context.Context, string) (int, error) { panic(secret) }

// endless is a panic that is always passed on.
type endless struct{}

func (e endless) PanicValue() any  { return e }
func (endless) PanicStack() []byte { return make([]byte, 2*maxStack) }

func TestPanicsArePassedOnWithinBounds(t *testing.T) {
	if value, at := unfold(endless{}); value != (endless{}) || len(at) != maxStack {
		t.Errorf("%v, %d bytes", value, len(at))
	}
}
