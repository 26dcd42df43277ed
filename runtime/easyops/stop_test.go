package easyops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

// held is a unary handler that says when it has begun, and answers when it is
// let go.
type held struct {
	begun, release chan struct{}
	let            func() // lets all go; it happens at the end of the test at the latest
}

func newHeld(t *testing.T) held {
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	t.Cleanup(let)
	return held{make(chan struct{}), release, let}
}

func (h held) unary(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if in.GetPayload() == nil {
		return &testpb.SimpleResponse{}, nil
	}
	h.begun <- struct{}{}
	<-h.release
	return &testpb.SimpleResponse{Payload: in.Payload}, nil
}

// toHold is the request that a held handler holds.
var toHold = &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("hold")}}

// goShutdown begins a shutdown and returns where its error arrives.
func (r *rig) goShutdown(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(ctx) }()
	return done
}

// goUnary makes a call and returns where its error arrives.
func goUnary(ctx context.Context, c testpb.TestServiceClient, in *testpb.SimpleRequest) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.UnaryCall(ctx, in)
		done <- err
	}()
	return done
}

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

// streams opens n streams that send once and then go on as the handler does.
func openStreams(t *testing.T, client testpb.TestServiceClient, n int) (streams []grpc.ServerStreamingClient[testpb.StreamingOutputCallResponse]) {
	t.Helper()
	for range n {
		s, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
		wantCode(t, err, codes.OK)
		_, err = s.Recv()
		wantCode(t, err, codes.OK)
		streams = append(streams, s)
	}
	return streams
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

func TestStopIsBoundedWithOnStopFunctions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHeld(t)
		deaf := make(chan struct{})
		defer close(deaf)
		r := newRig(t, ways[0], &funcs{unary: h.unary}, WithShutdownTimeout(10*time.Second),
			WithOnStop("deaf", func(context.Context) error { <-deaf; return nil }),
			WithOnStop("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }),
		)
		call := goUnary(t.Context(), r.client(), toHold)
		receives(t, "the call's beginning", h.begun)
		begun := time.Now()
		err := receives(t, "the stop", r.goShutdown(context.Background()))
		wantWithin(t, "the stop", begun, 9*time.Second, 10*time.Second+100*time.Millisecond)
		for _, want := range []string{"WithOnStop deaf", "WithOnStop slow", unaryMethod} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Wait's error does not name %s: %v", want, err)
			}
		}
		receives(t, "the call", call)
	})
}

func TestOnStopRunsInReverseAfterTheLastCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHeld(t)
		var order []string
		mark := func(name string) func(context.Context) error {
			return func(ctx context.Context) error {
				if _, ok := ctx.Deadline(); !ok {
					t.Errorf("%s: the context has no deadline", name)
				}
				order = append(order, name)
				return nil
			}
		}
		var callEnded atomic.Bool
		r := newRig(t, ways[0], &funcs{unary: h.unary}, WithOnStop("first", mark("first")), WithOnStop("second", mark("second")),
			WithOnStop("third", func(context.Context) error {
				order = append(order, "third")
				if !callEnded.Load() {
					t.Error("an on-stop function ran while a call was in flight")
				}
				return errors.New("no luck")
			}))
		call := goUnary(t.Context(), r.client(), toHold)
		receives(t, "the call's beginning", h.begun)
		stopped := r.goShutdown(context.Background())
		time.Sleep(time.Second)
		callEnded.Store(true)
		h.let()
		wantCode(t, receives(t, "the call", call), codes.OK)
		err := receives(t, "the stop", stopped)
		wantEqual(t, "order", strings.Join(order, " "), "third second first")
		if err == nil || !strings.Contains(err.Error(), "WithOnStop third: no luck") {
			t.Errorf("Wait: %v", err)
		}
	})
}

func TestSecondStopCutsAtOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		h := newHeld(t)
		r := newRig(t, w, &funcs{unary: h.unary}, WithDrainDelay(5*time.Second))
		call := goUnary(t.Context(), r.client(), toHold)
		receives(t, "the call's beginning", h.begun)
		begun := time.Now()
		first := r.goShutdown(context.Background())
		time.Sleep(time.Second)
		err := r.Shutdown(ended())
		wantWithin(t, "the stop", begun, time.Second, 1500*time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), unaryMethod) {
			t.Errorf("Wait: %v", err)
		}
		if other := receives(t, "the first Shutdown", first); !errors.Is(other, err) {
			t.Errorf("the first Shutdown returns %v, the second %v", other, err)
		}
		wantCode(t, receives(t, "the call", call), codes.Unavailable)
	})
}

