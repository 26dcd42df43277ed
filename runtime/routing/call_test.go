package routing

import (
	"context"
	"sync"
	"testing"

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
