package easyops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

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

// The order of a stop as others see it: our state, gRPC health, the registry,
// then no more calls, then the functions of the program's.
func TestOrderOfAStopAsSeen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
		l, opt := newLedger(t)
		var r *rig
		l.note = func(what string) {
			switch what {
			case "STOPPING":
				note(fmt.Sprintf("registry %s with state %s and health %v", what, r.stateNow(), r.serving("")))
			case "gone":
				_, err := r.lis.Dial()
				note(fmt.Sprintf("registry gone, listener closed %v", err != nil))
			}
		}
		r = newRig(t, ways[0], &funcs{down: func(_ *testpb.StreamingOutputCallRequest, s down) error {
			_ = s.Send(&testpb.StreamingOutputCallResponse{})
			<-Draining(s.Context())
			note("stream told")
			return nil
		}}, opt, WithDrainDelay(3*time.Second),
			WithOnStop("first", func(context.Context) error { note("hook first"); return nil }),
			WithOnStop("second", func(context.Context) error { note("hook second"); return nil }))
		receives(t, "Ready", r.Ready())
		synctest.Wait()
		openStreams(t, r.client(), 1)
		stopped := r.goShutdown(context.Background())
		time.Sleep(time.Second)
		note("still serving: " + fmt.Sprint(goUnaryErr(r)))
		if err := receives(t, "the stop", stopped); err != nil {
			t.Error(err)
		}
		want := []string{
			"registry STOPPING with state STOPPING and health NOT_SERVING",
			"still serving: <nil>", "stream told", "registry gone, listener closed true", "hook second", "hook first",
		}
		if !slices.Equal(order, want) {
			t.Errorf("order:\n%s\nwant:\n%s", strings.Join(order, "\n"), strings.Join(want, "\n"))
		}
	})
}

// A registry that does not answer costs a stop one second, not more.
func TestStopWhileTheRegistryHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l, opt := newLedger(t)
		r := newRig(t, ways[0], &funcs{}, opt, WithShutdownTimeout(10*time.Second))
		receives(t, "Ready", r.Ready())
		synctest.Wait()
		l.hang.Store(true)
		begun := time.Now()
		stopped := r.goShutdown(context.Background())
		time.Sleep(listStopping + 100*time.Millisecond)
		wantEqual(t, "draining", len(r.log.lines("draining")), 1)
		if err := receives(t, "the stop", stopped); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, listStopping, 10*time.Second)
	})
}

// A server whose registry never answered stops as fast as any.
func TestStopBeforeItWasRegistered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l, opt := newLedger(t)
		l.hang.Store(true)
		r := newRig(t, ways[0], &funcs{}, opt)
		receives(t, "Ready", r.Ready())
		_, err := r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		begun := time.Now()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, 0, 2*time.Second)
		wantEqual(t, "registry", l.past(), "")
	})
}

// Without any time everything is cut at once.
func TestShutdownTimeoutOfZero(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		h := newHeld(t)
		r := newRig(t, w, &funcs{unary: h.unary}, WithShutdownTimeout(0), WithDrainDelay(time.Second))
		call := goUnary(t.Context(), r.client(), toHold)
		receives(t, "the call's beginning", h.begun)
		begun := time.Now()
		err := receives(t, "the stop", r.goShutdown(context.Background()))
		wantWithin(t, "the stop", begun, 0, 300*time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), unaryMethod) {
			t.Errorf("Wait: %v", err)
		}
		wantCode(t, receives(t, "the call", call), codes.Unavailable)
	})
}
