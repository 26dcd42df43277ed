package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// watched is a server that counts what it is asked for, and does not always do it.
type watched struct {
	echo
	calls, failed, tokens, opened, ended atomic.Int64
	failing, hanging                     atomic.Bool
	presented                            sync.Map // tokens
}

func (w *watched) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	for _, token := range metadata.ValueFromIncomingContext(ctx, "authorization") {
		w.tokens.Add(1)
		w.presented.Store(token, true)
	}
	if w.hanging.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if n := w.calls.Add(1); w.failing.Load() && n%2 == 0 {
		w.failed.Add(1)
		return nil, status.Error(codes.ResourceExhausted, "shed\nby a test")
	}
	return w.echo.Echo(ctx, req)
}

func (w *watched) Chat(s grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
	w.opened.Add(1)
	err := w.echo.Chat(s)
	if err == nil {
		w.ended.Add(1)
	}
	return err
}

func watch(t *testing.T) (w *watched, addr string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &watched{}
	s := grpc.NewServer()
	echov1.RegisterEchoServiceServer(s, w)
	done := make(chan error, 1)
	go func() { done <- s.Serve(lis) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return w, lis.Addr().String()
}

func someCallers(t *testing.T, tokens ...string) *callers {
	t.Helper()
	c, err := newCallers("", "", append(tokens, "t")...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.endLast()
		for _, conns := range c.conns {
			for _, conn := range conns {
				_ = conn.Close()
			}
		}
	})
	return c
}

