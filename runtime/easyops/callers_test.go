package easyops

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
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

func goUnaryErr(r *rig) error {
	_, err := r.client().UnaryCall(r.t.Context(), &testpb.SimpleRequest{})
	return err
}
