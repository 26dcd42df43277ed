package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

const (
	// deadline of each call. It covers what a restart in place takes.
	deadline = 15 * time.Second
	// held is how long a Collect call is open at least, so that there are
	// always some in flight.
	held = 50 * time.Millisecond
)

// rate is how much a load calls.
type rate struct {
	callers int           // in closed loop, for each of three kinds of calls
	pause   time.Duration // between two calls of one of them
	every   time.Duration // between two calls of the open loop
	chats   int           // streams that are always open
}

// How much is called where the load itself is looked at, and where others run
// beside it.
var (
	strong = rate{callers: 15, pause: 10 * time.Millisecond, every: 5 * time.Millisecond, chats: 20}
	gentle = rate{callers: 4, pause: 25 * time.Millisecond, every: 25 * time.Millisecond, chats: 3}
)

// The kinds of calls of a load.
const (
	retried = "Echo"              // idempotent: clients call again
	once    = "Echo, once"        // with a client that does not
	open    = "Echo, once, timed" // begun by the clock, whatever comes of the others
	collect = "Collect"           // not idempotent, and open for a while
)

// failure is a call that was not answered.
type failure struct {
	kind  string
	begun time.Time
	peer  string // where it was, "" if it was nowhere
	err   error
}

// load calls a service until it is stopped, and keeps what came of it.
type load struct {
	retry, plain echov1.EchoServiceClient
	stop         chan struct{}
	wg           sync.WaitGroup

	mu                    sync.Mutex
	answered              map[string]int
	failures              []failure
	told, finished, broke int // streams ended by the server's status, by us, and otherwise
	reasons               map[string]int
}

// startLoad begins to call echo as a registry has it.
func startLoad(t *testing.T, r rate, opts ...easyops.DialOption) *load {
	t.Helper()
	return loadBy(t, r, dialEcho(t, opts...), dialEcho(t, append(opts, easyops.DialGRPC(grpc.WithDisableRetry()))...))
}

// loadBy begins to call by two clients, one that calls again and one that does
// not.
func loadBy(t *testing.T, r rate, retry, plain echov1.EchoServiceClient) *load {
	t.Helper()
	l := &load{retry: retry, plain: plain, stop: make(chan struct{}), answered: map[string]int{}, reasons: map[string]int{}}
	for range r.callers {
		l.wg.Go(func() { l.closed(retried, r.pause, echoBy(l.retry)) })
		l.wg.Go(func() { l.closed(once, r.pause, echoBy(l.plain)) })
		l.wg.Go(func() { l.closed(collect, r.pause, collectBy(l.plain)) })
	}
	l.wg.Go(func() { l.timed(r.every, echoBy(l.plain)) })
	for range r.chats {
		l.wg.Go(l.chats)
	}
	t.Cleanup(l.end)
	l.await(t, 20*r.callers)
	return l
}

// end ends the load and waits for the calls in flight.
func (l *load) end() {
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

// report ends the load and writes down what came of it.
func (l *load) report(t *testing.T) {
	t.Helper()
	l.end()
	failed := l.failedByKind()
	for _, kind := range []string{retried, once, open, collect} {
		t.Logf("%-18s %6d answered, %d failed", kind, l.answered[kind], len(failed[kind]))
	}
	t.Logf("streams: %d ended by the server's status, %d by us, %d broken", l.told, l.finished, l.broke)
	for _, reason := range slices.Sorted(maps.Keys(l.reasons)) {
		t.Logf("%6d x %s", l.reasons[reason], reason)
	}
}

// wantNoFailure ends the load and wants every call to be answered and every
// stream to end with a status.
func (l *load) wantNoFailure(t *testing.T) {
	t.Helper()
	l.report(t)
	if len(l.failures) > 0 {
		t.Errorf("%d calls failed", len(l.failures))
	}
	if l.broke > 0 {
		t.Errorf("%d streams ended without a status", l.broke)
	}
}

func (l *load) failedByKind() map[string][]failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds := map[string][]failure{}
	for _, f := range l.failures {
		kinds[f.kind] = append(kinds[f.kind], f)
	}
	return kinds
}

