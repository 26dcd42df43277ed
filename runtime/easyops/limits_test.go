package easyops

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

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
			_, err = s.Recv() // streams have a bound of their own
			wantCode(t, err, codes.OK)
		}
		synctest.Wait() // handlers return a little after their last answer
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
		wantEqual(t, "refused", r.sample("grpc_server_call_duration_seconds", "grpc_status", "RESOURCE_EXHAUSTED"), 20)
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
		wantEqual(t, "in flight", r.calls.inFlight(), 0)
		// What is counted is what the client was told.
		wantEqual(t, "DEADLINE_EXCEEDED", r.sample("grpc_server_call_duration_seconds", "grpc_status", "DEADLINE_EXCEEDED"), n)
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
		wantEqual(t, "in flight", r.calls.inFlight(), 0)
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

// A client that minds no limit gets no more handlers than one that does.
func TestStreamsOfAConnectionThatMindsNoLimit(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		h := newHeld(t)
		var begun atomic.Int32
		r := newRig(t, w, &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			begun.Add(1)
			<-h.release
			return &testpb.SimpleResponse{}, nil
		}})
		c := r.raw()
		go func() { _, _ = io.Copy(io.Discard, c.Conn) }()
		for i := range uint32(1000) {
			if c.tryHeaders(2*i+1, "/"+unaryMethod) != nil || c.WriteData(2*i+1, true, make([]byte, 5)) != nil {
				break // closed, which is one way to bound it
			}
		}
		synctest.Wait()
		if n := begun.Load(); n == 0 || n > 250 {
			t.Errorf("%d handlers at once, want at most 250", n)
		}
	})
}
