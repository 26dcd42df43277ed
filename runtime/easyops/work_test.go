package easyops

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

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
