package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/test/etcdserver"
)

// These wait for leases to end, all at the same time.

func TestEtcdComesLate(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	c.Stop(0)
	r := open(t, c.URL())
	if at := r.LastAnswer(); !at.IsZero() {
		t.Errorf("an answer at %v", at)
	}
	w := watch(t, r, "echo")
	p := publish(t, r, entries("one", registry.Ready, "echo"))
	w.waitFor("error", 2*time.Second)
	await(t, "the publisher says why", 5*time.Second, func() bool { return p.LastError() != nil })
	t.Logf("the watch says %v, the publisher %v", w.lastErr(), p.LastError())
	time.Sleep(3 * time.Second) // for the delays to grow

	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	took := w.waitUntil("[one=READY]", 5*time.Second, func(last string) bool { return last == "[one=READY]" })
	t.Logf("registered and seen %v after etcd", took)
	if got := w.history(); got[0] != "error" {
		t.Errorf("the watch said %q: an error was to be first", got)
	}
}

// TestOutage stops etcd for longer than a lease, with and without its data.
func TestOutage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		again func(t *testing.T, c clusterOfOne) error
		most  time.Duration
	}{
		{"restart", func(_ *testing.T, c clusterOfOne) error { return c.Restart(0) }, 5 * time.Second},
		{"wipe", func(_ *testing.T, c clusterOfOne) error { return c.Wipe() }, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := startEtcd(t, 1)
			r := open(t, c.URL())
			for n := range 3 {
				publish(t, r, entries(fmt.Sprint("s", n), registry.Ready, "echo"))
			}
			const all = "[s0=READY s1=READY s2=READY]"
			w := watch(t, r, "echo")
			w.waitFor(all, 5*time.Second)
			before := len(w.history())

			c.Stop(0)
			w.waitFor("error", 10*time.Second)
			late := watch(t, r, "echo") // in the same process, during the outage
			late.waitFor("error", time.Second)
			time.Sleep(outage)
			if err := tt.again(t, c); err != nil {
				t.Fatal(err)
			}
			cl := client(t, c.Endpoints())
			took := await(t, "all are registered again", tt.most, func() bool { return len(keys(t, cl, "easyops/echo/")) == 3 })
			t.Logf("all back %v after etcd", took)
			w.waitFor(all, 5*time.Second)
			time.Sleep(leaseTime + time.Second) // old leases end
			for _, said := range w.history()[before:] {
				if said != "error" && said != all {
					t.Errorf("the watch said %q, of %q", said, w.history()[before:])
				}
			}
			if got := late.history(); got[0] != all || got[1] != "error" {
				t.Errorf("who came during the outage was told %q", got)
			}
		})
	}
}

type clusterOfOne interface {
	Restart(i int) error
	Wipe() error
}

// TestQuickWipe replaces etcd by an empty one before a lease ends.
func TestQuickWipe(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	r := open(t, c.URL())
	publish(t, r, entries("one", registry.Ready, "echo"))
	dead := register(t, r, entries("two", registry.Ready, "echo")) // nobody registers it again
	w := watch(t, r, "echo")
	w.waitFor("[one=READY two=READY]", 5*time.Second)
	before := len(w.history())
	wiped := time.Now()
	if err := c.Wipe(); err != nil {
		t.Fatal(err)
	}
	cl := client(t, c.Endpoints())
	await(t, "registered again", 15*time.Second, func() bool { return len(keys(t, cl, "easyops/echo/")) == 1 })
	t.Logf("back %v after the wipe", time.Since(wiped))
	select {
	case <-dead.Lost():
	case <-time.After(5 * time.Second):
		t.Error("the lease is not lost")
	}
	// Who does not come back is kept for one lease, no longer.
	w.waitFor("[one=READY]", leaseTime+5*time.Second)
	if gone := time.Since(wiped); gone < leaseTime-2*time.Second {
		t.Errorf("forgotten after %v", gone)
	}
	for _, said := range w.history()[before:] {
		if !slices.Contains([]string{"error", "[one=READY]", "[one=READY two=READY]"}, said) {
			t.Errorf("the watch said %q", w.history())
		}
	}
}

// TestOrdinaryDelete is the other side: without an interruption nothing is kept.
func TestOrdinaryDelete(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	r := open(t, c.URL())
	w := watch(t, r, "echo")
	l := register(t, r, entries("one", registry.Ready, "echo"))
	w.waitFor("[one=READY]", 5*time.Second)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.waitFor("[]", time.Second)
}

