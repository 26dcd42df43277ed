package routing

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
)

// Errors of connections that are likely mistakes say what to do. The servers are
// real, so that a change of the texts is noticed.
func TestHints(t *testing.T) {
	secure := httptest.NewUnstartedServer(nil)
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	silent := closingServer(t)
	plain := startServer(t, "a").addr
	with := func(c *tls.Config) grpc.DialOption { return grpc.WithTransportCredentials(credentials.NewTLS(c)) }
	for name, tt := range map[string]struct {
		addr string
		opts []grpc.DialOption
		want string
	}{
		"plaintext to TLS":  {silent, nil, "set -easyops.tls-ca"},
		"TLS to plaintext":  {plain, []grpc.DialOption{with(&tls.Config{RootCAs: roots})}, "the server speaks plaintext"},
		"another name":      {secure.Listener.Addr().String(), []grpc.DialOption{with(&tls.Config{RootCAs: roots, ServerName: "echo.v1.EchoService"})}, "full name as a DNS name"},
		"another authority": {secure.Listener.Addr().String(), []grpc.DialOption{with(&tls.Config{RootCAs: x509.NewCertPool()})}, "name the authority"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, Config{Target: tt.addr, MaxWait: 300 * time.Millisecond}, tt.opts...)
			_, err := who(t.Context(), c)
			wantStatus(t, err, codes.Unavailable, tt.want)
		})
	}
}

// closingServer hangs up on whoever does not speak TLS.
func closingServer(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c) // so that the client reads the end before a reset
			_ = c.Close()
		}
	}()
	return lis.Addr().String()
}
