package life

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

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

const (
	callers = 100
	streams = 5

	// pause lies between two calls of a caller, so that what is tested is the
	// restart and not how much the machine can bear.
	pause = 10 * time.Millisecond
	// held is how long a Collect call is open at least, so that there are
	// always some in flight.
	held = 50 * time.Millisecond
)

// load calls a client until it is stopped, and counts what came of it.
type load struct {
	client echov1.EchoServiceClient
	stop   chan struct{}
	wg     sync.WaitGroup

	mu                    sync.Mutex
	echoes, collects      tally
	told, finished, broke int // streams ended by the server's status, by us, and otherwise
	reasons               map[string]int
}

// tally counts the calls of a method.
type tally struct {
	method           string
	answered, failed int
}

// startLoad begins to call: half of the callers with Echo, which clients may
// call again on another instance, half with Collect, which they must not.
func startLoad(client echov1.EchoServiceClient) *load {
	l := &load{client: client, stop: make(chan struct{}), reasons: map[string]int{}}
	l.echoes.method, l.collects.method = "Echo", "Collect"
	for i := range callers {
		if i%2 == 0 {
			l.wg.Go(func() { l.call(&l.echoes, l.echo) })
		} else {
			l.wg.Go(func() { l.call(&l.collects, l.collect) })
		}
	}
	for range streams {
		l.wg.Go(l.chats)
	}
	return l
}

// end ends the load, waits for the calls in flight and reports.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	for _, c := range []tally{l.echoes, l.collects} {
		t.Logf("%-8s %d answered, %d failed", c.method, c.answered, c.failed)
	}
	t.Logf("streams  %d ended by the server's status, %d by us, %d broken", l.told, l.finished, l.broke)
	for _, reason := range slices.Sorted(maps.Keys(l.reasons)) {
		t.Logf("%6d x %s", l.reasons[reason], reason)
	}
}

// await waits until n more calls have been answered, so that what follows
// happens under load.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	enough := l.answered() + n
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if l.answered() >= enough {
			return
		}
	}
	l.end(t)
	t.Fatalf("%d calls were not answered in %v", n, patience)
}

func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.echoes.answered + l.collects.answered
}

func (l *load) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *load) call(tally *tally, do func(context.Context) error) {
	for !l.stopped() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		err := do(ctx)
		cancel()
		l.count(tally, err)
		time.Sleep(pause)
	}
}

func (l *load) count(tally *tally, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		tally.answered++
		return
	}
	tally.failed++
	l.reasons[tally.method+": "+reason(err)]++
}

// failed is how many calls were not answered.
func (l *load) failed() int { return l.echoes.failed + l.collects.failed }

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

func (l *load) echo(ctx context.Context) error {
	resp, err := l.client.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
	if err == nil && resp.GetMessage() != "hi" {
		err = fmt.Errorf("answer %q", resp.GetMessage())
	}
	return err
}

func (l *load) collect(ctx context.Context) error {
	stream, err := l.client.Collect(ctx)
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
			time.Sleep(pause)
		}
	}
}

// chat talks until the load is stopped or the stream ends. An end that we did
// not ask for is an error, io.EOF where the status was OK.
func (l *load) chat() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := l.client.Chat(ctx)
	if err != nil {
		return err
	}
	for !l.stopped() {
		// Send has no reason of its own, Recv does.
		_ = stream.Send(&echov1.ChatRequest{Message: "hi"})
		if _, err := stream.Recv(); err != nil {
			return err
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
