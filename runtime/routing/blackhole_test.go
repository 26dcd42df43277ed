package routing

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/go-easyops/easyops/runtime/registry"
)

// hall is some servers in memory, so that a clock can be faked. A way to them can
// be made a black hole.
type hall struct {
	servers map[string]*server
	ways    map[string]*bufconn.Listener
	holes   map[string]*atomic.Bool
	list    []registry.Instance
}

func newHall(t *testing.T, n int) *hall {
	h := &hall{servers: map[string]*server{}, ways: map[string]*bufconn.Listener{}, holes: map[string]*atomic.Bool{}}
	for k := range n {
		id := string(rune('a' + k))
		addr := id + ":1"
		s, l := newServer(id, addr, 50*time.Millisecond), bufconn.Listen(1<<16)
		h.servers[addr], h.ways[addr], h.holes[addr] = s, l, &atomic.Bool{}
		go func() { defer close(s.done); _ = s.grpc.Serve(l) }()
		t.Cleanup(s.stop)
		h.list = append(h.list, s.instance(registry.Ready))
	}
	return h
}

func (h *hall) dial(ctx context.Context, addr string) (net.Conn, error) {
	if h.holes[addr].Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, err := h.ways[addr].DialContext(ctx)
	return &holed{Conn: c, hole: h.holes[addr], closed: make(chan struct{})}, err
}

// holed is a connection that may lead into a black hole.
type holed struct {
	net.Conn
	hole   *atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func (c *holed) Write(p []byte) (int, error) {
	if c.hole.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *holed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.hole.Load() {
		<-c.closed
		return 0, errors.New("closed")
	}
	return n, err
}

func (c *holed) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestBlackHole: an instance from which nothing comes any more gets a few calls,
// which end within 20 s although they have no deadline, and all go on when it is
// back.
func TestBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, 3)
		c, err := Dial(Config{Service: service, Registry: newMemory(h.list...), Logger: slog.New(slog.DiscardHandler)},
			grpc.WithContextDialer(h.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var calls, lost, longest atomic.Int64
		for range 32 {
			wg.Go(func() {
				for ctx.Err() == nil {
					start := time.Now()
					if _, err := who(t.Context(), c); err != nil {
						lost.Add(1)
						if status.Code(err) != codes.Unavailable {
							t.Error(err)
						}
					}
					calls.Add(1)
					longest.Store(max(longest.Load(), int64(time.Since(start))))
				}
			})
		}
		time.Sleep(2 * time.Second)
		first := h.list[0].Addr
		h.holes[first].Store(true)
		time.Sleep(time.Second)
		before := calls.Load()
		time.Sleep(time.Second)
		if got := calls.Load() - before; got < 300 {
			t.Errorf("%d calls in the second second, want some 500", got)
		}
		time.Sleep(20 * time.Second)
		if n := lost.Load(); n == 0 || n > 20 {
			t.Errorf("%d calls were lost", n)
		}
		if d := time.Duration(longest.Load()); d > 20*time.Second {
			t.Errorf("a call took %v", d)
		}
		t.Logf("%d calls were lost of %d, the longest took %v", lost.Load(), calls.Load(), time.Duration(longest.Load()))
		h.holes[first].Store(false)
		time.Sleep(15 * time.Second)
		served := h.servers[first].calls.Load()
		time.Sleep(time.Second)
		if got := h.servers[first].calls.Load() - served; got < 100 {
			t.Errorf("it is back, but gets %d calls a second", got)
		}
		cancel()
		wg.Wait()
	})
}
