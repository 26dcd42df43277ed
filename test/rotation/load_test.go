package rotation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

const (
	clients = 10 // each with a connection and callers callers
	callers = 5

	// pause lies between two calls of a caller, so that what is tested is the
	// rotation and not how much the machine can bear.
	pause = 50 * time.Millisecond
	// timeout is that of a call that is not a stream for the whole test.
	timeout = 15 * time.Second
)

// load calls a server in all ways until it is ended, and counts what came of it.
// Of the callers of a client two call Echo, one Collect, one talks in one Chat
// from the beginning to the end, and one connects anew for each call.
type load struct {
	stop chan struct{}
	wg   sync.WaitGroup

	mu       sync.Mutex
	answered map[string]int
	errors   map[string]int
}

// startLoad calls with clients that are configured in turn as the groups say.
func startLoad(t *testing.T, groups ...[]easyops.DialOption) *load {
	t.Helper()
	l := &load{stop: make(chan struct{}), answered: map[string]int{}, errors: map[string]int{}}
	var conns []*easyops.Conn
	for i := range clients {
		opts := alone(groups[i%len(groups)])
		client, conn, err := echov1.DialEchoService(opts...)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		name := func(kind string) string { return fmt.Sprintf("client %d, %s", i%len(groups), kind) }
		for _, c := range [callers]struct {
			kind string
			do   func(context.Context) error
		}{
			{"unary", func(ctx context.Context) error { return echo(ctx, client) }},
			{"unary", func(ctx context.Context) error { return echo(ctx, client) }},
			{"stream", func(ctx context.Context) error { return collect(ctx, client) }},
			{"anew", func(ctx context.Context) error { return anew(ctx, opts) }},
			{kind: "long stream"},
		} {
			if c.do == nil {
				l.wg.Go(func() { l.count(name(c.kind), l.chat(client)) })
				continue
			}
			l.wg.Go(func() { l.repeat(name(c.kind), c.do) })
		}
	}
	t.Cleanup(func() { // where the test fails before the end
		l.close()
		for _, c := range conns {
			c.Close()
		}
	})
	return l
}

func (l *load) close() {
	if !l.stopped() {
		close(l.stop)
	}
	l.wg.Wait()
}

func (l *load) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *load) repeat(kind string, do func(context.Context) error) {
	for !l.stopped() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		l.count(kind, do(ctx))
		cancel()
		time.Sleep(pause)
	}
}

func (l *load) count(kind string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.answered[kind]++
		return
	}
	s := status.Convert(err)
	l.errors[fmt.Sprintf("%s: %s: %.300s", kind, s.Code(), s.Message())]++
}

// totals returns how many calls were answered and how many failed.
func (l *load) totals() (answered, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.answered {
		answered += n
	}
	for _, n := range l.errors {
		failed += n
	}
	return answered, failed
}

// pass waits until clients must have seen what was changed at a time, as they
// look at their files once a second, and until as many calls as there are callers
// have ended after that.
func (l *load) pass(t *testing.T, changed time.Time) {
	t.Helper()
	time.Sleep(time.Until(changed.Add(1100 * time.Millisecond)))
	answered, failed := l.totals()
	enough := answered + failed + clients*callers
	for end := time.Now().Add(patience); answered+failed < enough; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the callers do not get on: %d of %d calls", answered+failed, enough)
		}
		answered, failed = l.totals()
	}
}

// end ends the load and wants that no call has failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.close()
	for _, kind := range slices.Sorted(maps.Keys(l.answered)) {
		t.Logf("%-22s %6d answered", kind, l.answered[kind])
	}
	for _, reason := range slices.Sorted(maps.Keys(l.errors)) {
		t.Errorf("%d x %s", l.errors[reason], reason)
	}
	answered, failed := l.totals()
	t.Logf("%d calls of %d callers answered, %d failed", answered, clients*callers, failed)
}

func echo(ctx context.Context, client echov1.EchoServiceClient) error {
	answer, err := client.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
	if err == nil && answer.GetMessage() != "hi" {
		err = fmt.Errorf("answer %q", answer.GetMessage())
	}
	return err
}

func collect(ctx context.Context, client echov1.EchoServiceClient) error {
	stream, err := client.Collect(ctx)
	if err != nil {
		return err
	}
	for _, m := range []string{"a", "b"} {
		if stream.Send(&echov1.CollectRequest{Message: m}) != nil {
			break // CloseAndRecv has the reason
		}
		time.Sleep(pause)
	}
	answer, err := stream.CloseAndRecv()
	if err == nil && answer.GetMessage() != "a\nb" {
		err = fmt.Errorf("answer %q", answer.GetMessage())
	}
	return err
}

// alone returns options for clients that share their connections with nobody.
func alone(opts []easyops.DialOption) []easyops.DialOption {
	return append(slices.Clip(opts), easyops.DialGRPC(grpc.WithUserAgent("alone")))
}

// anew connects, calls and goes away.
func anew(ctx context.Context, opts []easyops.DialOption) error {
	pairs.RLock()
	client, conn, err := echov1.DialEchoService(opts...)
	pairs.RUnlock()
	if err != nil {
		return err
	}
	defer conn.Close()
	return echo(ctx, client)
}

// chat talks in one stream until the load ends.
func (l *load) chat(client echov1.EchoServiceClient) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := client.Chat(ctx)
	if err != nil {
		return err
	}
	for !l.stopped() {
		_ = stream.Send(&echov1.ChatRequest{Message: "hi"}) // Recv has the reason
		if _, err := stream.Recv(); err != nil {
			return fmt.Errorf("in the middle: %w", err)
		}
		time.Sleep(2 * pause)
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err = stream.Recv(); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
