package easyops

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// ruledService has methods with rules in its descriptor: Quick has a timeout of
// two seconds, QuickStream too, Free is for everyone, Plain says nothing.
const ruledService = "easyops.limits.test.Ruled"

var registerRuled = sync.OnceFunc(func() {
	method := func(name string, stream bool, rules *easyopsv1.MethodRules) *descriptorpb.MethodDescriptorProto {
		m := &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: proto.String(".google.protobuf.Empty"), OutputType: proto.String(".google.protobuf.Empty"),
			ServerStreaming: &stream, Options: &descriptorpb.MethodOptions{},
		}
		if rules != nil {
			proto.SetExtension(m.Options, easyopsv1.E_Method, rules)
		}
		return m
	}
	quick := &easyopsv1.MethodRules{Timeout: durationpb.New(2 * time.Second)}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("easyops/limits_test.proto"), Package: proto.String("easyops.limits.test"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("Ruled"),
			Method: []*descriptorpb.MethodDescriptorProto{
				method("Quick", false, quick), method("QuickStream", true, quick), method("Plain", false, nil),
				method("Free", false, &easyopsv1.MethodRules{Access: &easyopsv1.Access{Allow: easyopsv1.Allow_EVERYONE}}),
			},
		}},
	}, protoregistry.GlobalFiles)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(file)
	}
	if err != nil {
		panic(err)
	}
})

// ruled binds a function to all methods of the ruled service.
func ruled(f func(ctx context.Context) error) Service {
	registerRuled()
	unary := func(name string) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(&emptypb.Empty{}); err != nil {
				return nil, err
			}
			return &emptypb.Empty{}, f(ctx)
		}}
	}
	desc := &grpc.ServiceDesc{
		ServiceName: ruledService,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{unary("Quick"), unary("Plain"), unary("Free")},
		Streams: []grpc.StreamDesc{{StreamName: "QuickStream", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			return f(s.Context())
		}}},
	}
	return Bind(func(r grpc.ServiceRegistrar, impl any) { r.RegisterService(desc, impl) }, any(struct{}{}), nil)
}

func newRuledRig(t *testing.T, w way, f func(context.Context) error, opts ...ServerOption) *rig {
	t.Helper()
	return newRigOf(t, w, []Service{ruled(f)}, opts...)
}

func TestMethodTimeout(t *testing.T) {
	const longer, shorter = 10 * time.Second, time.Second
	tests := []struct {
		name, method string
		client       time.Duration // 0: none
		want         time.Duration
	}{
		{"no deadline", "Quick", 0, 2 * time.Second},
		{"a longer one", "Quick", longer, 2 * time.Second},
		{"a shorter one", "Quick", shorter, shorter},
		{"stream without", "QuickStream", 0, 2 * time.Second},
		{"stream with a longer one", "QuickStream", longer, 2 * time.Second},
		{"stream with a shorter one", "QuickStream", shorter, shorter},
		{"a method without a timeout", "Plain", longer, longer},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				took := make(chan time.Duration, 1)
				r := newRuledRig(t, w, func(ctx context.Context) error {
					begun := time.Now()
					<-ctx.Done()
					took <- time.Since(begun)
					return ctx.Err()
				})
				ctx := t.Context()
				if test.client > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.client)
					defer cancel()
				}
				begun := time.Now()
				wantCode(t, r.callRuled(ctx, test.method), codes.DeadlineExceeded)
				wantWithin(t, "the call", begun, test.want-100*time.Millisecond, test.want+100*time.Millisecond)
				if d := receives(t, "the handler's end", took); d < test.want-100*time.Millisecond || d > test.want+100*time.Millisecond {
					t.Errorf("the handler's context ended after %v, want %v", d, test.want)
				}
			})
		})
	}
}

// callRuled calls a method of the ruled service.
func (r *rig) callRuled(ctx context.Context, method string) error {
	conn, full := r.dial(), "/"+ruledService+"/"+method
	if method != "QuickStream" {
		return conn.Invoke(ctx, full, &emptypb.Empty{}, &emptypb.Empty{})
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, full)
	if err != nil {
		return err
	}
	if err := s.SendMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(&emptypb.Empty{})
}

// The rules of the descriptor decide, also for a service that was not generated.
func TestRulesOfDescriptors(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRuledRig(t, w, func(context.Context) error { return nil }).exposed()
		for method, want := range map[string]codes.Code{
			"Free": codes.OK, "Plain": codes.Unauthenticated, "Quick": codes.Unauthenticated, "QuickStream": codes.Unauthenticated,
		} {
			if got := status.Code(r.callRuled(t.Context(), method)); got != want {
				t.Errorf("%s: %v, want %v", method, got, want)
			}
		}
	})
}

