package cluster

import (
	"context"
	"encoding/json"
	"net/http"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	"github.com/go-easyops/easyops/test/serve"
)

// TestKill kills one of three under load. What it was working on is lost, of
// what may be sent again nothing, and its key goes with its lease.
func TestKill(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	running := c.startEchoes(t, 3)
	seen := c.record(t)
	l := startLoad(t, rate{callers: 16, pause: 20 * time.Millisecond, every: 20 * time.Millisecond, chats: 9}, c.dial())
	victim := running[0]
	l.await(t, 200) // by then it has its share
	killed := time.Now()
	victim.Signal(t, syscall.SIGKILL)
	victim.Wait(t)
	gone := time.Now()
	key := seen.awaitGone(t, leaseTime+time.Second, victim.Addr).Sub(killed)
	t.Logf("the key was gone after %v", key)
	l.await(t, 100)
	l.report(t)
	if n := len(l.failedByKind()[retried]); n > 0 {
		t.Errorf("%d idempotent calls failed", n)
	}
	if l.broke+len(l.failures) == 0 {
		t.Error("nothing was in flight at the one that was killed")
	}
	onlyAt(t, l, victim.Addr, gone)
}

// onlyAt wants that only calls failed that were at an instance, and had begun
// before a moment.
func onlyAt(t *testing.T, l *load, addr string, before time.Time) {
	t.Helper()
	for _, f := range l.failures {
		if f.begun.After(before) {
			t.Errorf("a call of %s failed that began %v too late: %v", f.kind, f.begun.Sub(before), f.err)
		}
		if f.peer != addr {
			t.Errorf("a call of %s failed at %q, not at %s: %v", f.kind, f.peer, addr, f.err)
		}
	}
}

// TestEtcdOutage kills etcd under load, for longer than leases last. Nobody
// notices, and all come back with it.
func TestEtcdOutage(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	running := c.startEchoes(t, 3)
	l := startLoad(t, gentle, c.dial())
	c.Kill(0)
	time.Sleep(outage)
	l.await(t, 100)
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	c = c.anew(t)
	seen := c.record(t)
	back := c.awaitBack(t, 5*time.Second, running...)
	l.await(t, 100)
	t.Logf("all were registered %v after etcd was back", back)
	if full {
		time.Sleep(leaseTime) // in which the leases of before end
	}
	for _, s := range running {
		if _, n := seen.gone(s.Addr); n > 1 {
			t.Errorf("a key went %d times, want once at most", n)
		}
	}
	l.wantNoFailure(t)
}

// awaitBack waits until all instances are listed, and say so themselves: an etcd
// that has just started lists what it had before, on leases that nobody may hold
// any more.
func (c *cluster) awaitBack(t *testing.T, within time.Duration, servers ...*serve.Server) time.Duration {
	t.Helper()
	c = c.anew(t)
	return eventually(t, within, "all registered again", func() bool {
		for _, s := range servers {
			if registration(t, s.Addr) != "registered" {
				return false
			}
		}
		return contains(c.ready(t), addrs(servers)...)
	})
}

