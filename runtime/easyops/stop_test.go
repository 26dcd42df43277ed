package easyops

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

func TestCallInFlightFinishes(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		h := newHeld(t)
		r := newRig(t, w, &funcs{unary: h.unary})
		client := r.client()
		call := goUnary(t.Context(), client, toHold)
		receives(t, "the call's beginning", h.begun)
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		time.Sleep(10 * time.Second)
		h.let()
		wantCode(t, receives(t, "the call", call), codes.OK)
		if err := receives(t, "the stop", stopped); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, 10*time.Second, 11*time.Second)
	})
}

func TestServesOnDuringTheDrainDelay(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithDrainDelay(3*time.Second))
		client := r.client()
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		for time.Since(begun) < 2900*time.Millisecond {
			time.Sleep(100 * time.Millisecond)
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
			_, err = r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{}) // by a new connection
			wantCode(t, err, codes.OK)
			code, _ := r.get("/readyz")
			wantEqual(t, "/readyz", code, 503)
			code, _ = r.get("/livez")
			wantEqual(t, "/livez", code, 200)
		}
		if err := receives(t, "the stop", stopped); err != nil {
			t.Errorf("Wait: %v", err)
		}
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.Unavailable)
	})
}

func TestStreamThatIsToldEndsClean(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		told := &funcs{down: func(_ *testpb.StreamingOutputCallRequest, s down) error {
			err := s.Send(&testpb.StreamingOutputCallResponse{})
			<-Draining(s.Context())
			return errors.Join(err, s.Send(&testpb.StreamingOutputCallResponse{}))
		}}
		r := newRig(t, w, told)
		streams := openStreams(t, r.client(), 5)
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		for _, s := range streams {
			_, err := s.Recv()
			wantCode(t, err, codes.OK)
			if _, err = s.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("the stream ends with %v, want io.EOF", err)
			}
		}
		if err := receives(t, "the stop", stopped); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, 0, 2*time.Second)
	})
}

func TestStreamThatIsNotToldEndsWithAStatus(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		deaf := &funcs{down: func(_ *testpb.StreamingOutputCallRequest, s down) error {
			err := s.Send(&testpb.StreamingOutputCallResponse{})
			<-s.Context().Done()
			return errors.Join(err, s.Context().Err())
		}}
		r := newRig(t, w, deaf, WithStreamGrace(4*time.Second))
		streams := openStreams(t, r.client(), 5)
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		for _, s := range streams {
			_, err := s.Recv()
			wantCode(t, err, codes.Unavailable)
			wantEqual(t, "message", status.Convert(err).Message(), "server draining")
		}
		wantWithin(t, "the grace", begun, 4*time.Second, 5*time.Second)
		if err := receives(t, "the stop", stopped); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, 4*time.Second, 6*time.Second)
		for _, line := range r.log.lines("call") { // what is logged is what the client was told
			wantEqual(t, "code", line.text("code"), "Unavailable")
		}
	})
}

// A handler that ignores its context cannot be ended. Its client gets the
// status all the same, the stop is bounded, and Wait names it.
func TestStreamHandlerThatIgnoresItsContext(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		release := make(chan struct{})
		deaf := &funcs{down: func(_ *testpb.StreamingOutputCallRequest, s down) error {
			err := s.Send(&testpb.StreamingOutputCallResponse{})
			<-release
			return err
		}}
		r := newRig(t, w, deaf, WithStreamGrace(2*time.Second), WithShutdownTimeout(10*time.Second))
		defer close(release)
		stream := openStreams(t, r.client(), 1)[0]
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		_, err := stream.Recv()
		wantCode(t, err, codes.Unavailable)
		wantEqual(t, "message", status.Convert(err).Message(), "server draining")
		wantWithin(t, "the grace", begun, 2*time.Second, 3*time.Second)
		err = receives(t, "the stop", stopped)
		wantWithin(t, "the stop", begun, 2*time.Second, 10*time.Second)
		if err == nil || !strings.Contains(err.Error(), downMethod) {
			t.Errorf("Wait's error does not name the handler that goes on: %v", err)
		}
	})
}

