package routing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/go-easyops/easyops/runtime/registry"
)

// slack is what a busy machine may add to a wait.
const slack = 2 * time.Second

func TestNobodyThere(t *testing.T) {
	dead := startServer(t, "dead")
	dead.stop()
	for name, tt := range map[string]struct {
		registry *memory
		texts    []string
	}{
		"no instance":    {newMemory(), []string{"lists no instance"}},
		"not ready":      {newMemory(dead.instance(registry.NotReady), dead.instance(registry.Starting)), []string{"lists 2, 1 NOT_READY, 1 STARTING"}},
		"unreachable":    {newMemory(dead.instance(registry.Ready)), []string{"lists 1, 1 READY", "last error", dead.addr, "refused"}},
		"registry fails": {&memory{err: errors.New("it is down"), changed: make(chan struct{})}, []string{"cannot be asked: it is down"}},
		"other protocol": {newMemory(registry.Instance{ID: "x", Addr: dead.addr, Kinds: []registry.Kind{registry.KindHTTP}, Health: registry.Ready}), []string{"lists 1, 1 READY"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const maxWait = 400 * time.Millisecond
			texts := append(tt.texts, service, "registry of the test")
			c := dialTo(t, tt.registry, maxWait)

			start := time.Now()
			_, err := who(t.Context(), c)
			wantStatus(t, err, codes.Unavailable, append(texts, "waited 400ms")...)
			if d := time.Since(start); d < maxWait || d > maxWait+slack {
				t.Errorf("the call failed after %v, want %v", d, maxWait)
			}

			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err = who(ctx, c)
			wantStatus(t, err, codes.DeadlineExceeded, texts...)

			stream, err := c.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/"+service+"/Stay")
			if err == nil {
				err = stream.RecvMsg(&emptypb.Empty{})
			}
			wantStatus(t, err, codes.Unavailable, texts...)

			if c.State() == connectivity.TransientFailure { // else it is connecting, which takes no time
				_, err = who(t.Context(), c, grpc.WaitForReady(false))
				wantStatus(t, err, codes.Unavailable, texts...)
				if strings.Contains(err.Error(), "waited") {
					t.Errorf("a call that does not wait did: %v", err)
				}
			}
		})
	}
}

func TestSilentRegistry(t *testing.T) {
	m := newMemory()
	m.silent = true
	c := dialTo(t, m, answerTime+200*time.Millisecond)
	_, err := who(t.Context(), c)
	wantStatus(t, err, codes.Unavailable, "cannot be asked: no answer yet", service)
	s := startServer(t, "a")
	m.say(nil, s.instance(registry.Ready))
	want(t, c, "a")
}

// Each call waits from its own start, not from the first one's.
func TestEachCallWaitsItsTime(t *testing.T) {
	const maxWait = 500 * time.Millisecond
	c := dialTo(t, newMemory(), maxWait)
	var wg sync.WaitGroup
	for n := range 5 {
		wg.Go(func() {
			time.Sleep(time.Duration(n) * maxWait / 4)
			start := time.Now()
			_, err := who(t.Context(), c)
			d := time.Since(start)
			if d < maxWait || d > maxWait+slack {
				t.Errorf("call %d failed after %v (%v)", n, d, err)
			}
		})
	}
	wg.Wait()
}

// A call that found the connection ready, just before it was not, waits too.
func TestUnstampedCall(t *testing.T) {
	c := dialTo(t, newMemory(), 300*time.Millisecond)
	err := c.cc.Invoke(t.Context(), "/"+service+"/Am", &emptypb.Empty{}, &emptypb.Empty{})
	wantStatus(t, err, codes.Unavailable, "waited 300ms")
}

func TestInstanceAppears(t *testing.T) {
	m := newMemory()
	c := dialTo(t, m, 0)
	const waiting = 200
	errs := make(chan error, waiting)
	for range waiting {
		go func() {
			_, err := who(t.Context(), c)
			errs <- err
		}()
	}
	for m.watches.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-errs:
		t.Fatalf("a call ended without an instance: %v", err)
	case <-time.After(3 * lookInterval):
	}
	m.say(nil, startServer(t, "a").instance(registry.Ready))
	for range waiting {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// Calls do not fail because the first connection is still being made, also
// those that do not wait for instances that fail.
func TestFirstCallDoesNotWaitForReady(t *testing.T) {
	for range 20 {
		c := dialTo(t, newMemory(startServer(t, "a").instance(registry.Ready)), 0,
			grpc.WithDefaultCallOptions(grpc.WaitForReady(false)))
		if _, err := who(t.Context(), c, grpc.WaitForReady(false)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

func TestReadyCallsCostNothing(t *testing.T) {
	c := dialTo(t, newMemory(startServer(t, "a").instance(registry.Ready)), 0)
	want(t, c, "a")
	ctx, opts := t.Context(), []grpc.CallOption{grpc.WaitForReady(true)}
	if n := testing.AllocsPerRun(100, func() { c.stamp(ctx, "/"+service+"/Am", false, opts) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestReasonIsMadeOnce: of thousands of calls that wait each looks again and again.
func TestReasonIsMadeOnce(t *testing.T) {
	p := newPolicy(&told{}, balancer.BuildOptions{}).(*policy)
	defer p.Close()
	p.index = &index{listed: map[class]bool{tagged(tags("v", "x")): true}}
	k := p.pickerLocked()
	config := &policyConfig{Service: service, Source: "a list", MaxWait: time.Hour}
	for name, c := range map[string]*call{
		"plain":      {config: config},
		"not listed": {config: config, tags: tagged(tags("v", "y"))},
		"not yet":    {config: config, tags: tagged(tags("v", "x"))},
	} {
		c.Context, c.start = t.Context(), time.Now()
		info := balancer.PickInfo{Ctx: c}
		_, err := k.Pick(info)
		if err == nil || !strings.Contains(err.Error(), service+" ") && !strings.Contains(err.Error(), service+" with") {
			t.Errorf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = k.Pick(info) }); n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for n := range 2 * maxAsked { // whatever is asked for
		_, _ = k.Pick(balancer.PickInfo{Ctx: &call{Context: t.Context(), start: time.Now(), config: config, tags: tagged(tags("v", fmt.Sprint(n)))}})
	}
	if len(k.away) > maxAsked {
		t.Errorf("%d reasons are kept", len(k.away))
	}
}