func do(t *testing.T, c *callers, j job) outcome {
	t.Helper()
	o, err := c.do(j)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Each caller has a stream for as long as it calls the same.
func TestStreamsLive(t *testing.T) {
	w, addr := watch(t)
	c := someCallers(t)
	chat := job{workload: workload{pingPong, 20}, Addr: addr, Duration: time.Millisecond}
	for range 3 {
		if o := do(t, c, chat); o.Err != "" || o.Calls < 20 {
			t.Errorf("%+v", o)
		}
	}
	if got := w.opened.Load(); got != 20 || w.ended.Load() != 0 {
		t.Errorf("%d streams were opened, %d have ended, want 20 and none", got, w.ended.Load())
	}
	do(t, c, job{workload: workload{unary, 1}, Addr: addr})
	if got := w.ended.Load(); got != 20 {
		t.Errorf("%d streams have ended, want 20", got)
	}
	do(t, c, chat)
	if got := w.opened.Load(); got != 40 {
		t.Errorf("%d streams were opened, want 40", got)
	}
}

// All kinds are answered, and measured.
func TestKinds(t *testing.T) {
	_, addr := watch(t)
	c := someCallers(t)
	for _, k := range []kind{unary, unaryLarge, serverStream, pingPong} {
		o := do(t, c, job{workload: workload{k, 3}, Addr: addr, Duration: 5 * time.Millisecond})
		if o.Err != "" || o.Calls < 3 || o.P50 <= 0 || o.P99 < o.P50 || o.P999 < o.P99 || o.Elapsed < 5*time.Millisecond {
			t.Errorf("%s: %+v", k, o)
		}
	}
}

// Errors are counted, and end a job that does not tolerate them.
func TestFaultsAreCounted(t *testing.T) {
	w, addr := watch(t)
	c := someCallers(t)
	w.failing.Store(true)
	j := job{workload: workload{unary, 4}, Addr: addr, Duration: 20 * time.Millisecond, Tolerant: true}
	o := do(t, c, j)
	if failed := int(w.failed.Load()); o.Errors != failed || failed < 4 || o.Calls+o.Errors != int(w.calls.Load()) || !strings.HasSuffix(o.Err, "shed") {
		t.Errorf("%+v, of %d calls %d failed", o, w.calls.Load(), failed)
	}
	j.Tolerant, j.Duration = false, time.Hour
	if o := do(t, c, j); o.Errors != 4 {
		t.Errorf("callers that do not tolerate errors have %d, want one each", o.Errors)
	}
}

// Who gets no answer is waited for, and then no more.
func TestPatience(t *testing.T) {
	w, addr := watch(t)
	c := someCallers(t)
	c.patience = 10 * time.Millisecond
	w.hanging.Store(true)
	j := job{workload: workload{unary, 2}, Addr: addr, Duration: time.Millisecond, Tolerant: true}
	if o := do(t, c, j); o.Calls != 0 || o.Errors != 2 || !strings.Contains(o.Err, "canceled") {
		t.Errorf("%+v", o)
	}
	w.hanging.Store(false)
	c.patience = time.Minute
	if o := do(t, c, j); o.Calls < 2 || o.Err != "" {
		t.Errorf("after that: %+v", o)
	}
}

// Only who is told to presents what there is.
func TestPresenting(t *testing.T) {
	w, addr := watch(t)
	c := someCallers(t)
	j := job{workload: workload{unary, 1}, Addr: addr}
	do(t, c, j)
	if got := w.tokens.Load(); got != 0 {
		t.Errorf("%d calls had a token", got)
	}
	j.Presenting = true
	do(t, c, j)
	if got := w.tokens.Load(); got != 1 {
		t.Errorf("%d calls had a token, want 1", got)
	}
	if _, err := newCallers("no such file", ""); err == nil {
		t.Error("a file that is not there is taken")
	}
}

// Each call has the next of many tokens, and callers begin in different places.
func TestManyTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("a\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := tokensOf("other", file)
	if err != nil || !slices.Equal(list, []string{"a", "b", "c"}) {
		t.Fatalf("tokens are %q, %v", list, err)
	}
	w, addr := watch(t)
	c := someCallers(t, list...) // and t
	for _, n := range []int{1, 4} {
		w.presented.Clear()
		j := job{workload: workload{unary, n}, Addr: addr, Presenting: true}
		for range 4 / n {
			do(t, c, j)
		}
		seen := 0
		w.presented.Range(func(any, any) bool { seen++; return true })
		if seen != 4 {
			t.Errorf("%d callers have presented %d tokens in 4 calls", n, seen)
		}
	}
	if list, err := tokensOf("one", ""); err != nil || !slices.Equal(list, []string{"one"}) {
		t.Errorf("one token is %q, %v", list, err)
	}
	if list, err := tokensOf("", ""); err != nil || len(list) != 0 {
		t.Errorf("no token is %q, %v", list, err)
	}
	if _, err := tokensOf("", file+"x"); err == nil {
		t.Error("a file that is not there is taken")
	}
}

// The p99.9 is of all jobs that were measured, and of no other.
func TestTailOfJobs(t *testing.T) {
	c := someCallers(t)
	j := job{workload: workload{unary, 1}, Addr: "a", Measured: true}
	if got := c.tailOf(j, [][]time.Duration{{9}}); got != 9 {
		t.Errorf("of one call it is %d", got)
	}
	if got := c.tailOf(j, [][]time.Duration{{3}, {1, 2}}); got != 9 {
		t.Errorf("with the job before it is %d, want 9", got)
	}
	j.Addr = "b"
	if got := c.tailOf(j, [][]time.Duration{{3}}); got != 3 {
		t.Errorf("of another server it is %d, want 3", got)
	}
	_, addr := watch(t)
	do(t, c, job{workload: workload{unary, 1}, Addr: addr})
	if n := len(c.tails); n != 2 {
		t.Errorf("calls that were not measured are kept: there are %d", n)
	}
}

// callUntil calls once at least, and appends to what it is given.
func TestCallUntil(t *testing.T) {
	took, f := callUntil(time.Now().Add(-time.Hour), func() error { return nil }, make([]time.Duration, 0, 4), false)
	if len(took) != 1 || f.n != 0 {
		t.Errorf("%v, %+v", took, f)
	}
	took, f = callUntil(time.Now().Add(-time.Hour), func() error { return errors.New("no") }, nil, true)
	if len(took) != 0 || f.n != 1 || f.first == nil {
		t.Errorf("%v, %+v", took, f)
	}
}
