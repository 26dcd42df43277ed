package edge

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// as is a context of somebody's calls.
func as(t testing.TB, user string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-"+user)
}

// Who cancels many calls ends nobody else's: the service would close the connection.
func TestCancelsOfOthers(t *testing.T) {
	p := newPlace(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})}, easyops.WithLimits(easyops.Limits{Resets: 500}))
	e := p.edge("grpc:\n- {service: \"*\"}\n")
	victim, err := echov1.NewEchoServiceClient(connect(t, e.Addr())).Chat(as(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	say := func() error {
		if err := victim.Send(&echov1.ChatRequest{Message: "x"}); err != nil {
			return err
		}
		_, err := victim.Recv()
		return err
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var refused atomic.Int64
	for range 2 {
		c := echov1.NewEchoServiceClient(connect(t, e.Addr()))
		for range 10 {
			all.Go(func() {
				for range 50 {
					if cancelOne(as(t, "bob"), c) != nil {
						refused.Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	if n := refused.Load(); n > 0 {
		t.Errorf("%d calls were refused", n)
	}
	if err := say(); err != nil {
		t.Errorf("the call of somebody else: %v", err)
	}
}

// cancelOne cancels a call that the service has begun.
func cancelOne(ctx context.Context, c echov1.EchoServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.Chat(ctx)
	if err == nil {
		err = s.Send(&echov1.ChatRequest{Message: "x"})
	}
	if err == nil {
		_, err = s.Recv()
	}
	return err
}

// Who has as many calls as one may have is told so, and others have theirs.
func TestCallsOfOneCaller(t *testing.T) {
	p := newPlace(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})})
	e := p.edge("grpc:\n- {service: echo.v1.EchoService}\n")
	for range maxCalls {
		if _, err := e.table.clients.shares.begin(`user "" "bob"`); err != nil {
			t.Fatal(err)
		}
	}
	c := echov1.NewEchoServiceClient(connect(t, e.Addr()))
	if _, err := sayTo(as(t, "bob"), c, "hello"); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "end some first") {
		t.Error(err)
	}
	if _, err := sayTo(as(t, "alice"), c, "hello"); err != nil {
		t.Error(err)
	}
}

// A service all of whose connections are full is not one that cannot be reached.
func TestServiceIsFull(t *testing.T) {
	p := newPlace(t)
	s := echoServer{began: make(chan struct{}), ended: make(chan error, 1)}
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(s)}, easyops.WithGRPC(grpc.MaxConcurrentStreams(1)))
	e := p.edge("grpc:\n- {service: echo.v1.EchoService, connect_timeout: 1s}\n")
	c := echov1.NewEchoServiceClient(connect(t, e.Addr()))
	ctx, cancel := context.WithCancel(as(t, "alice"))
	first := make(chan error, 1)
	go func() { _, err := sayTo(ctx, c, "wait"); first <- err }()
	select {
	case <-s.began:
	case err := <-first:
		t.Fatal(err)
	}
	defer func() { cancel(); <-first }()
	k, err := e.table.clients.take("echo.v1.EchoService")
	if err != nil {
		t.Fatal(err)
	}
	defer k.drop()
	k.mu.Lock()
	busy := k.conns[0]
	for len(k.conns) < maxConns { // the others are the same, with as many calls
		k.conns = append(k.conns, &conn{Conn: busy.Conn, calls: perConn})
	}
	busy.calls += perConn
	k.mu.Unlock()
	// The first may come before the edge knows how many calls the server takes.
	await(t, "a call that is one too many", func() bool {
		ctx, cancel := context.WithTimeout(as(t, "bob"), 3*time.Second)
		defer cancel()
		_, err := sayTo(ctx, c, "hello")
		return status.Code(err) == codes.ResourceExhausted
	})
}

// The bound of a route is that of messages as they are, not of how they are sent, and
// of the route, not of all of them.
func TestLongMessagesOfOneRoute(t *testing.T) {
	p := newPlace(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})})
	e := p.edge("grpc:\n- {service: echo.v1.EchoService, max_message: 1000}\n- {service: other.v1.Service, max_message: 1MiB}\n")
	c := echov1.NewEchoServiceClient(connect(t, e.Addr()))
	for name, opts := range map[string][]grpc.CallOption{"as it is": nil, "compressed": {grpc.UseCompressor("gzip")}} {
		if _, err := sayTo(as(t, "alice"), c, strings.Repeat("x", 100_000), opts...); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "longer than the 1000 that") {
			t.Errorf("%s: %.200v", name, err)
		}
		if _, err := sayTo(as(t, "alice"), c, strings.Repeat("x", 900), opts...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// elsewhere is a registry that others write to as well.
type elsewhere struct{ registry.Registry }

// A token goes to no port that anybody may have listed, on this machine either.
func TestTokensAndStrangers(t *testing.T) {
	p := newPlace(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})})
	e := p.edge("grpc:\n- {service: echo.v1.EchoService, allow: EVERYONE}\n")
	c := echov1.NewEchoServiceClient(connect(t, e.Addr()))
	if _, err := sayTo(as(t, "alice"), c, "hello"); err != nil {
		t.Errorf("by the local registry: %v", err)
	}
	e.table.config.Registry = elsewhere{e.table.config.Registry}
	if _, err := sayTo(as(t, "alice"), c, "hello"); status.Code(err) != codes.Unavailable {
		t.Errorf("by another one: %v", err)
	}
	if _, err := sayTo(t.Context(), c, "hello"); status.Code(err) != codes.Unauthenticated { // by the service itself
		t.Errorf("without a token: %v", err)
	}
	if !strings.Contains(p.log.text(), "-easyops.tls-ca") {
		t.Error("the log does not say what to do")
	}
}

