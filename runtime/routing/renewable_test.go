package routing

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/go-easyops/easyops/runtime/registry"
)

// gate is a way to servers that can be shut. Handshakes pass it, and it notes
// which of them were to replace a connection.
type gate struct {
	credentials.TransportCredentials
	shut     atomic.Bool
	tries    atomic.Int64
	replaces atomic.Int64
}

func newGate() *gate { return &gate{TransportCredentials: insecure.NewCredentials()} }

func (g *gate) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	g.tries.Add(1)
	if Replaces(ctx) {
		g.replaces.Add(1)
	}
	if g.shut.Load() {
		return nil, nil, errors.New("remote error: tls: bad certificate")
	}
	return g.TransportCredentials.ClientHandshake(ctx, authority, conn)
}

func (g *gate) Clone() credentials.TransportCredentials { return g }

// awaitTries waits for some more tries to connect.
func (g *gate) awaitTries(t *testing.T, more int64) {
	t.Helper()
	for wanted, end := g.tries.Load()+more, time.Now().Add(10*time.Second); g.tries.Load() < wanted; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it has tried %d times to connect, want %d", g.tries.Load(), wanted)
		}
	}
}

// awaitOther calls until calls go over another connection than before.
func awaitOther(t *testing.T, c *Conn, before string) string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		switch now := over(t, c); {
		case now != before:
			return now
		case time.Now().After(end):
			t.Fatal("calls still go over the old connection")
		}
	}
}

// TestRenewRefused: where no new connection can be made, calls go on over the old
// one, and one that can be made later takes its place.
func TestRenewRefused(t *testing.T) {
	for name, config := range map[string]func(*server) Config{
		"registry": func(s *server) Config { return Config{Registry: newMemory(s.instance(registry.Ready))} },
		"target":   func(s *server) Config { return Config{Target: s.addr} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, l := newGate(), &lines{}
			conf := config(startServer(t, "a"))
			conf.Logger = l.logger()
			c := dial(t, conf, grpc.WithTransportCredentials(g))
			first := over(t, c)
			if g.replaces.Load() != 0 {
				t.Error("the first connection replaces one")
			}
			calls := startLoad(t, c, 5)
			g.shut.Store(true)
			c.Renew()
			g.awaitTries(t, 2)
			c.Renew() // once more makes no difference
			g.awaitTries(t, 1)
			if now := over(t, c); now != first {
				t.Error("calls go over another connection")
			}
			if g.replaces.Load() < 3 {
				t.Errorf("%d connections were to replace one", g.replaces.Load())
			}
			g.shut.Store(false)
			second := awaitOther(t, c, first)
			for _, err := range calls.stop() {
				t.Error(err)
			}
			said := l.all()
			if len(said) != 1 || !strings.Contains(said[0], "the former one stays") || !strings.Contains(said[0], "-easyops.tls-cert") {
				t.Errorf("the log has %q", said)
			}
			c.Renew()
			awaitOther(t, c, second)
		})
	}
}

// TestRenewRefusedAndBroken: where the old connection breaks as well, there is
// nothing left to go on with, and the next one is like any other.
func TestRenewRefusedAndBroken(t *testing.T) {
	g := newGate()
	s := startServer(t, "a")
	c := dial(t, Config{Registry: newMemory(s.instance(registry.Ready)), MaxWait: 10 * time.Second}, grpc.WithTransportCredentials(g))
	over(t, c)
	g.shut.Store(true)
	c.Renew()
	g.awaitTries(t, 1)
	s.stop()
	startServerAt(t, "b", s.addr, 0)
	before := g.replaces.Load()
	g.awaitTries(t, 2)
	if more := g.replaces.Load() - before; more > 1 { // one may have begun before
		t.Errorf("%d connections were to replace what is gone", more)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := who(ctx, c); err == nil || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("a call's error is %v", err)
	}
	g.shut.Store(false)
	over(t, c)
}

// TestRenewAndChange: instances that come and go while others are made anew.
func TestRenewAndChange(t *testing.T) {
	g := newGate()
	a, b := startServer(t, "a"), startServer(t, "b")
	m := newMemory(a.instance(registry.Ready))
	c := dialTo(t, m, time.Minute, grpc.WithTransportCredentials(g))
	over(t, c)
	calls := startLoad(t, c, 5)
	g.shut.Store(true)
	c.Renew()
	g.awaitTries(t, 1)
	m.say(nil, a.instance(registry.Ready), b.instance(registry.Ready))
	g.awaitTries(t, 2)
	g.shut.Store(false)
	want(t, c, "b")
	m.say(nil, b.instance(registry.Ready))
	c.Renew()
	calls.more(t, 100)
	for _, err := range calls.stop() {
		t.Error(err)
	}
	want(t, c, "b")
}
