// Package etcd tests the registry in etcd against real etcd, in this process.
package etcd

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/go-easyops/easyops/runtime/registry"
	etcdreg "github.com/go-easyops/easyops/runtime/registry/etcd"
	"github.com/go-easyops/easyops/test/etcdserver"
)

// leaseTime is that of the registry, by its contract.
const leaseTime = 10 * time.Second

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		child(url)
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "16") // they wait more than they work
	goleak.VerifyTestMain(m, etcdserver.Leftovers()...)
}

func startEtcd(t *testing.T, members int, change ...func(*embed.Config)) *etcdserver.Cluster {
	t.Helper()
	c, err := etcdserver.Start(t.TempDir(), members, change...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// client returns etcd's own client, which is what people and other programs
// use.
func client(t *testing.T, endpoints []string, change ...func(*clientv3.Config)) *clientv3.Client {
	t.Helper()
	cfg := clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	for _, f := range change {
		f(&cfg)
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func open(t *testing.T, url string) registry.Registry {
	t.Helper()
	r, err := registry.Open(url, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// logger writes to the test's log, for what fails.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

var _ registry.Registry = (*etcdreg.Registry)(nil)

func entries(id string, h registry.Health, services ...string) (list []registry.Instance) {
	for _, s := range services {
		list = append(list, registry.Instance{
			ID: id, Service: s, Addr: "127.0.0.1:4100", Kinds: []registry.Kind{registry.KindGRPC, registry.KindStatus},
			Health: h, Version: "v1.2.3", Tags: map[string]string{"zone": "a"}, Started: time.Unix(1_800_000_000, 0).UTC(),
		})
	}
	return list
}

func register(t *testing.T, r registry.Registry, list []registry.Instance) registry.Lease {
	t.Helper()
	l, err := r.Register(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.Close(ctx)
	})
	return l
}

// publish keeps a server's entries listed until the test ends, as a server
// does.
func publish(t *testing.T, r registry.Registry, list []registry.Instance) *registry.Publisher {
	t.Helper()
	p := registry.NewPublisher(r, logger(t))
	p.Set(list)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

// watched collects what a watch says: the sorted IDs and healths, or "error".
type watched struct {
	t    *testing.T
	mu   sync.Mutex
	all  []string
	list []registry.Instance
	errs []error
	news chan struct{}
}

func watch(t *testing.T, r registry.Registry, service string) *watched {
	t.Helper()
	w := &watched{t: t, news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Watch(ctx, service, w.update)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watched) update(list []registry.Instance, err error) {
	text := "error"
	if err == nil {
		var parts []string
		for _, i := range list {
			parts = append(parts, i.ID+"="+string(i.Health))
		}
		text = "[" + strings.Join(parts, " ") + "]"
	}
	w.mu.Lock()
	w.all = append(w.all, text)
	if err != nil {
		w.errs = append(w.errs, err)
	} else {
		w.list = list
	}
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *watched) history() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

func (w *watched) last() string {
	all := w.history()
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

func (w *watched) lastErr() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errs) == 0 {
		return nil
	}
	return w.errs[len(w.errs)-1]
}

// waitFor waits until the watch says something, and returns how long it took.
func (w *watched) waitFor(want string, most time.Duration) time.Duration {
	w.t.Helper()
	return w.waitUntil(want, most, func(last string) bool { return last == want })
}

func (w *watched) waitUntil(what string, most time.Duration, fits func(last string) bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	deadline := time.After(most)
	for !fits(w.last()) {
		select {
		case <-w.news:
		case <-deadline:
			w.t.Fatalf("the watch did not say %s within %v, but %q", what, most, w.history())
		}
	}
	return time.Since(began)
}

// await waits until something is so, and returns how long it took.
func await(t *testing.T, what string, most time.Duration, so func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !so() {
		if time.Since(began) > most {
			t.Fatalf("not within %v: %s", most, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

// keys returns all keys and values under a prefix.
func keys(t *testing.T, c *clientv3.Client, prefix string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	resp, err := c.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil
	}
	m := map[string]string{}
	for _, kv := range resp.Kvs {
		m[string(kv.Key)] = string(kv.Value)
	}
	return m
}

func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}