func TestTooManyCalls(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		h := newHeld(t)
		r := newRig(t, w, &funcs{unary: h.unary}, WithLimits(Limits{Calls: 4}))
		client := r.client()
		var calls []<-chan error
		for range 4 {
			calls = append(calls, goUnary(t.Context(), client, toHold))
			receives(t, "a call's beginning", h.begun)
		}
		for range 20 {
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.ResourceExhausted)
			s, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
			wantCode(t, err, codes.OK)
			_, err = s.Recv()
			wantCode(t, err, codes.ResourceExhausted)
		}
		wantEqual(t, "in flight", r.sample("easyops_calls_in_flight"), 4)
		h.let()
		for _, call := range calls {
			wantCode(t, receives(t, "a call", call), codes.OK)
		}
		synctest.Wait()
		for range 20 {
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
		}
		wantEqual(t, "in flight", r.sample("easyops_calls_in_flight"), 0)
		wantEqual(t, "refused", r.sample("grpc_server_call_duration_seconds", "grpc_status", "RESOURCE_EXHAUSTED"), 40)
	})
}

// Health must answer while calls are refused: a server that is busy is alive.
func TestHealthAnswersWhenThereAreTooManyCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHeld(t)
		r := newRig(t, ways[0], &funcs{unary: h.unary}, WithLimits(Limits{Calls: 1}))
		call := goUnary(t.Context(), r.client(), toHold)
		receives(t, "the call's beginning", h.begun)
		code, _ := r.get("/readyz")
		wantEqual(t, "/readyz", code, 200)
		wantEqual(t, "health", r.serving("").String(), "SERVING")
		h.let()
		wantCode(t, receives(t, "the call", call), codes.OK)
	})
}

func TestRequestThatNeverArrives(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithLimits(Limits{RequestTimeout: 30 * time.Second}))
		_, err := r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		c := r.raw()
		synctest.Wait()
		before, begun := runtime.NumGoroutine(), time.Now()
		const n = 100
		for i := range uint32(n) {
			c.headers(2*i+1, "/"+unaryMethod)
		}
		for i := range uint32(n) {
			st := c.status(2*i+1, time.Hour)
			wantEqual(t, "code", st.Code(), codes.DeadlineExceeded)
			if !strings.Contains(st.Message(), "did not arrive within 30s") {
				t.Errorf("message: %q", st.Message())
			}
		}
		wantWithin(t, "the answer", begun, 30*time.Second, 32*time.Second)
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before+streamWorkers {
			t.Errorf("%d goroutines before, %d after", before, after)
		}
		wantEqual(t, "in flight", r.calls.n.Load(), 0)
	})
}

// A request that trickles in is on time where it is complete before its time is
// over; the handler may then take as long as it likes.
func TestRequestThatArrivesLate(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			time.Sleep(5 * time.Minute)
			return &testpb.SimpleResponse{}, nil
		}}, WithLimits(Limits{RequestTimeout: 30 * time.Second}))
		c := r.raw()
		c.headers(1, "/"+unaryMethod)
		time.AfterFunc(25*time.Second, func() { c.message(1, true) })
		wantEqual(t, "code", c.status(1, time.Hour).Code(), codes.OK)
	})
}

// Streams may be silent for as long as they like.
func TestSilentStreamIsNotEnded(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{up: func(s up) error {
			if _, err := s.Recv(); err != nil {
				return err
			}
			return s.SendAndClose(&testpb.StreamingInputCallResponse{})
		}}, WithLimits(Limits{RequestTimeout: 10 * time.Second}))
		s, err := r.client().StreamingInputCall(t.Context())
		wantCode(t, err, codes.OK)
		time.Sleep(10 * time.Minute)
		wantCode(t, s.Send(&testpb.StreamingInputCallRequest{}), codes.OK)
		_, err = s.CloseAndRecv()
		wantCode(t, err, codes.OK)
	})
}

// A connection that begins calls only to cancel them is closed; others are not.
func TestRapidReset(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		var peak, now atomic.Int64
		r := newRig(t, w, &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			n := now.Add(1)
			for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
			}
			defer now.Add(-1)
			if ctx.Err() == nil {
				<-ctx.Done()
			}
			return nil, ctx.Err()
		}, down: func(*testpb.StreamingOutputCallRequest, down) error { return nil }}, WithLimits(Limits{Resets: 200}))
		good := r.client()
		c := r.raw()
		go func() { // what the server sends must be read
			for {
				if _, err := c.ReadFrame(); err != nil {
					return
				}
			}
		}()
		resets := 0
		for ; resets < 20_000; resets++ {
			id := uint32(2*resets + 1)
			if err := c.tryReset(id); err != nil {
				break
			}
			if resets%50 == 0 {
				s, err := good.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
				wantCode(t, err, codes.OK)
				if _, err = s.Recv(); status.Code(err) != codes.Unknown { // io.EOF
					t.Fatalf("the good client: %v", err)
				}
			}
		}
		if resets >= 5000 {
			t.Errorf("the connection was open after %d resets", resets)
		}
		if peak.Load() > 260 {
			t.Errorf("%d handlers at once", peak.Load())
		}
		if w.viaH2 {
			return // net/http may have closed the connection before us
		}
		r.log.one(t, "connection closed: it cancels most of its calls")
	})
}

