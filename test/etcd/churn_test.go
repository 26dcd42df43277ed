package etcd

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-easyops/easyops/runtime/registry"
)

// TestManyChanges makes 1,000 changes as fast as it can.
func TestManyChanges(t *testing.T) {
	c := startEtcd(t, 1)
	cl := client(t, c.Endpoints())
	w := watch(t, open(t, c.URL()), "echo")
	w.waitFor("[]", 5*time.Second)
	time.Sleep(250 * time.Millisecond) // then one change is told at once
	began := time.Now()
	put(t, cl, "easyops/echo/x", `{"Addr":"10.0.0.1:1"}`)
	if took := w.waitFor("[x=READY]", time.Second); took > 100*time.Millisecond {
		t.Errorf("one change was told after %v", took)
	}
	for n := range 1000 {
		put(t, cl, fmt.Sprintf("easyops/echo/i%d", n%50), fmt.Sprintf(`{"Addr":"10.0.0.1:%d"}`, n+1))
	}
	took := time.Since(began)
	w.waitUntil("the last change", 5*time.Second, func(string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.list) == 51 && w.list[49].Addr != "" && strings.Contains(fmt.Sprint(w.list), "10.0.0.1:1000")
	})
	told, most := len(w.history())-1, int(time.Since(began)/(200*time.Millisecond))+2
	t.Logf("1,000 changes in %v were told in %d lists", took, told)
	if told > most {
		t.Errorf("told %d lists, want at most %d", told, most)
	}
}

// TestCompaction compacts all the time.
func TestCompaction(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	cl := client(t, c.Endpoints())
	r := open(t, c.URL())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if resp, err := cl.Put(ctx, "other", "x"); err == nil {
				_, _ = cl.Compact(ctx, resp.Header.Revision)
			}
		}
	}()
	defer func() { cancel(); <-done }()

	w := watch(t, r, "echo")
	w.waitFor("[]", 5*time.Second)
	for n := range 5 {
		id := fmt.Sprint("i", n)
		l := register(t, r, entries(id, registry.Ready, "echo"))
		w.waitFor("["+id+"=READY]", 5*time.Second)
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.waitFor("[]", 5*time.Second)
	}
	for _, said := range w.history() {
		if said == "error" {
			t.Errorf("said %q: %v", w.history(), w.lastErr())
		}
	}
}

// TestCompactedWhileAway has a watch come back to revisions that are gone.
func TestCompactedWhileAway(t *testing.T) {
	c := startEtcd(t, 1)
	cl := client(t, c.Endpoints())
	proxy := newProxy(t, c)
	w := watch(t, open(t, "etcd://"+proxy.Addr()), "echo")
	put(t, cl, "easyops/echo/a", `{"Addr":"10.0.0.1:1"}`)
	w.waitFor("[a=READY]", 5*time.Second)
	proxy.Hang(true)
	var last *clientv3.PutResponse
	for n := range 50 {
		var err error
		if last, err = cl.Put(t.Context(), "easyops/echo/b", fmt.Sprintf(`{"Addr":"10.0.0.1:%d"}`, n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cl.Compact(t.Context(), last.Header.Revision); err != nil {
		t.Fatal(err)
	}
	proxy.Hang(false)
	w.waitFor("[a=READY b=READY]", 10*time.Second)
}

// TestPlanted has others write what they like.
func TestPlanted(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	cl := client(t, c.Endpoints())
	r := open(t, c.URL())
	put(t, cl, "easyops/echo/aaa", strings.Repeat("x", 1<<20))
	for n := range 20 { // together more than one answer may have
		put(t, cl, fmt.Sprint("easyops/echo/huge", n), `{"Addr":"10.0.0.1:1","Metadata":"`+strings.Repeat("x", 1<<20)+`"}`)
	}
	put(t, cl, "easyops/echo/\xff\x00", "\x00")
	put(t, cl, "easyops/echo/", `{"Addr":"10.0.0.1:1","Metadata":{"v":1,"id":""}}`)
	put(t, cl, "easyops/echo/meta", `{"Addr":"10.0.0.1:1","Metadata":{"v":1,"id":"good","kinds":["grpc"],"health":"READY"}}`)
	put(t, cl, "easyops/not a service!/x", `{"Addr":"10.0.0.1:1"}`)
	// Only now: while etcd writes 20 MiB to a slow disk, a lease may run out.
	register(t, r, entries("good", registry.Ready, "echo"))
	w := watch(t, r, "echo")
	w.waitFor("[good=READY]", 20*time.Second)
	put(t, cl, "easyops/echo/huge", strings.Repeat("x", 1<<20))
	put(t, cl, "easyops/echo/later", `{"Addr":"10.0.0.1:1"}`)
	w.waitFor("[good=READY later=READY]", 20*time.Second)
	names, err := r.(registry.Lister).Services(t.Context())
	if err != nil || strings.Join(names, " ") != "echo" {
		t.Errorf("services %q, %v", names, err)
	}
}

// TestBrokenConnections breaks connections while entries come and go.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	cl := client(t, c.Endpoints())
	proxy := newProxy(t, c)
	w := watch(t, open(t, "etcd://"+proxy.Addr()), "echo")
	w.waitFor("[]", 5*time.Second)
	for n := range 4 {
		put(t, cl, "easyops/echo/a", `{"Addr":"10.0.0.1:1"}`)
		if n%2 == 0 {
			w.waitFor("[a=READY]", 5*time.Second)
		}
		proxy.Drop()
		if _, err := cl.Delete(t.Context(), "easyops/echo/a"); err != nil {
			t.Fatal(err)
		}
		put(t, cl, "easyops/echo/b", `{"Addr":"10.0.0.1:1"}`)
		w.waitFor("[b=READY]", 5*time.Second)
		proxy.Drop()
		if _, err := cl.Delete(t.Context(), "easyops/echo/b"); err != nil {
			t.Fatal(err)
		}
		w.waitFor("[]", 5*time.Second)
	}
	for _, said := range w.history() {
		if said == "error" {
			t.Errorf("said %q: %v", w.history(), w.lastErr())
		}
	}
}