// total is how many unary calls were answered, and how many streams have ended.
func (l *load) total() (calls, ended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered[retried] + l.answered[once] + l.answered[open], l.told + l.finished + l.broke
}

// enough tells whether there was as much load as the test of a restart wants.
func (l *load) enough() bool {
	calls, ended := l.total()
	return calls >= unary && ended >= streams
}

// await waits until n more unary calls have been answered, so that what follows
// happens under load.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	before, _ := l.total()
	eventually(t, patience, fmt.Sprintf("%d more answers", n), func() bool {
		now, _ := l.total()
		return now >= before+n
	})
}

// do makes one call.
type do func(context.Context, ...grpc.CallOption) error

func (l *load) closed(kind string, pause time.Duration, do do) {
	for !l.stopped() {
		l.call(kind, do)
		time.Sleep(pause)
	}
}

// timed calls at fixed times.
func (l *load) timed(every time.Duration, do do) {
	clock := time.NewTicker(every)
	defer clock.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-clock.C:
			l.wg.Go(func() { l.call(open, do) })
		}
	}
}

func (l *load) call(kind string, do do) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var at peer.Peer
	begun := time.Now()
	err := do(ctx, grpc.Peer(&at))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.answered[kind]++
		return
	}
	f := failure{kind: kind, begun: begun, err: err}
	if at.Addr != nil {
		f.peer = at.Addr.String()
	}
	l.failures = append(l.failures, f)
	l.reasons[kind+": "+reason(err)]++
}

// reason is an error without what differs each time.
func reason(err error) string {
	fields := strings.Fields(err.Error())
	for i, f := range fields {
		if strings.Contains(f, "127.0.0.1:") {
			fields[i] = "ADDR"
		}
	}
	return strings.Join(fields, " ")
}

func echoBy(client echov1.EchoServiceClient) do {
	return func(ctx context.Context, opts ...grpc.CallOption) error {
		resp, err := client.Echo(ctx, &echov1.EchoRequest{Message: "hi"}, opts...)
		if err == nil && resp.GetMessage() != "hi" {
			err = fmt.Errorf("answer %q", resp.GetMessage())
		}
		return err
	}
}

func collectBy(client echov1.EchoServiceClient) do {
	return func(ctx context.Context, opts ...grpc.CallOption) error {
		stream, err := client.Collect(ctx, opts...)
		if err != nil {
			return err
		}
		for _, m := range []string{"a", "b"} {
			if stream.Send(&echov1.CollectRequest{Message: m}) != nil {
				break // CloseAndRecv has the reason
			}
			time.Sleep(held / 2)
		}
		resp, err := stream.CloseAndRecv()
		if err == nil && resp.GetMessage() != "a\nb" {
			err = fmt.Errorf("answer %q", resp.GetMessage())
		}
		return err
	}
}

// chats keeps one stream open, and opens it again when the server ends it.
func (l *load) chats() {
	for !l.stopped() {
		err := l.chat()
		l.mu.Lock()
		switch {
		case err == nil:
			l.finished++
		case toldByServer(err):
			l.told++
		default:
			l.broke++
			l.reasons["Chat: "+reason(err)]++
		}
		l.mu.Unlock()
		if err != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// chat talks until the load is stopped or the stream ends. An end that we did
// not ask for is an error, io.EOF where the status was OK.
func (l *load) chat() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := l.plain.Chat(ctx)
	if err != nil {
		return err
	}
	for !l.stopped() {
		_ = stream.Send(&echov1.ChatRequest{Message: "hi"}) // it has no reason of its own, Recv does
		if _, err := stream.Recv(); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err = stream.Recv(); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// toldByServer tells a status that the server sent from one that gRPC makes up
// for a connection that is gone. The texts are those of the example's handlers
// and of the runtime.
func toldByServer(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	s := status.Convert(err)
	return s.Code() == codes.Unavailable &&
		(s.Message() == "the server is draining, open the stream again" || s.Message() == "server draining")
}