// A client that reads nothing must not hold a stop: its stream cannot even be
// told.
func TestStreamWhoseClientDoesNotRead(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		flood := &funcs{down: func(_ *testpb.StreamingOutputCallRequest, s down) error {
			for {
				err := s.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 100<<10)}})
				if err != nil {
					return err
				}
			}
		}}
		r := newRig(t, w, flood, WithStreamGrace(time.Second), WithShutdownTimeout(10*time.Second))
		openStreams(t, r.client(), 1)
		synctest.Wait() // the window is full
		begun := time.Now()
		_ = receives(t, "the stop", r.goShutdown(context.Background()))
		wantWithin(t, "the stop", begun, time.Second, 10*time.Second)
	})
}

func TestUnaryThatNeverEndsIsCut(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		h := newHeld(t)
		r := newRig(t, w, &funcs{unary: h.unary}, WithShutdownTimeout(10*time.Second))
		call := goUnary(t.Context(), r.client(), toHold)
		receives(t, "the call's beginning", h.begun)
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		wantCode(t, receives(t, "the call", call), codes.Unavailable)
		err := receives(t, "the stop", stopped)
		wantWithin(t, "the stop", begun, 9*time.Second, 10*time.Second)
		if err == nil || !strings.Contains(err.Error(), unaryMethod+" from client-1, ") {
			t.Errorf("Wait: %v, want it to name %s and its peer", err, unaryMethod)
		}
		line := r.log.one(t, "call cut off")
		if !strings.Contains(line.text("call"), unaryMethod) || line["level"] != "WARN" {
			t.Errorf("log: %v", line)
		}
	})
}

func TestHealthWatchAndReflectionDoNotHoldTheStop(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithStreamGrace(8*time.Second), WithDrainDelay(time.Second))
		conn := r.dial()
		watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		wantCode(t, err, codes.OK)
		got, err := watch.Recv()
		wantCode(t, err, codes.OK)
		wantEqual(t, "health", got.Status, healthpb.HealthCheckResponse_SERVING)
		refl, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		wantCode(t, err, codes.OK)
		wantCode(t, refl.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}), codes.OK)
		_, err = refl.Recv()
		wantCode(t, err, codes.OK)

		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		got, err = watch.Recv() // at once, not after the delay
		wantCode(t, err, codes.OK)
		wantEqual(t, "health", got.Status, healthpb.HealthCheckResponse_NOT_SERVING)
		wantWithin(t, "the news", begun, 0, 100*time.Millisecond)
		_, err = watch.Recv()
		wantCode(t, err, codes.Unavailable)
		_, err = refl.Recv()
		wantCode(t, err, codes.Unavailable)
		if err := receives(t, "the stop", stopped); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, time.Second, 3*time.Second)
	})
}

// During an orderly stop no call fails: those in flight end, the others go where
// the client finds the next server. The same clients lose calls where a server
// is just stopped, so the test can see the difference.
func TestNoCallFailsInAnOrderlyStop(t *testing.T) {
	slow := func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		time.Sleep(10 * time.Millisecond)
		return &testpb.SimpleResponse{}, nil
	}
	run := func(t *testing.T, w way, stop func(*rig)) (ok, failed int64) {
		old, next := newRig(t, w, &funcs{unary: slow}), newRig(t, w, &funcs{unary: slow})
		client := testpb.NewTestServiceClient(old.dial(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if nc, err := old.lis.DialContext(ctx); err == nil {
				return nc, nil
			}
			return next.lis.DialContext(ctx)
		})))
		loop := newCallLoop(10, client)
		time.Sleep(205 * time.Millisecond)
		stop(old)
		time.Sleep(500 * time.Millisecond)
		loop.end()
		if next.sample("grpc_server_call_started_total") == 0 {
			t.Error("the clients never came to the next server")
		}
		return loop.ok.Load(), loop.failed.Load()
	}
	for range 3 {
		eachWay(t, func(t *testing.T, w way) {
			ok, failed := run(t, w, func(r *rig) {
				if err := r.Shutdown(context.Background()); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
			if failed > 0 || ok < 500 {
				t.Errorf("orderly stop: %d calls ok, %d failed", ok, failed)
			}
		})
	}
	t.Run("negative control", func(t *testing.T) {
		eachWay(t, func(t *testing.T, w way) {
			_, failed := run(t, w, func(r *rig) {
				_ = r.Shutdown(ended())
			})
			if failed == 0 {
				t.Error("a server that stops at once lost no call: the test is blind")
			}
		})
	})
}

func TestHTTPRequestInFlightFinishes(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		begun := make(chan struct{})
		r := newRig(t, w, &funcs{}, WithHTTP("/slow", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			time.Sleep(5 * time.Second)
			_, _ = io.WriteString(w, "done")
		})))
		page := r.goGet("/slow")
		receives(t, "the request", begun)
		start := time.Now()
		if err := receives(t, "the stop", r.goShutdown(context.Background())); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", start, 5*time.Second, 7*time.Second)
		wantEqual(t, "the page", receives(t, "the page", page), "200 done")
	})
}

