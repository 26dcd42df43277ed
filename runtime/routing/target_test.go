package routing

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
)

func TestTarget(t *testing.T) {
	s := startServer(t, "a")
	_, port, _ := net.SplitHostPort(s.addr)
	for _, target := range []string{s.addr, "dns:///127.0.0.1:" + port, "passthrough:///" + s.addr} {
		c := dial(t, Config{Target: target})
		want(t, c, "a")
		if c.Instances() != nil {
			t.Error("a target has no instances")
		}
	}
	s.stop()
	c := dial(t, Config{Target: s.addr, MaxWait: 200 * time.Millisecond})
	_, err := who(t.Context(), c)
	wantStatus(t, err, codes.Unavailable, service, "target "+s.addr, "last error", "waited 200ms")

	start := time.Now()
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		time.Sleep(100 * time.Millisecond)
		startServerAt(t, "again", s.addr, 0)
	}()
	c = dial(t, Config{Target: s.addr})
	want(t, c, "again")
	<-restarted
	t.Logf("back after %v", time.Since(start))
}

// A resolver that fails from the start does not make calls wait for ever.
func TestFailingTarget(t *testing.T) {
	c := dial(t, Config{Target: failingScheme + ":///echo", MaxWait: 200 * time.Millisecond})
	for range 2 {
		_, err := who(t.Context(), c)
		wantStatus(t, err, codes.Unavailable, service, "the name is unknown", "waited 200ms")
	}
}

const flappingScheme = "routingtestflaps"

// flapping is a resolver whose answers change all the time: the addresses that
// the target names, separated by commas, some of them, none, and errors.
type flapping struct {
	cancel context.CancelFunc
	done   chan struct{}
}

const flaps = 1000

func (flapping) Scheme() string { return flappingScheme }

func (flapping) Build(t resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	addrs := strings.Split(t.Endpoint(), ",")
	ctx, cancel := context.WithCancel(context.Background())
	f := flapping{cancel, make(chan struct{})}
	go func() {
		defer close(f.done)
		for n := 0; n < flaps && ctx.Err() == nil; n++ {
			var s resolver.State
			for k, a := range addrs {
				if n == 0 || n == flaps-1 || (n+k)%3 == 0 {
					s.Addresses = append(s.Addresses, resolver.Address{Addr: a})
				}
			}
			switch n % 5 {
			case 1:
				cc.ReportError(errors.New("SERVFAIL"))
			case 2:
				_ = cc.UpdateState(resolver.State{})
			default:
				_ = cc.UpdateState(s)
			}
		}
	}()
	return f, nil
}

func (flapping) ResolveNow(resolver.ResolveNowOptions) {}
func (f flapping) Close()                              { f.cancel(); <-f.done }

// TestFlappingTarget: no call fails because a name server does.
func TestFlappingTarget(t *testing.T) {
	servers, _ := startServers(t, 3, 0)
	addrs := []string{servers[0].addr, servers[1].addr, servers[2].addr}
	c := dial(t, Config{Target: flappingScheme + ":///" + strings.Join(addrs, ",")})
	l := startLoad(t, c, 4)
	for _, s := range servers {
		want(t, c, s.id)
	}
	l.more(t, 500)
	for _, err := range l.stop() {
		t.Error(err)
	}
	for end := time.Now().Add(10 * time.Second); len(c.Status().Instances) != len(addrs); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it ends with %+v", c.Status().Instances)
		}
	}
}

func TestSteady(t *testing.T) {
	for target, want := range map[string]string{
		"h:1":             "dns:///h:1",
		"dns:///h:1":      "dns:///h:1",
		"passthrough:h:1": "passthrough:h:1",
		"unix:/tmp/x":     "unix:/tmp/x",
		"other://a/b":     "other://a/b",
		"127.0.0.1:1":     "dns:///127.0.0.1:1",
		"localhost:4100":  "dns:///localhost:4100",
		"[::1]:1":         "dns:///[::1]:1",
	} {
		if got, _ := steady(target, &marker{}); got != want {
			t.Errorf("%s became %s, want %s", target, got, want)
		}
	}
}
