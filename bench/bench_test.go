package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	plaintext "google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/go-easyops/easyops/bench/grpcgo"
	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// inMemory are the servers of the benchmarks, each over a listener in memory,
// and whether they are called with a token.
var inMemory = []struct {
	name  string
	serve func(t testing.TB, lis net.Listener, auth string)
	token bool
}{
	{bare, func(t testing.TB, lis net.Listener, _ string) { serveBare(t, lis) }, false},
	{bareAgain, func(t testing.TB, lis net.Listener, _ string) { serveBare(t, lis) }, false},
	{barePresented, func(t testing.TB, lis net.Listener, _ string) { serveBare(t, lis) }, true},
	{tuned, func(t testing.TB, lis net.Listener, _ string) { serveBare(t, lis, grpcgo.Options()...) }, false},
	{ours, func(t testing.TB, lis net.Listener, _ string) { serveOurs(t, lis) }, false},
	{nobody, func(t testing.TB, lis net.Listener, _ string) { serveOurs(t, lis, nobody) }, true},
	{identity, func(t testing.TB, lis net.Listener, auth string) { serveOurs(t, lis, auth) }, true},
}

// What is run is what the report looks for.
func TestBenchmarksAreReported(t *testing.T) {
	var names []string
	for _, s := range inMemory {
		names = append(names, s.name)
	}
	if !slices.Equal(names, memoryServers) {
		t.Errorf("benchmarks are of %q, the report has %q", names, memoryServers)
	}
	text, err := os.ReadFile("bench_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\nfunc Benchmark"); n != len(memoryKinds) {
		t.Errorf("there are %d benchmarks, the report has %q", n, memoryKinds)
	}
	for _, k := range memoryKinds {
		if !strings.Contains(string(text), "\nfunc Benchmark"+k+"(") {
			t.Errorf("there is no benchmark %s", k)
		}
	}
	r := &report{Memory: map[string]*memory{}}
	if err := readBenchmarks([]byte("BenchmarkChat/bare_again-2 1 2 ns/op 3 B/op 4 allocs/op\n"), r.Memory); err != nil {
		t.Fatal(err)
	}
	if m := r.memoryOf("Chat", bareAgain); m == nil || m.Allocs[0] != 4 {
		t.Errorf("of %q there is %+v", bareAgain, m)
	}
}

func serveBare(t testing.TB, lis net.Listener, opts ...grpc.ServerOption) {
	s := grpcgo.Server(nil, registerEcho, opts...)
	done := make(chan error, 1)
	go func() { done <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
}

func serveOurs(t testing.TB, lis net.Listener, auth ...string) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil)) //nolint:sloglint // writing the lines is part of the cost
	opts := []easyops.ServerOption{easyops.WithFlags(nil), easyops.WithListener(lis), easyops.WithRegistry("none"), easyops.WithLogger(log)}
	if len(auth) > 0 {
		opts = append(opts, easyops.WithAuth(auth...))
	}
	s, err := echov1.StartEchoServiceServer(echo{}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nobody waits for what is in flight
		_ = s.Shutdown(ctx)
	})
}

func clientInMemory(t testing.TB, lis *bufconn.Listener) echov1.EchoServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+serverName, grpc.WithTransportCredentials(plaintext.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return echov1.NewEchoServiceClient(conn)
}

// benchmark measures calls, and what client and server together allocate.
func benchmark(b *testing.B, k kind) {
	spec, token, err := writeKeys(filepath.Join(b.TempDir(), "keys.json"))
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range inMemory {
		b.Run(s.name, func(b *testing.B) {
			lis, ctx := bufconn.Listen(64<<10), context.Background()
			if s.token {
				ctx = presenting(token)
			}
			s.serve(b, lis, spec)
			call := callOf(ctx, clientInMemory(b, lis), k)
			if err := call(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUnary(b *testing.B)  { benchmark(b, unary) }
func BenchmarkStream(b *testing.B) { benchmark(b, serverStream) }
func BenchmarkChat(b *testing.B)   { benchmark(b, pingPong) }
