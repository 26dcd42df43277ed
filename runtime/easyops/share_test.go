package easyops_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// counted is the local registry, with a count of what is asked of it.
type counted struct {
	registry.Registry
	opened, closed, watches, watching atomic.Int32
}

// open returns the URL of the registry in the directory.
func (c *counted) open(dir string) string {
	scheme := fmt.Sprint("counted-", watchedRegistries.Add(1))
	registry.RegisterDriver(scheme, func(_ string, log *slog.Logger) (registry.Registry, error) {
		c.opened.Add(1)
		local, err := registry.Open("local:"+dir, log)
		return countedOne{local, c}, err
	})
	return scheme + ":"
}

type countedOne struct {
	registry.Registry
	by *counted
}

func (c countedOne) Close() error {
	c.by.closed.Add(1)
	return c.Registry.Close()
}

func (c countedOne) Watch(ctx context.Context, service string, update func([]registry.Instance, error)) {
	c.by.watches.Add(1)
	c.by.watching.Add(1)
	defer c.by.watching.Add(-1)
	c.Registry.Watch(ctx, service, update)
}

// accepting is a listener that counts its connections.
type accepting struct {
	net.Listener
	n atomic.Int32
}

func (a *accepting) Accept() (net.Conn, error) {
	nc, err := a.Listener.Accept()
	if err == nil {
		a.n.Add(1)
	}
	return nc, err
}

