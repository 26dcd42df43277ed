package mistakes

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// server is one of the mistakes, in a registry of its own.
type server struct {
	*easyops.Server
	url string // of the registry
	log *causes
}

func start(t *testing.T, opts ...easyops.ServerOption) (*server, error) {
	return startAs(t, echo{}, opts...)
}

func mustStart(t *testing.T, opts ...easyops.ServerOption) *server {
	t.Helper()
	return serveAs(t, echo{}, opts...)
}

func serveAs(t *testing.T, impl echov1.EchoServiceServer, opts ...easyops.ServerOption) *server {
	t.Helper()
	s, err := startAs(t, impl, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func startAs(t *testing.T, impl echov1.EchoServiceServer, opts ...easyops.ServerOption) (*server, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "easyops-") // names of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{url: "local:" + dir, log: new(causes)}
	all := []easyops.ServerOption{
		easyops.WithFlags(nil), easyops.WithRegistry(s.url), easyops.WithLogger(slog.New(s.log)),
		easyops.WithAddr("127.0.0.1:0"), easyops.WithDrainDelay(0),
	}
	s.Server, err = echov1.StartEchoServiceServer(impl, append(all, opts...)...)
	if err == nil {
		t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	}
	return s, err
}

// dial returns a client of the server.
func (s *server) dial(t *testing.T, opts ...easyops.DialOption) echov1.EchoServiceClient {
	t.Helper()
	all := []easyops.DialOption{
		easyops.WithFlags(nil), easyops.WithRegistry(s.url), easyops.WithLogger(slog.New(slog.DiscardHandler)),
	}
	client, conn, err := echov1.DialEchoService(append(all, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client
}

// call makes one, and returns what the caller and the server's log say of it.
func (s *server) call(t *testing.T, opts ...easyops.DialOption) said {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := s.dial(t, opts...)
	_, err := client.Echo(ctx, &echov1.EchoRequest{}, grpc.WaitForReady(false))
	for ctx.Err() == nil && isEarly(err) {
		time.Sleep(10 * time.Millisecond)
		_, err = client.Echo(ctx, &echov1.EchoRequest{}, grpc.WaitForReady(false))
	}
	got := failed("caller", err)
	if cause := s.log.cause(); cause != "" && got != nil {
		got["log"] = cause
	}
	return got
}

// isEarly tells whether the registry has not listed the server yet.
func isEarly(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "lists no instance") || strings.Contains(err.Error(), "has not been read yet"))
}

// failed says what an error does, or nothing.
func failed(kind string, err error) said {
	if err == nil {
		return nil
	}
	return said{kind: err.Error()}
}

type echo struct {
	echov1.UnimplementedEchoServiceServer
}

func (echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

// passingOn answers with what the next server does.
type passingOn struct {
	echov1.UnimplementedEchoServiceServer
	next       echov1.EchoServiceClient
	background bool // which is the mistake
}

func (p passingOn) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	if p.background {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.Background(), patience)
		defer cancel()
	}
	return p.next.Echo(ctx, req)
}

// causes keeps why calls ended as they did, of a server's log.
type causes struct {
	mu   sync.Mutex
	last string
}

func (c *causes) cause() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *causes) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "call" && a.Key == "err" {
			c.mu.Lock()
			c.last = a.Value.String()
			c.mu.Unlock()
		}
		return true
	})
	return nil
}

func (*causes) Enabled(context.Context, slog.Level) bool { return true }
func (c *causes) WithAttrs([]slog.Attr) slog.Handler     { return c }
func (c *causes) WithGroup(string) slog.Handler          { return c }
