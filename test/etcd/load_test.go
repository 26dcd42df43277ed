package etcd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/registry"
)

// reads takes down which ranges etcd is asked for, or refuses them.
type reads struct {
	mu      sync.Mutex
	limits  []int64 // that were asked for
	refusal error
}

// under makes it see what is asked of etcd.
func (r *reads) under(cfg *embed.Config) {
	cfg.GRPCAdditionalServerOptions = append(cfg.GRPCAdditionalServerOptions, grpc.ChainUnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, do grpc.UnaryHandler) (any, error) {
			if q, ok := req.(*pb.RangeRequest); ok && strings.HasPrefix(string(q.Key), "easyops/") {
				if err := r.note(q.Limit); err != nil {
					return nil, err
				}
			}
			return do(ctx, req)
		}))
}

func (r *reads) note(limit int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits = append(r.limits, limit)
	return r.refusal
}

func (r *reads) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusal = err
}

// take returns the limits since it was last called.
func (r *reads) take() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	limits := r.limits
	r.limits = nil
	return limits
}

// TestQuietServiceResumes compacts what was before a watch broke, of a service
// that nothing happens to.
func TestQuietServiceResumes(t *testing.T) {
	t.Cleanup(func() { v3rpc.SetProgressReportInterval(10 * time.Minute) }) // it is the process's
	for _, tt := range []struct {
		name     string
		interval time.Duration
		wait     time.Duration
		lists    int // after the break
	}{
		{"etcd says how far it is", 100 * time.Millisecond, 500 * time.Millisecond, 0},
		{"etcd does not, the control", time.Hour, 2500 * time.Millisecond, 1}, // past a sign of life that is asked for
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r reads
			c := startEtcd(t, 1, r.under, func(cfg *embed.Config) { cfg.WatchProgressNotifyInterval = tt.interval })
			cl := client(t, c.Endpoints())
			proxy := newProxy(t, c)
			w := watch(t, open(t, "etcd://"+proxy.Addr()), "echo")
			w.waitFor("[]", 5*time.Second)
			var last *clientv3.PutResponse
			for range 10 {
				last = change(t, cl, "other")
			}
			time.Sleep(tt.wait)
			if _, err := cl.Compact(t.Context(), last.Header.Revision); err != nil {
				t.Fatal(err)
			}
			change(t, cl, "other")
			r.take()
			proxy.Drop()
			time.Sleep(2 * time.Second) // of which it takes 0.3 to come back, and 1 to list
			if lists := r.take(); len(lists) != tt.lists {
				t.Errorf("listed %d times, want %d", len(lists), tt.lists)
			}
			put(t, cl, "easyops/echo/x", `{"Addr":"10.0.0.1:1"}`)
			w.waitFor("[x=READY]", time.Second)
			if got := w.history(); len(got) != 2+tt.lists {
				t.Errorf("said %q", got)
			}
		})
	}
}

func change(t *testing.T, c *clientv3.Client, key string) *clientv3.PutResponse {
	t.Helper()
	resp, err := c.Put(t.Context(), key, "x")
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestOverloaded has etcd say that it has too much to do, with the code that
// answers which are too large have too.
func TestOverloaded(t *testing.T) {
	t.Parallel()
	var r reads
	c := startEtcd(t, 1, r.under)
	r.refuse(rpctypes.ErrGRPCRequestTooManyRequests)
	began := time.Now()
	w := watch(t, open(t, c.URL()), "echo")
	w.waitFor("error", 2*time.Second)
	if err := w.lastErr(); !strings.Contains(err.Error(), "too many requests") {
		t.Errorf("said %v", err)
	}
	time.Sleep(time.Second)
	limits, most := r.take(), 4+int(time.Since(began)/time.Second)*2
	if len(limits) > most || slices.ContainsFunc(limits, func(n int64) bool { return n != 1000 }) {
		t.Errorf("asked for pages of %d within %v, want at most %d, of 1000", limits, time.Since(began), most)
	}
	r.refuse(nil)
	w.waitFor("[]", 5*time.Second)
}

// TestHugeValues has some of the values not fit into an answer together.
func TestHugeValues(t *testing.T) {
	t.Parallel()
	var r reads
	c := startEtcd(t, 1, r.under)
	cl := client(t, c.Endpoints())
	for n := range 18 {
		put(t, cl, fmt.Sprintf("easyops/echo/a%02d", n), strings.Repeat("x", 1<<20))
	}
	const small = 3000
	putMany(t, cl, "easyops/echo/i%04d", small)
	w := watch(t, open(t, c.URL()), "echo")
	w.waitUntil("all of them", 10*time.Second, func(string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.list) == small
	})
	limits := r.take()
	if len(limits) > 25 || limits[len(limits)-1] != 1000 {
		t.Errorf("%d questions, for %d: want less, and full pages again", len(limits), limits)
	}
}

func putMany(t *testing.T, c *clientv3.Client, format string, n int) {
	t.Helper()
	var ops []clientv3.Op
	for i := range n {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf(format, i), `{"Addr":"10.0.0.1:1"}`))
	}
	for part := range slices.Chunk(ops, 100) {
		if _, err := c.Txn(t.Context()).Then(part...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServices asks which services there are, in few questions.
func TestServices(t *testing.T) {
	t.Parallel()
	var r reads
	c := startEtcd(t, 1, r.under)
	cl := client(t, c.Endpoints())
	reg := open(t, c.URL())
	lister := reg.(registry.Lister)
	if names, err := lister.Services(t.Context()); err != nil || len(names) != 0 {
		t.Fatalf("of none: %q, %v", names, err)
	}
	putMany(t, cl, "easyops/few%03d/x", 100)
	r.take()
	names, err := lister.Services(t.Context())
	if asked := r.take(); err != nil || len(names) != 100 || len(asked) != 1 {
		t.Errorf("%d names after %d questions, %v", len(names), len(asked), err)
	}
	putMany(t, cl, "easyops/large/i%04d", 2500)
	put(t, cl, "easyops/largest/x", `{"Addr":"10.0.0.1:1"}`)
	names, err = lister.Services(t.Context())
	if asked := r.take(); err != nil || len(names) != 102 || names[0] != "few000" || names[101] != "largest" || len(asked) != 2 {
		t.Errorf("%d names after %d questions, %v", len(names), len(asked), err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lister.Services(ctx); err == nil {
		t.Error("it outlives its context")
	}
}