// serveCounted serves echo where connections and watches are counted. It returns
// what dials it.
func serveCounted(t *testing.T, impl echov1.EchoServiceServer) (*accepting, *counted, func(...easyops.DialOption) (echov1.EchoServiceClient, *easyops.Conn)) {
	t.Helper()
	dir, lis, reg := shortDir(t), &accepting{Listener: listen(t)}, &counted{}
	serveEcho(t, impl, easyops.WithListener(lis), easyops.WithRegistry("local:"+dir), easyops.WithDrainDelay(0))
	url := reg.open(dir)
	common := apart(easyops.WithRegistry(url)) // with a logger of its own
	return lis, reg, func(opts ...easyops.DialOption) (echov1.EchoServiceClient, *easyops.Conn) {
		t.Helper()
		client, conn, err := echov1.DialEchoService(append([]easyops.DialOption{common}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return client, conn
	}
}

// TestConnsShare: however many Conns there are, the server has one connection and
// the registry one watch, until the last is closed.
func TestConnsShare(t *testing.T) {
	lis, reg, dial := serveCounted(t, echo{})
	const n = 100
	var clients [n]echov1.EchoServiceClient
	var conns [n]*easyops.Conn
	for i := range n {
		clients[i], conns[i] = dial()
		say(t, clients[i], "hi")
	}
	if c, o, w := lis.n.Load(), reg.opened.Load(), reg.watches.Load(); c != 1 || o != 1 || w != 1 {
		t.Errorf("%d Conns make %d connections, open %d registries and watch %d times", n, c, o, w)
	}
	for i := range n - 1 {
		if err := errors.Join(conns[i].Close(), conns[i].Close()); err != nil {
			t.Error(err)
		}
		if i%10 == 0 {
			say(t, clients[n-1], "on")
		}
	}
	say(t, clients[n-1], "alone")
	if _, err := clients[0].Echo(t.Context(), &echov1.EchoRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("a call by a Conn that was closed: %v", err)
	}
	if lis.n.Load() != 1 || reg.closed.Load() != 0 {
		t.Error("those that are left lost what they share")
	}
	if err := conns[n-1].Close(); err != nil {
		t.Error(err)
	}
	if reg.closed.Load() != 1 || reg.watching.Load() != 0 {
		t.Error("the last has left the registry open")
	}
	client, _ := dial()
	say(t, client, "again")
	if lis.n.Load() != 2 || reg.opened.Load() != 2 {
		t.Error("what was closed is shared")
	}
}

// TestConnsOfTheirOwn: what is dialled in another way has its own connection.
func TestConnsOfTheirOwn(t *testing.T) {
	token := fixed("", nil)
	grpcOption := easyops.DialGRPC(grpc.WithUserAgent("a"))
	logger := easyops.WithLogger(slog.New(slog.DiscardHandler))
	for name, test := range map[string]struct {
		one, two []easyops.DialOption
		want     int32
	}{
		"the same":     {nil, nil, 1},
		"the same two": {[]easyops.DialOption{logger}, []easyops.DialOption{logger}, 1},
		"another":      {nil, []easyops.DialOption{logger}, 2},
		"user token":   {[]easyops.DialOption{token}, []easyops.DialOption{token}, 2},
		"options":      {[]easyops.DialOption{grpcOption}, []easyops.DialOption{grpcOption}, 2},
		"personal":     {nil, []easyops.DialOption{easyops.WithPersonal()}, 2},
		"subset":       {nil, []easyops.DialOption{easyops.DialSubset(1)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			lis, _, dial := serveCounted(t, echo{})
			for _, opts := range [][]easyops.DialOption{test.one, test.two} {
				client, _ := dial(opts...)
				say(t, client, "hi")
			}
			if n := lis.n.Load(); n != test.want {
				t.Errorf("%d connections, want %d", n, test.want)
			}
		})
	}
}

// TestUsersDoNotMix: a Conn's user is on its own calls only, whoever shares what.
func TestUsersDoNotMix(t *testing.T) {
	h := &hearing{}
	dir := easyops.WithRegistry("local:" + shortDir(t))
	serveEcho(t, h, openly(dir)...)
	discard := easyops.WithLogger(slog.New(slog.DiscardHandler))
	clients := map[string]echov1.EchoServiceClient{
		"":             dialEcho(t, apart(dir), discard),
		"Bearer alice": dialEcho(t, apart(dir), discard, fixed("alice", nil)),
		"Bearer bob":   dialEcho(t, apart(dir), discard, fixed("bob", nil)),
	}
	for range 3 {
		for want, client := range clients {
			say(t, client, "hi")
			if user, _ := h.heard(); user != want {
				t.Errorf("heard %q, want %q", user, want)
			}
			if _, err := client.Echo(auth.WithUserToken(t.Context(), "carol"), &echov1.EchoRequest{}); err != nil {
				t.Error(err)
			}
			if user, _ := h.heard(); user != "Bearer carol" {
				t.Errorf("heard %q, want carol", user)
			}
		}
	}
}

// slowly answers when it is let.
type slowly struct {
	echo
	begun, answer chan struct{}
}

func (s slowly) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	if req.GetMessage() == "slow" {
		s.begun <- struct{}{}
		<-s.answer
	}
	return s.echo.Echo(ctx, req)
}

// TestCloseEndsItsOwnStreams: those of others who share the connection go on, and
// what was asked is answered.
func TestCloseEndsItsOwnStreams(t *testing.T) {
	impl := slowly{begun: make(chan struct{}, 1), answer: make(chan struct{})}
	lis, _, dial := serveCounted(t, impl)
	one, conn := dial()
	two, _ := dial()
	theirs, err := two.Chat(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := one.Chat(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := one.Echo(within(t, 10*time.Second), &echov1.EchoRequest{Message: "slow"})
		ended <- err
	}()
	<-impl.begun
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	close(impl.answer)
	if err := <-ended; err != nil {
		t.Errorf("a call that had begun: %v", err)
	}
	if _, err := one.Echo(t.Context(), &echov1.EchoRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("a call by a Conn that was closed: %v", err)
	}
	if _, err := ours.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("the stream ended with %v", err)
	}
	if _, err := one.Chat(t.Context()); status.Code(err) != codes.Canceled {
		t.Errorf("a stream by a Conn that was closed: %v", err)
	}
	if err := theirs.Send(&echov1.ChatRequest{Message: "on"}); err != nil {
		t.Error(err)
	}
	if resp, err := theirs.Recv(); err != nil || resp.GetMessage() != "on" {
		t.Errorf("the stream of the other heard %q, %v", resp.GetMessage(), err)
	}
	if n := lis.n.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestDialAndCloseAtOnce: whoever comes and goes, nothing is left and nobody is
// cut off.
func TestDialAndCloseAtOnce(t *testing.T) {
	dir, reg := shortDir(t), &counted{}
	serveEcho(t, echo{}, easyops.WithRegistry("local:"+dir), easyops.WithDrainDelay(0))
	common := apart(easyops.WithRegistry(reg.open(dir)))
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			client, conn, err := echov1.DialEchoService(common)
			if err != nil {
				t.Error(err)
				return
			}
			if i%10 == 0 {
				if _, err := client.Echo(within(t, 30*time.Second), &echov1.EchoRequest{}); err != nil {
					t.Error(err)
				}
			}
			if i%7 == 0 {
				all.Go(func() { conn.Close() })
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if o, c, w := reg.opened.Load(), reg.closed.Load(), reg.watching.Load(); o != c || w != 0 {
		t.Errorf("%d registries were opened, %d closed, %d are watched", o, c, w)
	}
	if n := reg.opened.Load(); n > 900 {
		t.Errorf("%d of 1000 Conns had a registry of their own", n)
	}
}

// TestFaultsAreNotShared: who dials when all is right again has no part in what
// was wrong, and while it is wrong each is told.
func TestFaultsAreNotShared(t *testing.T) {
	dir := easyops.WithRegistry("local:" + shortDir(t))
	serveEcho(t, &hearing{}, openly(dir)...)
	file := filepath.Join(t.TempDir(), "token")
	common := apart(dir, easyops.WithServiceToken(file))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if conn, err := easyops.Dial(echoName, common); err == nil {
				conn.Close()
				t.Error("dialled")
			} else if !strings.Contains(err.Error(), file) {
				t.Errorf("told %v", err)
			}
		})
	}
	all.Wait()
	if err := os.WriteFile(file, []byte("svc"), 0o600); err != nil {
		t.Fatal(err)
	}
	say(t, dialEcho(t, common), "hi")
}
