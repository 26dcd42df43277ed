package cluster

import (
	"context"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/serve"
)

const (
	mostStop = 25 * time.Second
	mostKey  = 100 * time.Millisecond // a key may outlive its process by that
)

// startEchoes starts n instances and waits until etcd has them.
func (c *cluster) startEchoes(t *testing.T, n int, flags ...string) (all []*serve.Server) {
	t.Helper()
	for range n {
		all = append(all, serve.Start(t, append(flags, c.flag())...))
	}
	c.awaitReady(t, patience, addrs(all)...)
	return all
}

func addrs(servers []*serve.Server) (all []string) {
	for _, s := range servers {
		all = append(all, s.Addr)
	}
	return all
}

// draining is as where a server is told to listen off the loopback interface.
var draining = []string{"-easyops.drain-delay=2s"}

// TestRollingRestart restarts three instances in turn under load, the
// replacement first, as a deployment does. Nobody may notice.
func TestRollingRestart(t *testing.T) {
	c := startEtcd(t, 1)
	running := c.startEchoes(t, 3, draining...)
	seen := c.record(t)
	l := startLoad(t, strong, c.dial())
	longest, latest := time.Duration(0), -mostStop
	for round := 0; round < rounds || round < 2*rounds && !l.enough(); round++ {
		running = append(running, c.startEchoes(t, 1, draining...)...)
		old := running[0]
		running = running[1:]
		stop, key := stopInOrder(t, old, seen)
		longest, latest = max(longest, stop), max(latest, key)
	}
	if !l.enough() {
		t.Errorf("there were fewer than %d calls or %d streams", unary, streams)
	}
	l.wantNoFailure(t)
	t.Logf("the longest stop took %v; keys went %v after their processes at most", longest, latest)
	if l.told == 0 {
		t.Error("no stream was ended by a server: the test restarted nothing that mattered")
	}
}

// stopInOrder stops a server by SIGTERM. It returns how long that took and how
// long after the process its key went, which is less than nothing where it went
// before.
func stopInOrder(t *testing.T, s *serve.Server, seen *history) (stop, key time.Duration) {
	t.Helper()
	told := time.Now()
	s.Signal(t, syscall.SIGTERM)
	if code := s.Wait(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, s.Log())
	}
	exit := time.Now()
	stop, key = exit.Sub(told), seen.awaitGone(t, time.Second, s.Addr).Sub(exit)
	if stop > mostStop {
		t.Errorf("a stop took %v, want %v at most", stop, mostStop)
	}
	if key > mostKey {
		t.Errorf("a key was there %v after its process, want %v at most", key, mostKey)
	}
	return stop, key
}

// TestRestartInPlace restarts the only instance where it is. Clients whose
// deadline covers the gap wait.
func TestRestartInPlace(t *testing.T) {
	c := startEtcd(t, 1)
	addr := serve.FreeAddr(t)
	s := serve.StartAt(t, addr, append(draining, c.flag())...)
	l := startLoad(t, gentle, c.dial())
	for range inPlace {
		s.Signal(t, syscall.SIGTERM)
		if code := s.Wait(t); code != 0 {
			t.Errorf("exit code %d after SIGTERM\n%s", code, s.Log())
		}
		s = serve.StartAt(t, addr, append(draining, c.flag())...)
		l.await(t, 50)
	}
	l.wantNoFailure(t)
}

// The controls stop servers in worse ways under the same load. If that fails
// nothing, the tests above are blind.

func TestControlKill(t *testing.T) {
	c := startEtcd(t, 1)
	running := c.startEchoes(t, 3)
	l := startLoad(t, strong, c.dial())
	for range 2 {
		running = append(running, c.startEchoes(t, 1)...)
		running[0].Signal(t, syscall.SIGKILL)
		running[0].Wait(t)
		running = running[1:]
		l.await(t, 100)
	}
	l.report(t)
	failed := l.failedByKind()
	if n := len(failed[once]) + len(failed[open]) + len(failed[collect]); n == 0 {
		t.Error("no call failed that is sent once: the load does not notice servers that die")
	}
	if l.broke == 0 {
		t.Error("no stream broke: the load does not notice servers that die")
	}
}

// TestControlDeletedFirst deletes the key of the only instance before it stops,
// for clients that believe etcd: those of etcd's own resolver. It is what
// servers do that unregister at SIGTERM.
func TestControlDeletedFirst(t *testing.T) {
	c := startEtcd(t, 1)
	addr := serve.FreeAddr(t)
	flags := append(draining, "-easyops.registry=none")
	s := serve.StartAt(t, addr, flags...)
	c.put(t, "a", addr)
	believer := c.believer(t)
	l := loadBy(t, gentle, believer, believer)
	c.remove(t, "a")
	s.Signal(t, syscall.SIGTERM)
	s.Wait(t)
	serve.StartAt(t, addr, flags...)
	c.put(t, "b", addr)
	l.await(t, 100)
	l.report(t)
	if len(l.failures) == 0 {
		t.Error("no call failed: the load does not notice a key that is deleted first")
	}
}

// believer is a client with etcd's own resolver.
func (c *cluster) believer(t *testing.T) echov1.EchoServiceClient {
	t.Helper()
	builder, err := resolver.NewBuilder(c.client)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("etcd:///"+prefix+service, grpc.WithResolvers(builder),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := echov1.NewEchoServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := client.Echo(ctx, &echov1.EchoRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	return client
}
