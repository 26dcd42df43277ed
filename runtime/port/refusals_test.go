package port_test

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/port"
)

// shake does a TLS handshake and reads, because with TLS 1.3 a server refuses after the client is
// done.
func shake(t *testing.T, addr string, cfg *tls.Config) {
	t.Helper()
	c := tls.Client(rawDial(t, addr), cfg)
	defer c.Close()
	if err := c.Handshake(); err == nil {
		_, _ = c.Read(make([]byte, 1))
	}
}

// stranger returns a certificate of nobody's authority.
func stranger() tls.Certificate {
	c, key := certificate(nil, nil, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

// Certificates that a side does not take are told of at WARN, other faults of a beginning are not.
func TestHandshakeFaults(t *testing.T) {
	showing := func(c tls.Certificate) *tls.Config {
		cfg := clientTLS("h2")
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
		return cfg
	}
	for name, tt := range map[string]struct {
		begin func(t *testing.T, addr string)
		level string
		want  string
	}{
		"unknown client": {func(t *testing.T, addr string) { shake(t, addr, showing(stranger())) }, "WARN", "failed to verify certificate"},
		"client does not know our authority": {func(t *testing.T, addr string) {
			shake(t, addr, &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"})
		}, "WARN", "remote error: tls: bad certificate"},
		"client wants another name": {func(t *testing.T, addr string) {
			shake(t, addr, &tls.Config{RootCAs: pki().pool, ServerName: "echo.v1.EchoService"})
		}, "WARN", "remote error: tls: bad certificate"},
		"plaintext": {func(t *testing.T, addr string) { send(t, rawDial(t, addr), "GET / HTTP/1.0\r\n\r\n") }, "DEBUG", "first record does not look like"},
		"scanner":   {func(t *testing.T, addr string) { _ = rawDial(t, addr).Close() }, "DEBUG", "EOF"},
		"no version in common": {func(t *testing.T, addr string) {
			cfg := clientTLS()
			cfg.MaxVersion = tls.VersionTLS11
			cfg.MinVersion = tls.VersionTLS10
			shake(t, addr, cfg)
		}, "DEBUG", "unsupported versions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &logBuffer{}
			n := start(t, secure, logTo(log))
			tt.begin(t, n.addr)
			eventually(t, func() bool { return strings.Contains(log.String(), "level="+tt.level) })
			if got := log.String(); !strings.Contains(got, tt.want) || strings.Count(got, "\n") != 1 {
				t.Errorf("the log is told %q, want %q", got, tt.want)
			}
		})
	}
}

func logTo(log *logBuffer) nodeOption {
	return func(c *port.Config, _ *http.Server) {
		c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

// Many of them do not flood the log: one a second is told of.
func TestHandshakeFaultsAreSampled(t *testing.T) {
	log := &logBuffer{}
	n := start(t, secure, logTo(log))
	cfg, begin := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}, time.Now()
	for range 20 {
		shake(t, n.addr, cfg)
	}
	eventually(t, func() bool { return n.Conns().Open == 0 })
	most := 1 + int(time.Since(begin)/time.Second)
	if got := strings.Count(log.String(), "level=WARN"); got < 1 || got > most {
		t.Errorf("%d lines, want 1 to %d:\n%s", got, most, log.String())
	}
}

// Nor do connections that end before a request, which anyone can make: each costs its client less
// than a line costs the log.
func TestUnbegunConnectionsAreSampled(t *testing.T) {
	log := &logBuffer{}
	n := start(t, secure, logTo(log))
	begin := time.Now()
	for range 200 {
		c := rawDial(t, n.addr)
		_, _ = c.Write([]byte("\x00nothing"))
		_ = c.Close()
	}
	eventually(t, func() bool { return n.Conns().Open == 0 && strings.Contains(log.String(), "before its first request") })
	most := 1 + int(time.Since(begin)/time.Second)
	if got := strings.Count(log.String(), "\n"); got < 1 || got > most {
		t.Errorf("%d lines, want 1 to %d:\n%s", got, most, log.String())
	}
}