// tryReset begins a call and cancels it.
func (c *rawConn) tryReset(id uint32) error {
	if err := c.tryHeaders(id, "/"+unaryMethod); err != nil {
		return err
	}
	if err := c.WriteData(id, true, []byte{0, 0, 0, 0, 0}); err != nil {
		return err
	}
	return c.WriteRSTStream(id, http2.ErrCodeCancel)
}

// A client that cancels many calls, but lets more end, is an ordinary one.
func TestOrdinaryCancelsAreNotReset(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: func(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			if in.GetPayload() != nil {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &testpb.SimpleResponse{}, nil
		}}, WithLimits(Limits{Resets: 50}))
		client := r.client()
		for i := range 500 {
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
			if i%2 == 0 {
				continue
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			_, err = client.UnaryCall(ctx, toHold)
			wantCode(t, err, codes.Canceled)
		}
		wantEqual(t, "connections closed", len(r.log.lines("connection closed: it cancels most of its calls")), 0)
	})
}

// The end of a method's own timer is not a cancellation by the client.
func TestCallsWithATimeoutAreNotResets(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRuledRig(t, w, func(context.Context) error { return nil }, WithLimits(Limits{Resets: 50}))
		conn := r.dial()
		for range 500 {
			err := conn.Invoke(t.Context(), "/"+ruledService+"/Quick", &emptypb.Empty{}, &emptypb.Empty{})
			wantCode(t, err, codes.OK)
		}
		wantEqual(t, "connections closed", len(r.log.lines("connection closed: it cancels most of its calls")), 0)
	})
}

// Calls whose deadline passes are not resets: to close their connection would
// make a slow server a broken one.
func TestDeadlinesAreNotResets(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, WithLimits(Limits{Resets: 50}))
		client := r.client()
		for range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
			cancel()
			wantCode(t, err, codes.DeadlineExceeded)
		}
		wantEqual(t, "connections closed", len(r.log.lines("connection closed: it cancels most of its calls")), 0)
	})
}

func TestResetWindow(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := newResets(3, func(string) {})
	count := func(remote string, cancelled bool, n int) (closed bool) {
		for range n {
			closed = r.count(remote, cancelled, now)
		}
		return closed
	}
	wantEqual(t, "three cancels", count("a", true, 3), false)
	wantEqual(t, "the fourth", count("a", true, 1), true)
	wantEqual(t, "of another connection", count("b", true, 1), false)
	now = now.Add(resetWindow + time.Second)
	wantEqual(t, "the window is over", count("a", true, 3), false)
	count("c", true, 2)
	count("c", false, 10)
	wantEqual(t, "fewer than were let end", count("c", true, 7), false)
	now = now.Add(resetWindow + time.Second)
	count("d", true, 1)
	wantEqual(t, "connections that are looked at", len(r.conns), 1)
	for i := range 10_000 {
		count(fmt.Sprint(i), false, 1)
	}
	wantEqual(t, "connections that never cancelled", len(r.conns), 1)
}

// Who ignores the end of its call is named once, and counted for as long as it
// goes on.
func TestHandlerThatIgnoresItsContext(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		release := make(chan struct{})
		r := newRig(t, w, &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			<-release
			return &testpb.SimpleResponse{}, nil
		}, down: func(_ *testpb.StreamingOutputCallRequest, s down) error {
			<-s.Context().Done()
			time.Sleep(5 * time.Second) // slow, but not deaf
			return nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		client := r.client()
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		wantCode(t, err, codes.DeadlineExceeded)
		s, err := client.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		wantCode(t, err, codes.DeadlineExceeded)
		const message = "handler ignores the end of its call"
		time.Sleep(ignoredAfter - 2*time.Second)
		wantEqual(t, "lines before its time", len(r.log.lines(message)), 0)
		time.Sleep(time.Minute)
		line := r.log.one(t, message)
		wantEqual(t, "method", line.text("method"), unaryMethod)
		if line.text("peer") == "" {
			t.Error("the line has no peer")
		}
		wantEqual(t, "gauge", r.sample("easyops_handlers_ignoring_context"), 1)
		close(release)
		synctest.Wait()
		wantEqual(t, "gauge", r.sample("easyops_handlers_ignoring_context"), 0)
		wantEqual(t, "in flight", r.calls.n.Load(), 0)
	})
}

