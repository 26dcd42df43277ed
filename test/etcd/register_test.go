package etcd

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestRegisterUpdateClose(t *testing.T) {
	c := startEtcd(t, 1)
	r, cl := open(t, c.URL()), client(t, c.Endpoints())
	w := watch(t, r, "echo.v1.EchoService")
	w.waitFor("[]", 5*time.Second)

	before := time.Now()
	l, err := r.Register(t.Context(), entries("one", registry.Starting, "echo.v1.EchoService", "other"))
	if err != nil {
		t.Fatal(err)
	}
	took := w.waitFor("[one=STARTING]", time.Second)
	t.Logf("registered in %v, seen %v later", time.Since(before)-took, took)

	want := `{"Op":0,"Addr":"127.0.0.1:4100","Metadata":{"v":1,"id":"one","kinds":["grpc","status"],"health":"STARTING",` +
		`"version":"v1.2.3","tags":{"zone":"a"},"owner":"","status_addr":"","started":"2027-01-15T08:00:00Z"}}`
	if got := keys(t, cl, "easyops/")["easyops/echo.v1.EchoService/one"]; got != want {
		t.Errorf("the value is\n%s, want\n%s", got, want)
	}

	// What is no longer served goes, what is new comes.
	if err := l.Update(t.Context(), entries("one", registry.Ready, "echo.v1.EchoService", "third")); err != nil {
		t.Fatal(err)
	}
	w.waitFor("[one=READY]", time.Second)
	for key, want := range map[string]bool{"echo.v1.EchoService": true, "other": false, "third": true} {
		if _, ok := keys(t, cl, "easyops/")["easyops/"+key+"/one"]; ok != want {
			t.Errorf("%s listed: %v, want %v", key, ok, want)
		}
	}
	if err := l.Update(t.Context(), entries("two", registry.Ready, "x")); err == nil {
		t.Error("the ID changed")
	}
	if names, err := r.(registry.Lister).Services(t.Context()); err != nil || strings.Join(names, " ") != "echo.v1.EchoService third" {
		t.Errorf("services %v, %v", names, err)
	}

	before = time.Now()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(before); took > 100*time.Millisecond {
		t.Errorf("closed after %v", took)
	}
	if left := keys(t, cl, ""); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	w.waitFor("[]", time.Second)
	if err := l.Close(t.Context()); err != nil {
		t.Errorf("second close: %v", err)
	}
	if at := r.LastAnswer(); time.Since(at) > 10*time.Second {
		t.Errorf("last answer at %v", at)
	}
}

func TestManyServicesAreOneLease(t *testing.T) {
	c := startEtcd(t, 1)
	r, cl := open(t, c.URL()+"/team/a"), client(t, c.Endpoints())
	var names []string
	for n := range 200 { // more than fit into one transaction
		names = append(names, "s"+strings.Repeat("x", n%7)+string(rune('a'+n%26))+strings.Repeat("y", n/26))
	}
	l := register(t, r, entries("one", registry.Ready, names...))
	if got := len(keys(t, cl, "team/a/")); got != len(names) {
		t.Errorf("%d keys, want %d", got, len(names))
	}
	leases, err := cl.Leases(t.Context())
	if err != nil || len(leases.Leases) != 1 {
		t.Fatalf("leases %v, %v: want one", leases, err)
	}
	if err := l.Update(t.Context(), entries("one", registry.Stopping, names...)); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Delete(t.Context(), "team/a/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	await(t, "all keys are back", 5*time.Second, func() bool { return len(keys(t, cl, "team/a/")) == len(names) })
}

func TestInvalidEntriesAreRefused(t *testing.T) {
	c := startEtcd(t, 1)
	r := open(t, c.URL())
	list := entries("one", registry.Ready, "echo")
	list[0].Addr = "0.0.0.0:1"
	if _, err := r.Register(t.Context(), list); err == nil || !strings.Contains(err.Error(), "unspecified") {
		t.Errorf("got %v", err)
	}
}

// TestPutBack deletes and overwrites keys by hand.
func TestPutBack(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	r, cl := open(t, c.URL()), client(t, c.Endpoints())
	p := publish(t, r, entries("one", registry.Ready, "echo", "other"))
	w := watch(t, r, "echo")
	w.waitFor("[one=READY]", 5*time.Second)
	value := keys(t, cl, "easyops/echo/")["easyops/echo/one"]

	for _, spoil := range []func(){
		func() { _, _ = cl.Delete(t.Context(), "easyops/echo/one") },
		func() { _, _ = cl.Put(t.Context(), "easyops/echo/one", "garbage") },
		func() {
			_, _ = cl.Put(t.Context(), "easyops/echo/one", strings.Replace(value, "127.0.0.1", "10.9.9.9", 1))
		},
	} {
		spoil()
		took := await(t, "the entry is back", 5*time.Second, func() bool { return keys(t, cl, "easyops/echo/")["easyops/echo/one"] == value })
		t.Logf("back after %v", took)
	}
	w.waitFor("[one=READY]", time.Second)
	if p.State() != registry.Registered {
		t.Errorf("state %s", p.State())
	}
}

// TestRevoked takes the whole lease away.
func TestRevoked(t *testing.T) {
	c := startEtcd(t, 1)
	r, cl := open(t, c.URL()), client(t, c.Endpoints())
	l := register(t, r, entries("lone", registry.Ready, "alone"))
	publish(t, r, entries("one", registry.Ready, "echo"))
	await(t, "listed", 5*time.Second, func() bool { return len(keys(t, cl, "easyops/echo/")) == 1 })
	leases, err := cl.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, lease := range leases.Leases {
		if _, err := cl.Revoke(t.Context(), lease.ID); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-l.Lost():
	case <-time.After(5 * time.Second):
		t.Fatal("the lease is not lost")
	}
	took := await(t, "listed again", 5*time.Second, func() bool { return len(keys(t, cl, "easyops/echo/")) == 1 })
	t.Logf("back after %v", took)
	if len(keys(t, cl, "easyops/alone/")) != 0 {
		t.Error("a lost lease came back by itself")
	}
}

// TestStopLeavesNothing holds Stop and Close to their order.
func TestStopLeavesNothing(t *testing.T) {
	c := startEtcd(t, 1)
	r, cl := open(t, c.URL()), client(t, c.Endpoints())
	w := watch(t, r, "echo")
	p := publish(t, r, entries("one", registry.Ready, "echo"))
	w.waitFor("[one=READY]", 5*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := p.Stop(ctx, entries("one", registry.Stopping, "echo")); err != nil {
		t.Fatal(err)
	}
	var v struct{ Metadata struct{ Health string } }
	if err := json.Unmarshal([]byte(keys(t, cl, "easyops/echo/")["easyops/echo/one"]), &v); err != nil || v.Metadata.Health != "STOPPING" {
		t.Errorf("health %q, %v", v.Metadata.Health, err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if left := keys(t, cl, ""); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	w.waitFor("[]", time.Second)
}
