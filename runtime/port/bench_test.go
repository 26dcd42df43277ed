package port_test

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/port"
)

// BenchmarkUnary compares a call through the port with one to grpc-go's own Serve. Run it with
// -count: the two alternate.
func BenchmarkUnary(b *testing.B) {
	for _, tc := range []struct {
		name           string
		server, client *tls.Config
		serve          func(testing.TB, *tls.Config) string
	}{
		{"plain/direct", nil, nil, serveDirect},
		{"plain/port", nil, nil, servePort},
		{"TLS/direct", serverTLS(), clientTLS(), serveDirect},
		{"TLS/port", serverTLS(), clientTLS(), servePort},
	} {
		b.Run(tc.name, func(b *testing.B) {
			c := dial(b, tc.serve(b, tc.server), tc.client)
			req := request(strings.Repeat("x", 100))
			call(b, c, "warm")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.UnaryCall(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func serveDirect(tb testing.TB, cfg *tls.Config) string {
	creds := insecure.NewCredentials()
	if cfg != nil {
		creds = credentials.NewTLS(cfg)
	}
	lis := listen(tb)
	s := grpc.NewServer(grpc.Creds(creds))
	testpb.RegisterTestServiceServer(s, &echo{})
	go func() { _ = s.Serve(lis) }()
	tb.Cleanup(s.Stop)
	return lis.Addr().String()
}

func servePort(tb testing.TB, cfg *tls.Config) string {
	lis := listen(tb)
	p := port.New(lis, &http.Server{}, port.Config{TLS: cfg, Logger: slog.New(slog.DiscardHandler)})
	s := grpc.NewServer(grpc.Creds(p.Credentials()))
	testpb.RegisterTestServiceServer(s, &echo{})
	go func() { _ = s.Serve(p.GRPCListener()) }()
	go func() { _ = p.Serve() }()
	tb.Cleanup(func() { s.Stop(); _ = p.Close() })
	return lis.Addr().String()
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return lis
}
