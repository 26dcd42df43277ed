package port_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/port"
)

func TestClients(t *testing.T) {
	plain, enc := start(t), start(t, secure)

	t.Run("grpc-go", func(t *testing.T) {
		call(t, dial(t, plain.addr, nil), "plain")
		p := plain.echo.lastPeer(t)
		if p.AuthInfo == nil || p.AuthInfo.AuthType() != "insecure" {
			t.Errorf("auth info: %v", p.AuthInfo)
		}
		if _, ok := p.Addr.(*net.TCPAddr); !ok {
			t.Errorf("peer address is a %T", p.Addr)
		}
		if got := plain.Conns().GRPC; got != 1 {
			t.Errorf("%d gRPC connections", got)
		}
	})
	t.Run("grpc-go TLS with certificate", func(t *testing.T) {
		cfg := clientTLS()
		cfg.Certificates = []tls.Certificate{pki().client}
		call(t, dial(t, enc.addr, cfg), "secret")
		info, ok := enc.echo.lastPeer(t).AuthInfo.(credentials.TLSInfo)
		if !ok {
			t.Fatalf("auth info is a %T", enc.echo.lastPeer(t).AuthInfo)
		}
		if len(info.State.VerifiedChains) == 0 || info.SecurityLevel != credentials.PrivacyAndIntegrity {
			t.Errorf("auth info: %+v", info)
		}
		if info.SPIFFEID == nil || info.SPIFFEID.String() != "spiffe://example.org/caller" {
			t.Errorf("spiffe id: %v", info.SPIFFEID)
		}
	})

	https := "https://" + enc.addr + "/"
	for _, tc := range []struct {
		name, url, want string
		rt              http.RoundTripper
	}{
		{"http/1.1", "http://" + plain.addr + "/", "HTTP/1.1 tls=false", transport(t, nil, http1)},
		{"h2c", "http://" + plain.addr + "/", "HTTP/2.0 tls=false", transport(t, nil, h2c)},
		{"https/1.1", https, "HTTP/1.1 tls=true", transport(t, clientTLS(), http1)},
		{"https h2 only", https, "HTTP/2.0 tls=true", transport(t, clientTLS(), http2)},
		{"https both", https, "HTTP/2.0 tls=true", transport(t, clientTLS(), http1, http2)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 3 { // on one connection, where a late SETTINGS ACK would end it
				if got := get(t, tc.rt, tc.url); got != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			}
			if x, ok := tc.rt.(interface{ CloseIdleConnections() }); ok {
				x.CloseIdleConnections()
			}
		})
	}
}

// grpcOverHTTP makes one unary call the way connect-go's gRPC client does.
func grpcOverHTTP(t testing.TB, rt http.RoundTripper, rawURL string) {
	t.Helper()
	req, err := http.NewRequestWithContext(timeout(t), http.MethodPost,
		rawURL+"/grpc.testing.TestService/EmptyCall", strings.NewReader("\x00\x00\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc+proto")
	req.Header.Set("Te", "trailers")
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatalf("call: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	status := res.Trailer.Get("Grpc-Status") + res.Header.Get("Grpc-Status")
	if status != "12" && status != "0" { // EmptyCall is unimplemented here: gRPC itself answered
		t.Fatalf("http %s, grpc-status %q", res.Status, status)
	}
}

func TestGRPCOverNetHTTP(t *testing.T) {
	all := func(c *port.Config, _ *http.Server) { c.AllHTTP2ToHTTP = true }
	plain, enc := start(t), start(t, secure)
	plainAll, encAll := start(t, all), start(t, secure, all)
	for _, tc := range []struct {
		name   string
		n      *node
		rt     *http.Transport
		native bool
	}{
		{"h2c", plain, transport(t, nil, h2c), true},
		{"TLS h2 only", enc, transport(t, clientTLS(), http2), true},
		{"TLS both", enc, transport(t, clientTLS(), http1, http2), false},
		{"h2c, all to HTTP", plainAll, transport(t, nil, h2c), false},
		{"TLS h2 only, all to HTTP", encAll, transport(t, clientTLS(), http2), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := "http://" + tc.n.addr
			if tc.rt.TLSClientConfig != nil {
				url = "https://" + tc.n.addr
			}
			before := tc.n.Conns()
			grpcOverHTTP(t, tc.rt, url)
			grpcOverHTTP(t, tc.rt, url)
			if native := tc.n.Conns().GRPC > before.GRPC; native != tc.native {
				t.Errorf("served by grpc-go's own transport: %t", native)
			}
		})
	}
}

// A first request whose headers need CONTINUATION frames is classified; one that is larger
// than the port looks at is refused, on a connection of its own.
func TestLargeHeaders(t *testing.T) {
	n := start(t)
	c := dial(t, n.addr, nil)
	with := func(size int) context.Context {
		return metadata.AppendToOutgoingContext(timeout(t), "x-large", strings.Repeat("~", size))
	}
	if _, err := c.UnaryCall(with(100_000), request("x")); status.Code(err) != codes.Unavailable {
		t.Errorf("100 kB: %v", err)
	}
	if _, err := c.UnaryCall(with(20_000), request("x")); err != nil {
		t.Errorf("20 kB: %v", err)
	}
}

func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	want := strings.Repeat("content ", 100_000)
	if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, opts := range [][]nodeOption{nil, {secure}} {
		opts = append(opts, func(_ *port.Config, s *http.Server) {
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
		})
		n := start(t, opts...)
		url, cfg := "http://"+n.addr, (*tls.Config)(nil)
		if len(opts) > 1 {
			url, cfg = "https://"+n.addr, clientTLS()
		}
		if got := get(t, transport(t, cfg, http1), url); got != want {
			t.Errorf("%s: %d bytes, want %d", url, len(got), len(want))
		}
	}
}