var pages = http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// registration is what a server says of its own.
func registration(t *testing.T, addr string) string {
	t.Helper()
	resp, err := pages.Get("http://" + addr + "/internal/help?format=json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var help struct {
		Registry struct {
			State string `json:"state"`
		} `json:"registry"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&help); err != nil {
		t.Fatal(err)
	}
	return help.Registry.State
}

// TestWipe removes all that etcd knows, under load.
func TestWipe(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	running := c.startEchoes(t, 3)
	l := startLoad(t, gentle, c.dial())
	if err := c.Wipe(); err != nil {
		t.Fatal(err)
	}
	t.Logf("all were registered after %v", c.awaitBack(t, 15*time.Second, running...))
	l.await(t, 100)
	l.wantNoFailure(t)
}

// TestEtcdAbsent starts a server before etcd. It serves, and is listed when
// there is something to be listed in. A client that was as early waits for it.
func TestEtcdAbsent(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	c.Kill(0)
	s := serve.Start(t, c.flag())
	conn, err := grpc.NewClient(s.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := echov1.NewEchoServiceClient(conn).Echo(ctx, &echov1.EchoRequest{}); err != nil {
		t.Errorf("without etcd it does not serve: %v", err)
	}
	early := make(chan error, 1)
	go func() {
		_, err := dialEcho(t, c.dial()).Echo(ctx, &echov1.EchoRequest{})
		early <- err
	}()
	time.Sleep(3 * time.Second) // in which both fail a few times
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	t.Logf("it was registered after %v", c.awaitBack(t, 5*time.Second, s))
	if err := <-early; err != nil {
		t.Errorf("the early client: %v", err)
	}
}

// TestCutOff cuts one of three instances, and a service that calls them, off
// from etcd. Their calls go on, and they come and go once.
func TestCutOff(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	cable := startProxy(t, c.Endpoints()[0])
	running := append(c.startEchoes(t, 2), serve.Start(t, "-easyops.registry="+cable.url()))
	away := running[2]
	c.awaitReady(t, patience, away.Addr)
	seen := c.record(t)
	serve.StartProgram(t, serve.Greeter, "-easyops.registry="+cable.url())
	greet := c.greeter(t)
	l := startLoad(t, gentle, c.dial())
	greet(t)

	cable.Cut()
	gone := seen.awaitGone(t, leaseTime+2*time.Second, away.Addr)
	for time.Since(gone) < 4*time.Second {
		greet(t)
		time.Sleep(20 * time.Millisecond)
	}
	cable.Mend()
	t.Logf("it was registered after %v", c.awaitBack(t, 5*time.Second, running...))
	for range 50 {
		greet(t)
	}
	time.Sleep(2 * time.Second) // in which it could go again
	if _, n := seen.gone(away.Addr); n != 1 {
		t.Errorf("its key went %d times, want once", n)
	}
	for _, other := range running[:2] {
		if _, n := seen.gone(other.Addr); n != 0 {
			t.Errorf("the key of another one went %d times", n)
		}
	}
	l.await(t, 100)
	l.wantNoFailure(t)
}

// greeter returns a call of the greeter that etcd lists, or listed.
func (c *cluster) greeter(t *testing.T) func(*testing.T) {
	t.Helper()
	client, conn, err := greeterv1.DialGreeterService(c.dial(), apart(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func(t *testing.T) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		resp, err := client.Greet(ctx, &greeterv1.GreetRequest{Name: "Ada"})
		if err != nil || resp.GetGreeting() != "Hello, Ada" {
			t.Errorf("greeted with %v, %v", resp, err)
		}
	}
}

// TestMemberKilled kills the leader of three members under load.
func TestMemberKilled(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 3)
	running := c.startEchoes(t, 3)
	seen := c.record(t)
	l := startLoad(t, gentle, c.dial())
	leader := c.Leader()
	c.Kill(leader)
	fourth := serve.Start(t, c.flag())
	t.Logf("with one member less, a new instance was registered after %v", c.awaitBack(t, 5*time.Second, append(running, fourth)...))
	time.Sleep(leaseTime + 2*time.Second) // leases that are not kept end in that
	if err := c.Restart(leader); err != nil {
		t.Fatal(err)
	}
	l.await(t, 100)
	for _, s := range append(running, fourth) {
		if _, n := seen.gone(s.Addr); n != 0 {
			t.Errorf("a key went %d times", n)
		}
	}
	l.wantNoFailure(t)
}

// TestStandstill stops an instance for three leases without ending it, as a
// machine does that is out of breath.
func TestStandstill(t *testing.T) {
	if !full {
		t.Skip("takes a minute: make test-real")
	}
	t.Parallel()
	c := startEtcd(t, 1)
	running := c.startEchoes(t, 3)
	seen := c.record(t)
	l := startLoad(t, gentle, c.dial())
	still := running[0]
	stopped := time.Now()
	still.Signal(t, syscall.SIGSTOP)
	seen.awaitGone(t, leaseTime+time.Second, still.Addr)
	time.Sleep(3*leaseTime - time.Since(stopped))
	still.Signal(t, syscall.SIGCONT)
	t.Logf("it was registered after %v", c.awaitBack(t, 5*time.Second, running...))
	time.Sleep(2 * time.Second)
	l.await(t, 100)
	l.report(t)
	if _, n := seen.gone(still.Addr); n != 1 {
		t.Errorf("its key went %d times, want once", n)
	}
	onlyAt(t, l, still.Addr, stopped.Add(20*time.Second))
}