// What is cut is named, an HTTP request as well as a call.
func TestHTTPRequestThatNeverEndsIsCut(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		begun, release := make(chan struct{}), make(chan struct{})
		defer close(release)
		r := newRig(t, w, &funcs{}, WithShutdownTimeout(10*time.Second), WithHTTP("/deaf", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			close(begun)
			<-release
		})))
		page := r.goGet("/deaf")
		receives(t, "the request", begun)
		start := time.Now()
		err := receives(t, "the stop", r.goShutdown(context.Background()))
		wantWithin(t, "the stop", start, 9*time.Second, 10*time.Second)
		if err == nil || !strings.Contains(err.Error(), "/deaf") && !strings.Contains(err.Error(), "HTTP") {
			t.Errorf("Wait: %v, want an error that says that an HTTP request was cut off", err)
		}
		if got := receives(t, "the page", page); !strings.Contains(got, "error") {
			t.Errorf("the page: %s", got)
		}
	})
}

// Streams get their status also where the time for the whole stop is shorter
// than their grace.
func TestStreamGraceBeyondTheTimeout(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		deaf := &funcs{down: func(_ *testpb.StreamingOutputCallRequest, s down) error {
			err := s.Send(&testpb.StreamingOutputCallResponse{})
			<-s.Context().Done()
			return errors.Join(err, s.Context().Err())
		}}
		r := newRig(t, w, deaf, WithStreamGrace(time.Minute), WithShutdownTimeout(10*time.Second))
		stream := openStreams(t, r.client(), 1)[0]
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		_, err := stream.Recv()
		wantCode(t, err, codes.Unavailable)
		wantEqual(t, "message", status.Convert(err).Message(), "server draining")
		_ = receives(t, "the stop", stopped)
		wantWithin(t, "the stop", begun, 0, 10*time.Second)
	})
}

// A stop may come at any moment. Calls end well or are told that the server is
// not there; nothing else happens to them.
func TestStopAtAnyMoment(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for range 30 {
			r := newRig(t, w, &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				time.Sleep(rand.N(2 * time.Millisecond))
				return &testpb.SimpleResponse{}, nil
			}})
			client := r.client()
			var callers sync.WaitGroup
			for range 10 {
				callers.Go(func() {
					for range 5 {
						_, err := client.UnaryCall(context.Background(), &testpb.SimpleRequest{})
						if c := status.Code(err); c != codes.OK && c != codes.Unavailable {
							t.Errorf("a call: %v", err)
						}
					}
				})
			}
			time.Sleep(rand.N(6 * time.Millisecond))
			if err := r.Shutdown(context.Background()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			callers.Wait()
			wantEqual(t, "calls in flight", r.calls.inFlight(), 0)
			wantEqual(t, "connections", r.port.Conns().Open, 0)
		}
	})
}

// Clients on open connections are sent away after the drain delay, not before.
func TestGoAwayComesAfterTheDelay(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		h := newHeld(t)
		r := newRig(t, w, &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			h.begun <- struct{}{}
			<-h.release
			return &testpb.SimpleResponse{}, nil
		}}, WithDrainDelay(4*time.Second))
		c := r.raw()
		c.headers(1, "/"+unaryMethod)
		c.message(1, true)
		receives(t, "the call's beginning", h.begun)
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		for {
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := f.(*http2.GoAwayFrame); ok {
				break
			}
			if p, ok := f.(*http2.PingFrame); ok && !p.IsAck() {
				c.must(c.WritePing(true, p.Data))
			}
		}
		wantWithin(t, "GOAWAY", begun, 4*time.Second, 4*time.Second+100*time.Millisecond)
		h.let() // and the call goes on
		wantEqual(t, "the call", c.status(1, time.Minute).Code(), codes.OK)
		_ = c.Close()
		if err := receives(t, "the stop", stopped); err != nil {
			t.Errorf("Wait: %v", err)
		}
	})
}