// A cut bounds what comes after the calls, too.
func TestCutDoesNotWaitForOnStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{}, WithOnStop("slow", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		time.Sleep(time.Second)
		_ = r.Shutdown(ended())
		wantWithin(t, "the stop", begun, time.Second, 4*time.Second)
		receives(t, "the first Shutdown", stopped)
	})
}

func TestShutdownTwiceAndConcurrently(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var hooks atomic.Int32
		r := newRig(t, ways[0], &funcs{}, WithDrainDelay(time.Second), WithOnStop("count", func(context.Context) error {
			hooks.Add(1)
			return nil
		}))
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := r.Shutdown(context.Background()); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
		}
		all.Wait()
		if err := r.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown again: %v", err)
		}
		if err := r.Wait(); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantEqual(t, "on-stop calls", hooks.Load(), 1)
		r.log.one(t, "stopping")
	})
}

func TestContextEndIsAShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(context.Background())
		r := newRig(t, ways[0], &funcs{}, WithContext(ctx))
		cancel(errors.New("enough"))
		if err := r.Wait(); err != nil {
			t.Errorf("Wait: %v", err)
		}
		if reason := r.log.one(t, "stopping").text("reason"); !strings.Contains(reason, "enough") {
			t.Errorf("reason %q", reason)
		}
	})
}

func TestStopFromOnReady(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		got := make(chan error, 1)
		r := newRig(t, ways[0], &funcs{}, WithOnReady(func(s *Server) { got <- s.Shutdown(context.Background()) }))
		if err := receives(t, "Shutdown in WithOnReady", got); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := r.Wait(); err != nil {
			t.Errorf("Wait: %v", err)
		}
	})
}

// A stop does not wait for ever for a function that was told to run at the start.
func TestStopWhileOnReadyRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		running, release := make(chan struct{}), make(chan struct{})
		defer close(release)
		r := newRig(t, ways[0], &funcs{}, WithShutdownTimeout(10*time.Second), WithOnReady(func(*Server) {
			close(running)
			<-release
		}))
		receives(t, "WithOnReady", running)
		begun := time.Now()
		if err := receives(t, "the stop", r.goShutdown(context.Background())); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, 0, 10*time.Second)
		wantEqual(t, "what goes on", r.log.one(t, "still running after the stop").text("function"), "WithOnReady")
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

func TestGoOutlivesItsCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHeld(t)
		ended, begun := make(chan time.Time, 1), make(chan struct{})
		var mustNotEnd atomic.Bool
		mustNotEnd.Store(true)
		impl := &funcs{unary: func(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			if in.GetPayload() != nil {
				return h.unary(ctx, in)
			}
			Go(ctx, func(ctx context.Context) {
				close(begun)
				<-ctx.Done()
				if mustNotEnd.Load() {
					t.Error("the work's context ended before the last call")
				}
				time.Sleep(time.Second) // what it does to end
				ended <- time.Now()
			})
			return &testpb.SimpleResponse{}, nil
		}}
		var hook time.Time
		r := newRig(t, ways[0], impl, WithOnStop("after the work", func(context.Context) error { hook = time.Now(); return nil }))
		client := r.client()
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		receives(t, "the work", begun)
		call := goUnary(t.Context(), client, toHold)
		receives(t, "the call's beginning", h.begun)
		stopped := r.goShutdown(context.Background())
		time.Sleep(3 * time.Second)
		mustNotEnd.Store(false)
		h.let()
		wantCode(t, receives(t, "the call", call), codes.OK)
		if err := receives(t, "the stop", stopped); err != nil {
			t.Errorf("Wait: %v", err)
		}
		if at := receives(t, "the work's end", ended); hook.Before(at) {
			t.Errorf("on-stop ran at %v, the work ended at %v", hook, at)
		}
	})
}

func TestGoThatIgnoresItsContextIsNamed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		r := newRig(t, ways[0], &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			Go(ctx, func(context.Context) { <-release })
			return &testpb.SimpleResponse{}, nil
		}}, WithShutdownTimeout(10*time.Second))
		_, err := r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		begun := time.Now()
		err = receives(t, "the stop", r.goShutdown(context.Background()))
		wantWithin(t, "the stop", begun, time.Second, 10*time.Second+100*time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), "Go in "+unaryMethod) {
			t.Errorf("Wait's error does not name the work: %v", err)
		}
	})
}

