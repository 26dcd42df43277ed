package routing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/go-easyops/easyops/runtime/registry"
)

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(p)
	return len(p), nil
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.FieldsFunc(l.text, func(r rune) bool { return r == '\n' })
}

// await waits until the log has that many lines.
func (l *lines) await(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(l.all()) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has %q, want %d lines", l.all(), n)
		}
	}
}

// The log is told of an instance that is away although another one answers, and
// again when it was there in between.
func TestFailureBesideOthers(t *testing.T) {
	fine, away := startServer(t, "fine"), startServer(t, "away")
	away.stop()
	log := &lines{}
	c := dial(t, Config{
		Registry: newMemory(fine.instance(registry.Ready), away.instance(registry.Ready)), Logger: log.logger(),
	})
	want(t, c, "fine")
	log.await(t, 1)
	back := startServerAt(t, "back", away.addr, 0)
	want(t, c, "back")
	back.stop()
	log.await(t, 2)
	for _, line := range log.all() {
		if !strings.Contains(line, "peer="+away.addr) {
			t.Errorf("told %s", line)
		}
	}
}

// Ports and times are not news, and what is told is bounded.
func TestNews(t *testing.T) {
	f := &failures{}
	for i, tt := range []struct {
		cause string
		want  bool
	}{
		{"read tcp 127.0.0.1:5000->127.0.0.1:80: reset", true},
		{"read tcp 127.0.0.1:5001->127.0.0.1:80: reset", false},
		{"expired: current time 12:00:01", true},
		{"expired: current time 12:00:02", false},
	} {
		if got := f.isNews(tt.cause, "a"); got != tt.want {
			t.Errorf("%d: news %v, want %v", i, got, tt.want)
		}
	}
	told := 0
	for i := range 100 {
		if f.isNews(strings.Repeat("x", i+1), "a") {
			told++
		}
	}
	if told != maxTold-2 {
		t.Errorf("%d more were told, want %d", told, maxTold-2)
	}
}

// front is a service that calls another one for each of its calls.
func front(t *testing.T, next *Conn) string {
	t.Helper()
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: service, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Am", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := dec(&emptypb.Empty{}); err != nil {
				return nil, err
			}
			_, err := who(ctx, next)
			return &emptypb.Empty{}, err
		}}},
	}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

// Who sets a deadline gets to know why it was not met, also when the connection
// that cannot be made is that of the server it calls, with the same deadline.
func TestDeadlineTellsWhy(t *testing.T) {
	plain := startServer(t, "plain")
	secure := grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: x509.NewCertPool()}))
	broken := dial(t, Config{Registry: newMemory(plain.instance(registry.Ready))}, secure)
	nobody := dialTo(t, newMemory(), 0)
	for name, tt := range map[string]struct {
		conn *Conn
		want string
	}{
		"itself":                 {broken, "desc = tls: first record does not look like a TLS handshake"},
		"through another":        {dial(t, Config{Target: front(t, broken)}), "desc = tls: first record does not look like a TLS handshake"},
		"through another, empty": {dial(t, Config{Target: front(t, nobody)}), "lists no instance"},
	} {
		t.Run(name, func(t *testing.T) {
			const patience = time.Second
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			start := time.Now()
			_, err := who(ctx, tt.conn)
			wantStatus(t, err, codes.DeadlineExceeded, tt.want, service)
			if d := time.Since(start); d < patience*9/10-early/2 {
				t.Errorf("it gave up after %v", d)
			}
		})
	}
}

func TestGiveUp(t *testing.T) {
	start := time.Now()
	for _, tt := range []struct{ timeout, want time.Duration }{
		{time.Minute, time.Minute - early},
		{100 * time.Millisecond, 90 * time.Millisecond},
		{0, 0},
		{-time.Second, -time.Second},
	} {
		if got := giveUp(start, start.Add(tt.timeout)).Sub(start); got != tt.want {
			t.Errorf("with %v it gives up after %v, want %v", tt.timeout, got, tt.want)
		}
	}
}
