package routing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/registry/local"
)

func startServers(t *testing.T, n int, delay time.Duration) (all []*server, list []registry.Instance) {
	t.Helper()
	for k := range n {
		s := startServerAt(t, fmt.Sprintf("s%d", k), "127.0.0.1:0", delay)
		all, list = append(all, s), append(list, s.instance(registry.Ready))
	}
	return all, list
}

func TestBalance(t *testing.T) {
	servers, list := startServers(t, 4, 0)
	c := dialTo(t, newMemory(list...), 0)
	for _, s := range servers {
		want(t, c, s.id)
	}
	counts := map[string]int{}
	for range 400 {
		id, err := who(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		counts[id]++
	}
	for _, s := range servers {
		if n := counts[s.id]; n < 95 || n > 105 {
			t.Errorf("%s got %d of 400 calls: %v", s.id, n, counts)
		}
	}
	if got := len(c.Instances()); got != 4 {
		t.Errorf("%d instances", got)
	}
	if c.State() != connectivity.Ready {
		t.Errorf("state %v", c.State())
	}
}

// Only the calls that an instance was working on fail when it dies, although
// the registry lists it on.
func TestKilledUnderLoad(t *testing.T) {
	const callers = 20
	servers, list := startServers(t, 3, 2*time.Millisecond)
	c := dialTo(t, newMemory(list...), 0)
	for _, s := range servers {
		want(t, c, s.id)
	}
	l := startLoad(t, c, callers)
	working := make(chan struct{}, callers)
	servers[1].does(func(ctx context.Context) error {
		working <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	<-working
	servers[1].stop()
	l.more(t, 50*callers)
	failed := l.stop()
	if len(failed) > callers {
		t.Errorf("%d calls failed, %d were under way: %v", len(failed), callers, failed[0])
	}
	for _, err := range failed {
		wantStatus(t, err, codes.Unavailable)
	}
	if len(failed) == 0 {
		t.Error("no call failed: the test is blind")
	}
}

func TestGracefulUnderLoad(t *testing.T) {
	servers, list := startServers(t, 3, time.Millisecond)
	c := dialTo(t, newMemory(list...), 0)
	for _, s := range servers {
		want(t, c, s.id)
	}
	l := startLoad(t, c, 20)
	servers[0].grpc.GracefulStop()
	servers[2].grpc.GracefulStop()
	l.more(t, 1000)
	if failed := l.stop(); len(failed) > 0 {
		t.Errorf("%d calls failed: %v", len(failed), failed[0])
	}
}

// A single instance is replaced again and again.
func TestRollingReplacement(t *testing.T) {
	old := startServerAt(t, "v0", "127.0.0.1:0", time.Millisecond)
	m := newMemory(old.instance(registry.Ready))
	c := dialTo(t, m, 0)
	want(t, c, "v0")
	l := startLoad(t, c, 20)
	for n := range 10 {
		m.say(nil, old.instance(registry.Stopping))
		next := startServerAt(t, fmt.Sprintf("v%d", n+1), "127.0.0.1:0", time.Millisecond)
		m.say(nil, old.instance(registry.Stopping), next.instance(registry.Ready))
		l.more(t, 100)
		old.grpc.GracefulStop()
		m.say(nil, next.instance(registry.Ready))
		l.more(t, 20)
		old = next
	}
	if failed := l.stop(); len(failed) > 0 {
		t.Errorf("%d calls failed: %v", len(failed), failed[0])
	}
}

// Instances come and go in the registry all the time.
func TestChurnUnderLoad(t *testing.T) {
	_, list := startServers(t, 5, time.Millisecond)
	m := newMemory(list...)
	c := dialTo(t, m, 0)
	l := startLoad(t, c, 10)
	for n := range 500 {
		m.say(nil, list[n%5], list[(n*3+1)%5])
		if n%10 == 0 {
			m.say(errors.New("down"))
			m.say(nil)
			l.more(t, 5)
		}
	}
	if failed := l.stop(); len(failed) > 0 {
		t.Errorf("%d calls failed: %v", len(failed), failed[0])
	}
}

// The only instance stops and comes back at the same address, as in a restart
// in place: calls wait, none fails.
func TestRestartInPlace(t *testing.T) {
	s := startServer(t, "a")
	m := newMemory(s.instance(registry.Ready))
	c := dialTo(t, m, 0)
	want(t, c, "a")
	l := startLoad(t, c, 5)
	s.grpc.GracefulStop()
	m.say(nil)
	time.Sleep(600 * time.Millisecond) // some attempts fail, the backoff grows
	if c.State() == connectivity.Ready {
		t.Fatal("still connected")
	}
	again := startServerAt(t, "b", s.addr, 0)
	start := time.Now()
	m.say(nil, again.instance(registry.Ready))
	l.more(t, 100)
	t.Logf("back after %v", time.Since(start))
	if failed := l.stop(); len(failed) > 0 {
		t.Errorf("%d calls failed: %v", len(failed), failed[0])
	}
}

func TestHealth(t *testing.T) {
	a, b := startServer(t, "a"), startServer(t, "b")
	m := newMemory(a.instance(registry.Stopping), b.instance(registry.NotReady))
	c := dialTo(t, m, 0)
	for range 20 {
		if id, err := who(t.Context(), c); id != "a" {
			t.Fatalf("%q answered, want the one that is STOPPING (%v)", id, err)
		}
	}
	m.say(nil, a.instance(registry.Stopping), b.instance(registry.Ready))
	want(t, c, "b")
	for range 20 {
		if id, err := who(t.Context(), c); id != "b" {
			t.Fatalf("%q answered, want the one that is READY (%v)", id, err)
		}
	}
}

// Neither an error nor an empty answer takes instances away that work.
func TestLastKnown(t *testing.T) {
	s := startServer(t, "a")
	m := newMemory(s.instance(registry.Ready))
	c := dialTo(t, m, 300*time.Millisecond)
	want(t, c, "a")
	for name, change := range map[string]func(){
		"error":     func() { m.say(errors.New("down")) },
		"empty":     func() { m.say(nil) },
		"not ready": func() { m.say(nil, s.instance(registry.NotReady)) },
	} {
		change()
		for range 50 {
			if _, err := who(t.Context(), c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	m.say(nil)
	s.stop()
	_, err := who(t.Context(), c)
	if strings.Contains(err.Error(), "error reading from server") { // it had begun
		_, err = who(t.Context(), c)
	}
	wantStatus(t, err, codes.Unavailable, "lists no instance", "last error", s.addr)
}

func TestIdle(t *testing.T) {
	s := startServer(t, "a")
	m := newMemory(s.instance(registry.Ready))
	c := dialTo(t, m, 0, grpc.WithIdleTimeout(50*time.Millisecond))
	for n := range 3 {
		want(t, c, "a")
		if got := m.watches.Load(); got != 1 {
			t.Errorf("%d watches in use", got)
		}
		for c.State() != connectivity.Idle || m.watches.Load() != 0 {
			if !c.cc.WaitForStateChange(t.Context(), connectivity.Ready) {
				t.Fatalf("round %d: not idle", n)
			}
			time.Sleep(time.Millisecond)
		}
		if n == 1 { // what was known before is used where the registry fails meanwhile
			m.say(errors.New("down"))
		}
	}
}

func TestStream(t *testing.T) {
	a, b := startServer(t, "a"), startServer(t, "b")
	m := newMemory(a.instance(registry.Ready))
	c := dialTo(t, m, 0)
	stream, err := c.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+service+"/Stay")
	if err != nil {
		t.Fatal(err)
	}
	ask := func() (string, error) {
		reply := &wrapperspb.StringValue{}
		return reply.Value, errors.Join(stream.SendMsg(&emptypb.Empty{}), stream.RecvMsg(reply))
	}
	if _, err := ask(); err != nil {
		t.Fatal(err)
	}
	// Streams stay where they are while their instance goes.
	m.say(nil, a.instance(registry.Stopping), b.instance(registry.Ready))
	want(t, c, "b")
	for range 10 {
		if _, err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if err := stream.RecvMsg(&emptypb.Empty{}); err == nil {
		t.Error("the stream did not end")
	}
}

func TestLocalRegistry(t *testing.T) {
	r, err := local.Open(t.TempDir()+"/reg", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, Config{Registry: r})
	answers := make(chan string)
	go func() {
		id, err := who(t.Context(), c)
		answers <- fmt.Sprint(id, err)
	}()
	a := startServer(t, "a")
	lease, err := r.Register(t.Context(), []registry.Instance{a.instance(registry.Ready)})
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close(context.Background())
	if got := <-answers; got != "a<nil>" {
		t.Errorf("got %s", got)
	}
}

// The name that a certificate must be for is the service's.
func TestAuthority(t *testing.T) {
	s := startServer(t, "a")
	c := dialTo(t, newMemory(s.instance(registry.Ready)), 0)
	want(t, c, "a")
	if got := s.authority.Load(); got != service {
		t.Errorf("the authority is %v, want the service", got)
	}
}

func TestDialRefuses(t *testing.T) {
	creds := grpc.WithTransportCredentials(insecure.NewCredentials())
	for name, tt := range map[string]struct {
		config  Config
		opts    []grpc.DialOption
		wantErr string
	}{
		"no service":     {Config{Registry: newMemory()}, []grpc.DialOption{creds}, "service name"},
		"no registry":    {Config{Service: service}, []grpc.DialOption{creds}, "dns:///host:port"},
		"negative wait":  {Config{Service: service, Registry: newMemory(), MaxWait: -1}, []grpc.DialOption{creds}, "negative"},
		"subset":         {Config{Service: service, Registry: newMemory(), Subset: -2}, []grpc.DialOption{creds}, "-1 for all"},
		"all methods":    {Config{Service: service, Registry: newMemory(), Idempotent: []string{""}}, []grpc.DialOption{creds}, "such as Echo"},
		"whole name":     {Config{Service: service, Registry: newMemory(), Idempotent: []string{"a.B/C"}}, []grpc.DialOption{creds}, "such as Echo"},
		"no credentials": {Config{Service: service, Registry: newMemory()}, nil, "transport"},
	} {
		if c, err := Dial(tt.config, tt.opts...); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: got %v, %v", name, c, err)
		}
	}
}

func TestClose(t *testing.T) {
	c := dialTo(t, newMemory(), 0)
	errs := make(chan error)
	go func() { _, err := who(t.Context(), c); errs <- err }()
	time.Sleep(50 * time.Millisecond)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wantStatus(t, <-errs, codes.Canceled)
	_, err := who(t.Context(), c)
	wantStatus(t, err, codes.Canceled)
}