// The defaults of the transport can be changed, and hold otherwise.
func TestMessageSizes(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		big := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 4<<20+1)}}
		_, err := newRig(t, w, &funcs{}).client().UnaryCall(t.Context(), big, grpc.MaxCallRecvMsgSize(8<<20))
		wantCode(t, err, codes.ResourceExhausted)
		_, err = newRig(t, w, &funcs{}, WithGRPC(grpc.MaxRecvMsgSize(8<<20))).client().UnaryCall(t.Context(), big, grpc.MaxCallRecvMsgSize(8<<20))
		wantCode(t, err, codes.OK)
		// What counts is the size after decompression.
		_, err = newRig(t, w, &funcs{}).client().UnaryCall(t.Context(), big, grpc.UseCompressor(gzip.Name))
		wantCode(t, err, codes.ResourceExhausted)
	})
}

func TestLimitsWithDefaults(t *testing.T) {
	l := Limits{Calls: 7, HTTPRead: time.Second, Connections: -1}.withDefaults()
	wantEqual(t, "Calls", l.Calls, 7)
	wantEqual(t, "HTTPRead", l.HTTPRead, time.Second)
	wantEqual(t, "Connections", l.Connections, 16_384)
	wantEqual(t, "RequestTimeout", l.RequestTimeout, time.Minute)
	wantEqual(t, "Resets", l.Resets, 1000)
}

// A connection that stops somewhere on its way is closed in good time.
func TestSilentConnectionsAreClosed(t *testing.T) {
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	tests := map[string]struct {
		send string
		most time.Duration
	}{
		"nothing at all":              {"", 7 * time.Second},
		"half a preface":              {http2.ClientPreface[:10], 7 * time.Second},
		"a preface":                   {http2.ClientPreface, 7 * time.Second},
		"a preface and SETTINGS":      {http2.ClientPreface + settings, 6 * time.Minute},
		"half a request line":         {"GET /read", 7 * time.Second},
		"half the headers":            {"GET /readyz HTTP/1.1\r\nHost: localhost\r\n", 11 * time.Second},
		"headers, half the body":      {"POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc", 17 * time.Second},
		"a request, and no other one": {"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n", 67 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, ways[0], &funcs{}, WithHTTP("/sink", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
				})))
				nc, err := r.lis.Dial()
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				begun := time.Now()
				if _, err := io.WriteString(nc, test.send); err != nil {
					t.Fatal(err)
				}
				_ = nc.SetReadDeadline(begun.Add(time.Hour))
				_, _ = io.Copy(io.Discard, nc)
				wantWithin(t, "the connection", begun, time.Second, test.most)
				r.await("the connection's end", func() bool { return r.port.Conns().Open == 0 })
			})
		})
	}
}

func TestTooManyConnections(t *testing.T) {
	for name, limits := range map[string]Limits{"in total": {Connections: 3}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, ways[0], &funcs{}, WithLimits(limits))
				clients := []testpb.TestServiceClient{r.client(), r.client(), r.client(), r.client()}
				for i, c := range clients {
					_, err := c.UnaryCall(t.Context(), &testpb.SimpleRequest{})
					wantCode(t, err, []codes.Code{codes.OK, codes.OK, codes.OK, codes.Unavailable}[i])
				}
				for _, c := range clients[:3] {
					_, err := c.UnaryCall(t.Context(), &testpb.SimpleRequest{})
					wantCode(t, err, codes.OK)
				}
			})
		})
	}
}

// More streams than a connection may have wait their turn, and are not more
// handlers.
func TestStreamsOfAConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		h := newHeld(t)
		var begun atomic.Int32
		r := newRig(t, w, &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			begun.Add(1)
			<-h.release
			return &testpb.SimpleResponse{}, nil
		}})
		client := r.client()
		_, err := testpb.NewTestServiceClient(r.dial()).EmptyCall(t.Context(), &testpb.Empty{})
		wantCode(t, err, codes.OK)
		var calls []<-chan error
		for range 400 {
			calls = append(calls, goUnary(t.Context(), client, &testpb.SimpleRequest{}))
		}
		synctest.Wait()
		wantEqual(t, "handlers at once", begun.Load(), 250)
		h.let()
		for _, c := range calls {
			wantCode(t, receives(t, "a call", c), codes.OK)
		}
	})
}