// hoarder never reads, and says how much it has sent.
type hoarder struct {
	echoServer
	sent *atomic.Int64
}

func (h hoarder) Chat(s grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
	<-s.Context().Done()
	return nil
}

func (h hoarder) Repeat(r *echov1.RepeatRequest, s grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	for range r.GetCount() {
		if err := s.Send(&echov1.RepeatResponse{Message: r.GetMessage()}); err != nil {
			return err
		}
		h.sent.Add(int64(len(r.GetMessage())))
	}
	return nil
}

// What nobody reads does not pile up in the edge, however fast its connections were.
func TestUnreadCalls(t *testing.T) {
	p := newPlace(t)
	static := []grpc.ServerOption{grpc.StaticStreamWindowSize(64 << 10), grpc.StaticConnWindowSize(1 << 20)}
	h := hoarder{sent: new(atomic.Int64)}
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(h)}, easyops.WithGRPC(static...))
	e := p.edge("grpc:\n- {service: echo.v1.EchoService}\n")
	c := echov1.NewEchoServiceClient(connect(t, e.Addr(), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(1<<20)))
	text := strings.Repeat("x", 32<<10)
	ctx, cancel := context.WithCancel(as(t, "alice"))
	defer cancel()
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() { hurry(t, ctx, c, text) })
	}
	all.Wait()

	h.sent.Store(0)
	if _, err := c.Repeat(ctx, &echov1.RepeatRequest{Message: text, Count: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	const bound = 1 << 20 // it was 16 MiB
	if n := settled(t, h.sent); n > bound {
		t.Errorf("an answer that nobody reads: %d KiB are on the way", n>>10)
	}
	s, err := c.Chat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	var sender sync.WaitGroup
	sender.Go(func() {
		for s.Send(&echov1.ChatRequest{Message: text}) == nil {
			sent.Add(int64(len(text)))
		}
	})
	if n := settled(t, &sent); n > bound {
		t.Errorf("a request that nobody reads: %d KiB are on the way", n>>10)
	}
	cancel()
	sender.Wait()
}

// hurry sends much in both directions, by which windows grow that may.
func hurry(t *testing.T, ctx context.Context, c echov1.EchoServiceClient, text string) {
	t.Helper()
	up, err := c.Collect(ctx)
	for n := 0; n < 60 && err == nil; n++ {
		err = up.Send(&echov1.CollectRequest{Message: text})
	}
	if err == nil {
		err = up.Send(&echov1.CollectRequest{Message: "enough"})
	}
	if err == nil {
		_, err = up.CloseAndRecv()
	}
	if status.Code(err) != codes.OutOfRange {
		t.Error(err)
		return
	}
	down, err := c.Repeat(ctx, &echov1.RepeatRequest{Message: text, Count: 60})
	for n := 0; n < 60 && err == nil; n++ {
		_, err = down.Recv()
	}
	if err != nil {
		t.Error(err)
	}
}

// settled returns what a count is when it grows no more.
func settled(t *testing.T, n *atomic.Int64) (last int64) {
	t.Helper()
	since := time.Now()
	for begun := since; time.Since(begun) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if now := n.Load(); now != last {
			last, since = now, time.Now()
		}
		if last > 0 && time.Since(since) > 300*time.Millisecond {
			return last
		}
	}
	t.Fatal("nothing was sent, or it never ends")
	return 0
}