func TestLeaderDies(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 3)
	r := open(t, c.URL())
	p := publish(t, r, entries("one", registry.Ready, "echo"))
	w := watch(t, r, "echo")
	w.waitFor("[one=READY]", 10*time.Second)
	before := len(w.history())
	leader := c.Leader()
	c.Kill(leader)
	time.Sleep(leaseTime + 3*time.Second)
	for _, said := range w.history()[before:] {
		if said != "error" && said != "[one=READY]" {
			t.Errorf("the watch said %q", w.history()[before:])
		}
	}
	if p.State() != registry.Registered || w.last() != "[one=READY]" {
		t.Errorf("state %s, last %s", p.State(), w.last())
	}
	t.Logf("said since: %q", w.history()[before:])
	two := register(t, r, entries("two", registry.Ready, "echo"))
	w.waitFor("[one=READY two=READY]", 5*time.Second)
	if err := two.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(leader); err != nil {
		t.Fatal(err)
	}
	w.waitFor("[one=READY]", 5*time.Second)
}

// TestNoQuorum leaves one member of three, which can be asked but knows nothing
// for sure.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 3)
	r := open(t, c.URL())
	p := publish(t, r, entries("one", registry.Ready, "echo"))
	w := watch(t, r, "echo")
	w.waitFor("[one=READY]", 10*time.Second)
	before := len(w.history())
	c.Stop(0)
	c.Stop(1)
	w.waitFor("error", 15*time.Second)
	t.Logf("said: %v", w.lastErr())
	time.Sleep(leaseTime)
	for n := range 2 {
		if err := c.Restart(n); err != nil {
			t.Fatal(err)
		}
	}
	w.waitFor("[one=READY]", 10*time.Second)
	await(t, "registered again", 5*time.Second, func() bool { return p.State() == registry.Registered })
	time.Sleep(leaseTime + time.Second) // the old lease ends
	for _, said := range w.history()[before:] {
		if said != "error" && said != "[one=READY]" {
			t.Errorf("the watch said %q", w.history()[before:])
		}
	}
}

// TestUndoAfterFailedUnregister has etcd be silent while a server is taken out,
// and put back: the lease that was to end must not be taken for one that lives.
func TestUndoAfterFailedUnregister(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	proxy := newProxy(t, c)
	p := publish(t, open(t, "etcd://"+proxy.Addr()), entries("one", registry.Ready, "echo"))
	w := watch(t, open(t, c.URL()), "echo")
	w.waitFor("[one=READY]", 5*time.Second)
	proxy.Hang(true)
	p.Set(nil)
	await(t, "it fails", 10*time.Second, func() bool { return p.LastError() != nil })
	p.Set(entries("one", registry.Ready, "echo"))
	proxy.Hang(false)
	time.Sleep(leaseTime + 3*time.Second) // what nobody renews ends
	if w.last() != "[one=READY]" || p.State() != registry.Registered {
		t.Errorf("listed %s, state %s (%v)", w.last(), p.State(), p.LastError())
	}
}

// TestLossIsExplained has the log say why a registration was lost: etcd was not
// reached, or dropped it.
func TestLossIsExplained(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, c *etcdserver.Cluster)
		want  []string
		not   string
	}{
		{"stopped", func(_ *testing.T, c *etcdserver.Cluster) { c.Stop(0) }, []string{"the lease could not be renewed for 10s", "connection refused"}, "dropped"},
		{"revoked", revokeAll, []string{"the registry dropped the entries"}, "renewed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := startEtcd(t, 1)
			var log logText
			logger := slog.New(slog.NewTextHandler(&log, nil))
			p := registry.NewPublisher(open(t, c.URL()), logger)
			p.Set(entries("one", registry.Ready, "echo"))
			await(t, "registered", 5*time.Second, func() bool { return p.State() == registry.Registered })
			tt.spoil(t, c)
			await(t, "the log says so", leaseTime+10*time.Second, func() bool { return log.count("registration lost") == 1 })
			for _, part := range tt.want {
				if log.count(part) == 0 {
					t.Errorf("the log lacks %q:\n%s", part, &log.text)
				}
			}
			if log.count(tt.not) > 0 || log.count("etcd registry at") != log.count("registry=") {
				t.Errorf("the log says too much:\n%s", &log.text)
			}
			if tt.name == "stopped" {
				await(t, "the log says what fails since", 10*time.Second, func() bool { return log.count("registration fails, trying again") == 1 })
			}
			began, lines := time.Now(), log.count("\n")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = p.Stop(ctx, entries("one", registry.Stopping, "echo"))
			_ = p.Close(t.Context())
			if d := time.Since(began); d > 1500*time.Millisecond {
				t.Errorf("stopping took %v", d)
			}
			if tt.name == "stopped" && log.count("\n") != lines {
				t.Errorf("stopping is not quiet:\n%s", &log.text)
			}
		})
	}
}

func revokeAll(t *testing.T, c *etcdserver.Cluster) {
	cl := client(t, c.Endpoints())
	leases, err := cl.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Leases {
		if _, err := cl.Revoke(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
	}
}
