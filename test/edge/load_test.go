package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// deadline is that of each request, call and exchange.
const deadline = 15 * time.Second

// pause lies between two of one caller, so that what is tested is the restart and
// not how much the machine can bear.
const pause = 15 * time.Millisecond

// kind is one way to use what is behind the edge.
type kind struct {
	name    string
	callers int           // in closed loop
	every   time.Duration // in open loop, where it is not 0: begun by the clock, whatever comes of the others
	do      func(context.Context) error
}

// load uses what is behind the edge until it is stopped, and counts what came of
// it.
type load struct {
	stop chan struct{}
	wg   sync.WaitGroup

	mu                    sync.Mutex
	tallies               map[string]*tally
	told, finished, broke int // streams ended by a status of the server, by us, and otherwise
	breaks                map[string]int
}

// tally is what came of one kind.
type tally struct {
	answered, failed int
	reasons          map[string]int
}

// startLoad begins to use all kinds, and to keep streams open.
func startLoad(t *testing.T, streams int, client echov1.EchoServiceClient, kinds ...kind) *load {
	t.Helper()
	l := &load{stop: make(chan struct{}), tallies: map[string]*tally{}, breaks: map[string]int{}}
	for _, k := range kinds {
		l.tallies[k.name] = &tally{reasons: map[string]int{}}
		for range k.callers {
			l.wg.Go(func() { l.closed(k) })
		}
		if k.every > 0 {
			l.wg.Go(func() { l.timed(k) })
		}
	}
	for range streams {
		l.wg.Go(func() { l.chats(client) })
	}
	t.Cleanup(l.end)
	return l
}

// end ends the load and waits for what is in flight.
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

func (l *load) closed(k kind) {
	for !l.stopped() {
		l.once(k)
		time.Sleep(pause)
	}
}

func (l *load) timed(k kind) {
	clock := time.NewTicker(k.every)
	defer clock.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-clock.C:
			l.wg.Go(func() { l.once(k) })
		}
	}
}

func (l *load) once(k kind) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	err := k.do(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.tallies[k.name].answered++
		return
	}
	l.tallies[k.name].failed++
	l.tallies[k.name].reasons[reason(err)]++
}

// reason is an error without what differs each time.
func reason(err error) string {
	fields := strings.Fields(err.Error())
	for i, f := range fields {
		if strings.Contains(f, "127.0.0.1:") && !strings.Contains(f, "http") {
			fields[i] = "ADDR"
		}
	}
	return strings.Join(fields, " ")
}

// await waits until each kind has been answered n more times, so that what follows
// happens under load.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	before := l.answered()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		enough := true
		for name, now := range l.answered() {
			enough = enough && now >= before[name]+n
		}
		if enough {
			return
		}
	}
	l.report(t)
	t.Fatalf("not all kinds were answered %d times in %v", n, patience)
}

func (l *load) answered() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]int{}
	for name, tally := range l.tallies {
		n[name] = tally.answered
	}
	return n
}

// hasFailed tells whether a kind has failed whose name begins so.
func (l *load) hasFailed(group string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, tally := range l.tallies {
		if strings.HasPrefix(name, group) && tally.failed > 0 {
			return true
		}
	}
	return false
}

// report ends the load, writes down what came of it, and returns how much of each
// kind failed.
func (l *load) report(t *testing.T) (failed map[string]int) {
	t.Helper()
	l.end()
	failed = map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(l.tallies)) {
		tally := l.tallies[name]
		failed[name] = tally.failed
		t.Logf("%-18s %6d answered, %d failed", name, tally.answered, tally.failed)
		for _, reason := range slices.Sorted(maps.Keys(tally.reasons)) {
			t.Logf("%12d x %s", tally.reasons[reason], reason)
		}
	}
	t.Logf("streams: %d ended by a status of the server, %d by us, %d broken", l.told, l.finished, l.broke)
	for _, reason := range slices.Sorted(maps.Keys(l.breaks)) {
		t.Logf("%12d x %s", l.breaks[reason], reason)
	}
	return failed
}

// wantNoFailure ends the load. Everything must have been answered, and every
// stream must have ended with a status.
func (l *load) wantNoFailure(t *testing.T) {
	t.Helper()
	for name, n := range l.report(t) {
		if n > 0 {
			t.Errorf("%s: %d failed", name, n)
		}
	}
	if l.broke > 0 {
		t.Errorf("%d streams ended without a status", l.broke)
	}
}

// chats keeps one stream open, and opens it again when the server ends it.
func (l *load) chats(client echov1.EchoServiceClient) {
	for !l.stopped() {
		err := l.chat(client)
		l.mu.Lock()
		switch {
		case err == nil:
			l.finished++
		case toldByServer(err):
			l.told++
		default:
			l.broke++
			l.breaks[reason(err)]++
		}
		l.mu.Unlock()
		if err != nil {
			time.Sleep(pause)
		}
	}
}

// chat talks until the load is stopped or the stream ends. An end that we did not
// ask for is an error, io.EOF where the status was OK.
func (l *load) chat(client echov1.EchoServiceClient) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := client.Chat(ctx)
	if err != nil {
		return err
	}
	for !l.stopped() {
		_ = stream.Send(&echov1.ChatRequest{Message: "hi"}) // it has no reason of its own, Recv does
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

// toldByServer tells a status that a server sent from one that gRPC makes up for a
// connection that is gone. The texts are those of the backend's handler and of the
// runtime.
func toldByServer(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	s := status.Convert(err)
	return s.Code() == codes.Unavailable &&
		(s.Message() == "the server is draining, open the stream again" || s.Message() == "server draining")
}

// exchange is a connection to the TCP service: two lines, there and back.
func exchange(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if end, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(end)
		}
		for _, line := range []string{"first\n", "second\n"} {
			got := make([]byte, len(line))
			if _, err := io.WriteString(conn, line); err != nil {
				return err
			}
			if n, err := io.ReadFull(conn, got); err != nil || string(got) != line {
				return fmt.Errorf("after %s got %q: %w", line, got[:n], err)
			}
			time.Sleep(pause)
		}
		return nil
	}
}
