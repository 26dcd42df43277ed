package cluster

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd"
	"github.com/go-easyops/easyops/test/etcdserver"
)

const (
	service = "echo.v1.EchoService"
	prefix  = "easyops/"

	leaseTime = 10 * time.Second
	// patience is how long anything may take that should take milliseconds.
	patience = 20 * time.Second
)

// cluster is an etcd, with etcd's own client looking at it.
type cluster struct {
	*etcdserver.Cluster
	client *clientv3.Client
}

func startEtcd(t *testing.T, members int) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "easyops-etcd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	server, err := etcdserver.Start(dir, members)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return &cluster{server, newClient(t, server)}
}

// anew returns the cluster with a new client: one of before an outage waits for
// a while before it connects again.
func (c *cluster) anew(t *testing.T) *cluster {
	t.Helper()
	return &cluster{c.Cluster, newClient(t, c.Cluster)}
}

func newClient(t *testing.T, server *etcdserver.Cluster) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: server.Endpoints(), Logger: zap.NewNop(), DialTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func (c *cluster) flag() string { return "-easyops.registry=" + c.URL() }

func (c *cluster) dial() easyops.DialOption { return easyops.WithRegistry(c.URL()) }

// entry is a value of etcd's naming, as far as the tests look at it.
type entry struct {
	Op       int
	Addr     string
	Metadata struct {
		Health string `json:"health"`
	}
}

// ready are the addresses of echo that say so of themselves; nil where etcd does
// not answer.
func (c *cluster) ready(t *testing.T) []string { return c.readyOf(t, service) }

func (c *cluster) readyOf(t *testing.T, service string) (addrs []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	resp, err := c.client.Get(ctx, prefix+service+"/", clientv3.WithPrefix())
	if err != nil {
		return nil
	}
	for _, kv := range resp.Kvs {
		var e entry
		if err := json.Unmarshal(kv.Value, &e); err != nil {
			t.Errorf("%s: %v", kv.Key, err)
		}
		if e.Metadata.Health == "READY" {
			addrs = append(addrs, e.Addr)
		}
	}
	return addrs
}

// awaitReady waits until echo is listed and ready at all of the addresses.
func (c *cluster) awaitReady(t *testing.T, within time.Duration, addrs ...string) {
	t.Helper()
	eventually(t, within, "ready in etcd: "+strings.Join(addrs, " "), func() bool {
		return contains(c.ready(t), addrs...)
	})
}

// put lists an instance of echo by hand, without a lease.
func (c *cluster) put(t *testing.T, id, addr string) {
	t.Helper()
	value := `{"Op":0,"Addr":"` + addr + `","Metadata":{"v":1,"id":"` + id + `","kinds":["grpc"],"health":"READY","started":"2026-01-02T03:04:05Z"}}`
	if _, err := c.client.Put(t.Context(), prefix+service+"/"+id, value); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) remove(t *testing.T, id string) {
	t.Helper()
	if _, err := c.client.Delete(t.Context(), prefix+service+"/"+id); err != nil {
		t.Fatal(err)
	}
}

// event is a change of a key.
type event struct {
	at   time.Time
	addr string
	gone bool
}

// history is all that happens to the keys of echo.
type history struct {
	mu     sync.Mutex
	addrs  map[string]string // of each key
	events []event
}

// record takes down what happens from now on.
func (c *cluster) record(t *testing.T) *history {
	t.Helper()
	h := &history{addrs: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	changes := c.client.Watch(clientv3.WithRequireLeader(ctx), prefix+service+"/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	<-changes // it has begun
	done := make(chan struct{})
	go func() {
		defer close(done)
		for change := range changes {
			h.note(change.Events)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

func (h *history) note(events []*clientv3.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		kv, gone := e.Kv, e.Type == clientv3.EventTypeDelete
		if gone {
			kv = e.PrevKv
		}
		var value entry
		if kv != nil {
			_ = json.Unmarshal(kv.Value, &value) // ready says what is no JSON
		}
		h.events = append(h.events, event{time.Now(), value.Addr, gone})
	}
}

// gone returns when the key of an address was deleted, and how often.
func (h *history) gone(addr string) (last time.Time, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.gone && e.addr == addr {
			last, n = e.at, n+1
		}
	}
	return last, n
}

// awaitGone waits until the key of an address is deleted, and returns when it
// was.
func (h *history) awaitGone(t *testing.T, within time.Duration, addr string) time.Time {
	t.Helper()
	eventually(t, within, "no key of "+addr, func() bool {
		_, n := h.gone(addr)
		return n > 0
	})
	at, _ := h.gone(addr)
	return at
}

func dialEcho(t *testing.T, opts ...easyops.DialOption) echov1.EchoServiceClient {
	t.Helper()
	client, conn, err := echov1.DialEchoService(append(opts, apart(t))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client
}

// apart are clients without the settings of the machine.
func apart(t *testing.T) easyops.Option {
	return easyops.WithOptions(easyops.WithFlags(nil), easyops.WithLogger(slog.New(slog.NewTextHandler(t.Output(), nil))))
}

func contains(all []string, wanted ...string) bool {
	has := map[string]bool{}
	for _, a := range all {
		has[a] = true
	}
	for _, w := range wanted {
		if !has[w] {
			return false
		}
	}
	return true
}

// eventually waits until something is so.
func eventually(t *testing.T, within time.Duration, what string, so func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		if so() {
			return time.Since(began)
		}
		if time.Since(began) > within {
			t.Fatalf("after %v there is not: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