func TestBrokenListenerIsReportedByWait(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		h := newHeld(t)
		r := newRig(t, w, &funcs{unary: h.unary})
		call := goUnary(t.Context(), r.client(), toHold)
		receives(t, "the call's beginning", h.begun)
		_ = r.lis.Close()
		receives(t, "the stop", r.stopping)
		h.let()
		wantCode(t, receives(t, "the call in flight", call), codes.OK)
		if err := r.Wait(); err == nil || !strings.Contains(err.Error(), "port: ") {
			t.Errorf("Wait: %v, want the listener's error", err)
		}
	})
}

func TestOrderOfAStop(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithDrainDelay(2*time.Second), WithOnStop("hook", func(context.Context) error { return nil }))
		if err := receives(t, "the stop", r.goShutdown(context.Background())); err != nil {
			t.Error(err)
		}
		want := "stopping, serving on until clients have noticed, draining, stopped"
		got := r.log.order("stopping", "serving on until clients have noticed", "draining", "stopped")
		wantEqual(t, "order", strings.Join(got, ", "), want)
	})
}

// callLoop calls without a pause, from so many callers, until it is ended.
type callLoop struct {
	ok, failed atomic.Int64
	quit       chan struct{}
	callers    sync.WaitGroup
}

func newCallLoop(callers int, client testpb.TestServiceClient) *callLoop {
	l := &callLoop{quit: make(chan struct{})}
	for range callers {
		l.callers.Go(func() {
			for {
				select {
				case <-l.quit:
					return
				default:
				}
				if _, err := client.UnaryCall(context.Background(), &testpb.SimpleRequest{}); err != nil {
					l.failed.Add(1)
					time.Sleep(time.Millisecond) // calls that fail at once let no time pass
				} else {
					l.ok.Add(1)
				}
			}
		})
	}
	return l
}

func (l *callLoop) end() {
	close(l.quit)
	l.callers.Wait()
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

func TestStopBeforeTheFirstCheck(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{}, WithCheck("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }),
			WithOnReady(func(*Server) { t.Error("WithOnReady ran") }))
		begun := time.Now()
		if err := receives(t, "the stop", r.goShutdown(context.Background())); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, 0, time.Second)
		select {
		case <-r.Ready():
			t.Error("the server was ready")
		default:
		}
	})
}

func TestShutdownBeforeStart(t *testing.T) {
	if err := NewServer(WithFlags(nil)).Shutdown(context.Background()); err == nil {
		t.Error("Shutdown of a server that was not started: no error")
	}
}

// A start that fails leaves nothing behind, not even the stream workers of a
// server that was made already: the bubble would not end.
func TestFailedStartLeavesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		bad := Bind(func(r grpc.ServiceRegistrar, impl any) {
			r.RegisterService(&grpc.ServiceDesc{ServiceName: "no.HandlerType"}, impl)
		}, any(struct{}{}), nil)
		_, err := Start([]Service{bad}, WithFlags(nil), WithRegistry("none"), WithListener(listenInMemory()))
		if err == nil || !strings.Contains(err.Error(), "no.HandlerType") || strings.Contains(err.Error(), "WithGRPC") {
			t.Errorf("Start: %v, want an error that names the service", err)
		}
	})
}

// goGet fetches a page and returns where the outcome arrives.
func (r *rig) goGet(path string) <-chan string {
	done := make(chan string, 1)
	go func() {
		code, body, err := r.fetch(path)
		if err != nil {
			body = "error: " + err.Error()
		}
		done <- fmt.Sprint(code, " ", body)
	}()
	return done
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

// Go recovers a panic also where there is no call: it would end the process.
func TestGoOutsideOfACallRecovers(t *testing.T) {
	const env = "TEST_GO_PANICS"
	if os.Getenv(env) != "" {
		done := make(chan struct{})
		Go(context.Background(), func(context.Context) {
			defer close(done)
			panic(secret)
		})
		<-done
		time.Sleep(100 * time.Millisecond) // a panic that is not recovered ends the process meanwhile
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestGoOutsideOfACallRecovers$") // #nosec G204 -- the test itself
	cmd.Env = append(os.Environ(), env+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: the process ended by the panic:\n%.300s", err, out)
	}
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
			wantEqual(t, "calls in flight", r.calls.n.Load(), 0)
			wantEqual(t, "connections", r.port.Conns().Open, 0)
		}
	})
}
