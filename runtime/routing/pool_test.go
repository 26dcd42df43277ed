package routing

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// network connects to addresses as a test wants it to, for pools in a bubble.
type network struct {
	mu    sync.Mutex
	is    map[string]string // "" is up
	tried map[string]int
}

func (n *network) set(how string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, addr := range addrs {
		n.is[addr] = how
	}
}

// taken returns how often an address was tried since the last time.
func (n *network) taken() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer clear(n.tried)
	return maps.Clone(n.tried)
}

func (n *network) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.tried[addr]++
	how := n.is[addr]
	n.mu.Unlock()
	switch how {
	case "refuses":
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case "hole":
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s: %w", addr, ctx.Err())}
	case "slow":
		time.Sleep(headStart / 2)
	case "too slow":
		time.Sleep(headStart + headStart/4)
	}
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	return ours, nil
}

// bubble is a pool in a bubble, with its registry and network.
type bubble struct {
	*Pool
	registry *memory
	network  *network
}

// inBubble runs a test of a pool by a clock of its own.
func inBubble(t *testing.T, c PoolConfig, list []registry.Instance, test func(*testing.T, bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := bubble{registry: newMemory(list...), network: &network{is: map[string]string{}, tried: map[string]int{}}}
		c.Registry, c.Dial = b.registry, b.network.dial
		b.Pool = openPool(t, c)
		synctest.Wait()
		test(t, b)
	})
}

func openPool(t *testing.T, c PoolConfig) *Pool {
	t.Helper()
	c.Service, c.Kind = service, registry.KindTCP
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := NewPool(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// say changes what is listed.
func (b bubble) say(err error, list ...registry.Instance) {
	b.registry.say(err, list...)
	synctest.Wait()
}

// dialled connects, and returns the ID of the instance and how long that took.
func (b bubble) dialled(t *testing.T) (id string, took time.Duration) {
	t.Helper()
	start := time.Now()
	conn, i, err := b.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	synctest.Wait()
	return i.ID, time.Since(start)
}

// share connects often, and returns how often each instance was chosen.
func (b bubble) share(t *testing.T) map[string]int {
	t.Helper()
	n := map[string]int{}
	for range 100 {
		id, _ := b.dialled(t)
		n[id]++
	}
	return n
}

// tcp is an instance; what is special about it comes after its ID.
func tcp(id string, specials ...string) registry.Instance {
	i := registry.Instance{ID: id, Addr: id + ":1", Kinds: []registry.Kind{registry.KindTCP}, Health: registry.Ready}
	for _, s := range specials {
		name, value, _ := strings.Cut(s, "=")
		switch name {
		case "owner":
			i.Owner = value
		case "kind":
			i.Kinds = []registry.Kind{registry.Kind(value)}
		case "at":
			i.Addr = value
		case "started":
			i.Started = time.Unix(int64(len(value)), 0)
		case "health":
			i.Health = registry.Health(value)
		default:
			if i.Tags == nil {
				i.Tags = map[string]string{}
			}
			i.Tags[name] = value
		}
	}
	return i
}

func names(n map[string]int) string { return strings.Join(slices.Sorted(maps.Keys(n)), " ") }

// TestPoolChoice: who is chosen of what is listed.
func TestPoolChoice(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		zone string
		list []registry.Instance
		want string
	}{
		"all":                   {"", []registry.Instance{tcp("a"), tcp("b"), tcp("c")}, "a b c"},
		"also of two kinds":     {"", []registry.Instance{{ID: "a", Addr: "a:1", Kinds: []registry.Kind{"grpc", "tcp"}, Health: registry.Ready}}, "a"},
		"not of other kinds":    {"", []registry.Instance{tcp("a"), tcp("b", "kind=grpc"), tcp("c", "kind=http")}, "a"},
		"not personal ones":     {"", []registry.Instance{tcp("a"), tcp("b", "owner=alice")}, "a"},
		"not those with tags":   {"", []registry.Instance{tcp("a"), tcp("b", "release=next")}, "a"},
		"not the zone's alone":  {"", []registry.Instance{tcp("a"), tcp("b", "zone=b")}, "a b"},
		"those of the zone":     {"a", []registry.Instance{tcp("a", "zone=a"), tcp("b", "zone=b"), tcp("c"), tcp("d", "zone=a")}, "a d"},
		"others, for no zone":   {"x", []registry.Instance{tcp("a", "zone=a"), tcp("b")}, "a b"},
		"READY":                 {"", []registry.Instance{tcp("a"), tcp("b", "health=STOPPING"), tcp("c", "health=NOT_READY"), tcp("d", "health=STARTING")}, "a"},
		"READY before the zone": {"b", []registry.Instance{tcp("a", "zone=a"), tcp("b", "zone=b", "health=STOPPING")}, "a"},
		"else STOPPING":         {"b", []registry.Instance{tcp("a", "zone=a", "health=STOPPING"), tcp("b", "zone=b", "health=STOPPING"), tcp("c", "health=NOT_READY")}, "b"},
		"the younger one":       {"", []registry.Instance{tcp("a", "at=x:1", "started=12"), tcp("b", "at=x:1", "started=123"), tcp("c", "at=x:1", "started=1")}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, PoolConfig{Zone: tt.zone, MaxWait: -1}, tt.list, func(t *testing.T, b bubble) {
				if got := names(b.share(t)); got != tt.want {
					t.Errorf("%s were chosen, want %s", got, tt.want)
				}
			})
		})
	}
}

// TestPoolLoad: connections are spread by how many are open, and count until they are
// closed.
func TestPoolLoad(t *testing.T) {
	t.Parallel()
	list := []registry.Instance{tcp("a"), tcp("b"), tcp("c")}
	inBubble(t, PoolConfig{}, list, func(t *testing.T, b bubble) {
		var conns []net.Conn
		for range 300 {
			conn, i, err := b.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if i.ID == "a" { // it ends its connections, so it should get more
				conn.Close()
			}
			conns = append(conns, conn)
		}
		for _, i := range b.Status().Instances {
			if i.ID == "a" && (i.Picks < 150 || i.InUse != 0) || i.ID != "a" && (i.Picks > 75 || uint64(i.InUse) != i.Picks) {
				t.Errorf("%s: %d picks, %d in use", i.ID, i.Picks, i.InUse)
			}
		}
		for _, conn := range conns {
			conn.Close()
			conn.Close()
		}
		for _, i := range b.Status().Instances {
			if i.InUse != 0 || i.Failures != 0 {
				t.Errorf("%+v is left", i)
			}
		}
	})
}
