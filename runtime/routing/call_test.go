package routing

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-easyops/easyops/runtime/registry"
)

func stay(ctx context.Context, t *testing.T, c *Conn) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+service+"/Stay")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestContextOfStream: calls with the context of a stream go where its values say,
// not where the stream does; also over another Conn.
func TestContextOfStream(t *testing.T) {
	none, canary, hers := startServer(t, "plain"), startServer(t, "canary"), startServer(t, "hers")
	list := []registry.Instance{
		none.instance(registry.Ready), with(canary.instance(registry.Ready), "track", "canary"), owned(hers.instance(registry.Ready), "alice"),
	}
	c := dial(t, Config{Registry: newMemory(list...), Personal: true, User: userOf})
	other := dial(t, Config{Registry: newMemory(startServer(t, "other").instance(registry.Ready)), Personal: true, User: userOf})
	want(t, c, "plain")
	want(t, other, "other")
	onCanary := stay(WithTags(t.Context(), tags("track", "canary")), t, c).Context()
	always(onCanary, t, c, "canary")
	always(WithTags(onCanary, nil), t, c, "plain")
	always(WithTags(onCanary, nil), t, other, "other")
	asAlice := stay(as(t.Context(), "alice"), t, c).Context()
	always(asAlice, t, c, "hers")
	always(as(asAlice, ""), t, c, "plain")
	always(as(asAlice, ""), t, other, "other")
}

// TestRecordIsOfOneCall: what a stream was at is not what calls with its context
// were, and it stays as little however many these are.
func TestRecordIsOfOneCall(t *testing.T) {
	servers, list := startServers(t, 2, 0)
	c := dial(t, Config{Registry: newMemory(list...), Idempotent: []string{"Stay"}})
	for _, s := range servers {
		want(t, c, s.id)
	}
	ctx := stay(t.Context(), t, c).Context()
	before := callOf(ctx).tries.Load()
	var got [2]bool
	for range 50 {
		id, err := who(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		got[id[1]-'0'] = true
	}
	if !got[0] || !got[1] {
		t.Error("calls with its context go to one of two instances")
	}
	if after := callOf(ctx).tries.Load(); before != 1 || after != before {
		t.Errorf("the stream was at %d instances, and later at %d", before, after)
	}
	if c := c.stamp(ctx, "/"+service+"/Am", false, nil); callOf(c) == callOf(ctx) {
		t.Error("a call has the record of another")
	}
}

// TestCallTwiceAtOnce: an interceptor may send a call several times at once; see it
// with -race.
func TestCallTwiceAtOnce(t *testing.T) {
	servers, list := startServers(t, 3, 0)
	twice := func(ctx context.Context, method string, req, _ any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		var wg sync.WaitGroup
		for range 2 * attempts {
			wg.Go(func() {
				if err := invoker(ctx, method, req, &wrapperspb.StringValue{}, cc, opts...); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return nil
	}
	c := dial(t, Config{Registry: newMemory(list...), Idempotent: []string{"Am"}}, grpc.WithUnaryInterceptor(twice))
	for range 20 {
		if _, err := who(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	calls := int64(0)
	for _, s := range servers {
		calls += s.calls.Load()
	}
	if calls != 20*2*attempts {
		t.Errorf("%d calls", calls)
	}
}

// TestPlainCallsHaveNoRecord: once there is an instance, whether the balancer tells
// of it or, with the target of a resolver that is not ours, gRPC; and they have one
// again when it is gone.
func TestPlainCallsHaveNoRecord(t *testing.T) {
	s := startServer(t, "a")
	m := newMemory(s.instance(registry.Ready))
	const method = "/" + service + "/Am"
	for name, config := range map[string]Config{
		"registry": {Registry: m}, "target": {Target: s.addr}, "resolver of gRPC": {Target: "unix:" + listenUnix(t)},
	} {
		c := dial(t, config)
		if callOf(c.stamp(t.Context(), method, false, nil)) == nil {
			t.Errorf("%s: a call has no record before there is an instance", name)
		}
		if _, err := who(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		becomes(t, name+": plain calls have a record", func() bool { return c.stamp(t.Context(), method, false, nil) == t.Context() })
		if callOf(c.stamp(t.Context(), method, true, nil)) == nil {
			t.Errorf("%s: a stream has none", name)
		}
		if name != "registry" {
			continue
		}
		s.stop()
		becomes(t, "calls have no record although the instance is gone", func() bool { return callOf(c.stamp(t.Context(), method, false, nil)) != nil })
		s = startServerAt(t, "a", s.addr, 0)
		want(t, c, "a")
	}
}

// becomes waits for what comes, such as what a balancer tells just after a call began.
func becomes(t *testing.T, otherwise string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
	}
}

// listenUnix serves at a socket, and returns its path.
func listenUnix(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer("unix", path, 0)
	go func() { defer close(s.done); _ = s.grpc.Serve(lis) }()
	t.Cleanup(s.stop)
	return path
}

// TestOldBalancerEnds: what an old balancer says of its end is not said of the one
// in its place.
func TestOldBalancerEnds(t *testing.T) {
	r, old, now := newRoster(), &policy{}, &policy{}
	r.ready.Store(old)
	r.ready.Store(now)
	if r.notReady(old); r.ready.Load() != now {
		t.Error("calls wait although the new one has an instance")
	}
	if r.notReady(now); r.ready.Load() != nil || !r.balanced.Load() {
		t.Error("calls do not wait, or ask gRPC")
	}
}
