//go:build real

package frontproxies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
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
	deadline = 15 * time.Second // of each request, call and exchange
	callers  = 3                // of each kind, in closed loop
	streams  = 5                // that are always open
	pause    = 10 * time.Millisecond
)

// The kinds of a load.
const (
	gets    = "GET"               // on connections that are kept
	fresh   = "GET, new each"     // each on a connection of its own
	posts   = "POST"              // on connections that are kept, of what cannot be sent again
	seldom  = "POST, seldom"      // the same, seconds apart
	multi   = "POST, HTTP/2"      // by one connection; what GOAWAY says was not served is sent again
	unary   = "Echo"              // by one connection
	dialled = "Echo, new each"    // each by a connection of its own
	bytes2  = "TCP, new each"     // two lines, there and back
	stream  = "Chat, open always" // until the server ends it
)

// load uses all that a front leads to until it is stopped, and counts what came of
// it.
type load struct {
	stop chan struct{}
	wg   sync.WaitGroup

	mu                    sync.Mutex
	answered              map[string]int
	failed                map[string]map[string]int // reasons
	told, finished, broke int                       // streams ended by a status of the server, by us, and otherwise
}

func startLoad(t *testing.T, f *front) *load {
	t.Helper()
	l := &load{stop: make(chan struct{}), answered: map[string]int{}, failed: map[string]map[string]int{}}
	url, echo := "https://"+f.addr+"/", f.dial(t)
	for kind, do := range map[string]func(context.Context) error{
		gets:    get(f.client(t, false, true), url),
		fresh:   get(f.client(t, false, false), url),
		posts:   post(f.client(t, false, true), url),
		multi:   postAgain(f.client(t, true, true), url),
		unary:   echoBy(echo),
		dialled: f.echoAnew,
		bytes2:  exchange(f.lines),
	} {
		for range callers {
			l.wg.Go(func() { l.closed(kind, do, func() time.Duration { return pause }) })
		}
	}
	rare := post(f.client(t, false, true), url)
	for range 5 * callers {
		l.wg.Go(func() {
			l.closed(seldom, rare, func() time.Duration { return time.Duration(4.5 * rand.Float64() * float64(time.Second)) })
		})
	}
	client := f.dial(t)
	for range streams {
		l.wg.Go(func() { l.chats(client) })
	}
	t.Cleanup(l.end)
	l.await(t, 20)
	return l
}

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

func (l *load) closed(kind string, do func(context.Context) error, pause func() time.Duration) {
	for !l.stopped() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		l.count(kind, do(ctx))
		cancel()
		select {
		case <-l.stop:
		case <-time.After(pause()):
		}
	}
}

func (l *load) count(kind string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.answered[kind]++
		return
	}
	if l.failed[kind] == nil {
		l.failed[kind] = map[string]int{}
	}
	l.failed[kind][reason(err)]++
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

// await waits until each kind was answered n more times, so that what follows
// happens under load.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	count := func() map[string]int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return maps.Clone(l.answered)
	}
	before := count()
	eventually(t, "answers of all kinds", func() error {
		now := count()
		for _, kind := range []string{gets, fresh, posts, multi, unary, dialled, bytes2} {
			if now[kind] < before[kind]+n {
				return fmt.Errorf("%s: %d", kind, now[kind]-before[kind])
			}
		}
		return nil
	})
}

// report ends the load, writes down what came of it, and returns how much failed,
// streams that broke included.
func (l *load) report(t *testing.T) (failed int) {
	t.Helper()
	l.end()
	kinds := maps.Clone(l.answered)
	for kind := range l.failed {
		kinds[kind] += 0
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		bad := 0
		for _, n := range l.failed[kind] {
			bad += n
		}
		failed += bad
		t.Logf("%-16s %6d answered, %d failed", kind, l.answered[kind], bad)
		for _, why := range slices.Sorted(maps.Keys(l.failed[kind])) {
			t.Logf("%12d x %s", l.failed[kind][why], why)
		}
	}
	t.Logf("streams: %d ended by a status of the server, %d by us, %d broken", l.told, l.finished, l.broke)
	return failed
}

func get(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error { return request(ctx, client, http.MethodGet, url, nil) }
}

func post(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		// A reader of no type that net/http knows: it cannot send that again.
		return request(ctx, client, http.MethodPost, url, io.MultiReader(strings.NewReader("a body")))
	}
}

func postAgain(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		return request(ctx, client, http.MethodPost, url, strings.NewReader("a body"))
	}
}

func request(ctx context.Context, client *http.Client, method, url string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.ContentLength = int64(len("a body"))
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return err
}

func echoBy(client echov1.EchoServiceClient) func(context.Context) error {
	return func(ctx context.Context) error {
		resp, err := client.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
		if err == nil && resp.GetMessage() != "hi" {
			err = fmt.Errorf("answer %q", resp.GetMessage())
		}
		return err
	}
}

// echoAnew calls by a connection of its own.
func (f *front) echoAnew(ctx context.Context) error {
	conn, err := f.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	return echoBy(echov1.NewEchoServiceClient(conn))(ctx)
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
				return fmt.Errorf("after %q got %q: %w", line, got[:n], err)
			}
			time.Sleep(pause)
		}
		return nil
	}
}

// chats keeps one stream open, and opens it again when the server ends it.
func (l *load) chats(client echov1.EchoServiceClient) {
	for !l.stopped() {
		err := l.chat(client)
		switch {
		case err == nil:
			l.mu.Lock()
			l.finished++
			l.mu.Unlock()
		case toldByServer(err):
			l.mu.Lock()
			l.told++
			l.mu.Unlock()
		default:
			l.count(stream, err)
			l.mu.Lock()
			l.broke++
			l.mu.Unlock()
		}
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
