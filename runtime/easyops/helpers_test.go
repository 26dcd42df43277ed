package easyops_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

// echo implements the example's service.
type echo struct {
	echov1.UnimplementedEchoServiceServer
}

func (echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

// Chat answers until the caller or the server wants the stream to end.
func (echo) Chat(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&echov1.ChatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
}

// echoService is all that most tests serve.
func echoService() []easyops.Service {
	return []easyops.Service{echov1.BindEchoServiceServer(echo{})}
}

// startEcho serves echo for a test.
func startEcho(t *testing.T, opts ...easyops.ServerOption) *easyopstest.Server {
	t.Helper()
	return easyopstest.StartStandalone(t, echoService(), opts...)
}

// apart keeps a server or a client away from flags, environment and registry.
func apart(opts ...easyops.Option) easyops.Option {
	return easyops.WithOptions(append([]easyops.Option{
		easyops.WithFlags(nil), easyops.WithRegistry("none"), easyops.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)...)
}

// startFault starts what cannot be started and returns the error.
func startFault(t *testing.T, services []easyops.Service, opts ...easyops.ServerOption) error {
	t.Helper()
	s, err := easyops.Start(services, append([]easyops.ServerOption{apart()}, opts...)...)
	if err == nil {
		s.Shutdown(t.Context())
		t.Fatal("the server was started")
	}
	if s != nil {
		t.Errorf("a server came with the error %v", err)
	}
	return err
}

// mustContain looks for each of the texts.
func mustContain(t *testing.T, s string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(s, text) {
			t.Errorf("no %q in:\n%.2000s", text, s)
		}
	}
}

// dialEcho returns a client that is closed at the end of the test.
func dialEcho(t *testing.T, opts ...easyops.DialOption) echov1.EchoServiceClient {
	t.Helper()
	client, conn, err := echov1.DialEchoService(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client
}

// say calls Echo and expects to hear the same.
func say(t *testing.T, client echov1.EchoServiceClient, message string) {
	t.Helper()
	resp, err := client.Echo(within(t, 10*time.Second), &echov1.EchoRequest{Message: message})
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetMessage() != message {
		t.Errorf("heard %q, want %q", resp.GetMessage(), message)
	}
}

// within returns a context for something that must not take longer.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// get asks for a URL as curl would, over a connection of its own.
func get(t *testing.T, url string, change ...func(*http.Request)) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t, 10*time.Second), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "curl/8.0")
	for _, f := range change {
		f(req)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// logs keeps what is logged.
type logs struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// logger logs everything down to debug.
func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// with returns the lines that have the message.
func (l *logs) with(t *testing.T, message string) (lines []map[string]any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(l.String()))
	for d.More() {
		var line map[string]any
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line["msg"] == message {
			lines = append(lines, line)
		}
	}
	return lines
}

// withToken sends a token with each call.
type withToken struct{ grpc.ClientConnInterface }

func (c withToken) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.ClientConnInterface.Invoke(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer canary"), method, args, reply, opts...)
}
