package tcp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server that serves a test.
type rig struct {
	*Server
	t    testing.TB
	log  *logs
	done chan error // of Serve
}

func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newRigOn(t, lis, cfg)
}

func newRigOn(t testing.TB, lis net.Listener, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, log: &logs{}, done: make(chan error, 1)}
	cfg.Name = "lines"
	cfg.Logger = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.Server = New(lis, cfg)
	go func() { r.done <- r.Serve() }()
	t.Cleanup(func() {
		_ = r.Shutdown(over())
		if err := <-r.done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		r.await("every handler has returned", func() bool { return r.Open() == 0 })
	})
	return r
}

// over is a context that has ended.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// dial connects, with a deadline for all that follows.
func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return nc.(*net.TCPConn)
}

// send connects and writes.
func (r *rig) send(text string) *net.TCPConn {
	r.t.Helper()
	nc := r.dial()
	if _, err := io.WriteString(nc, text); err != nil {
		r.t.Fatal(err)
	}
	return nc
}

// wantEcho expects to hear what is said.
func (r *rig) wantEcho(nc net.Conn, text string) {
	r.t.Helper()
	if _, err := io.WriteString(nc, text); err != nil {
		r.t.Fatal(err)
	}
	r.wantHear(nc, text)
}

func (r *rig) wantHear(nc io.Reader, text string) {
	r.t.Helper()
	b := make([]byte, len(text))
	if n, err := io.ReadFull(nc, b); err != nil || string(b) != text {
		r.t.Errorf("heard %q, %v; want %q", b[:n], err, text)
	}
}

// wantClosed expects the connection to be closed, with nothing said on it.
func (r *rig) wantClosed(nc net.Conn) {
	r.t.Helper()
	n, err := nc.Read(make([]byte, 1))
	if n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Errorf("read %d bytes, %v; want the connection closed", n, err)
	}
}

func (r *rig) await(what string, is func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("it did not come so far that %s\n%s", what, r.log)
		}
	}
}

func (r *rig) wantLog(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		r.await("the log has "+text, func() bool { return strings.Contains(r.log.String(), text) })
	}
}

// echo sends back what it receives.
func echo(_ context.Context, nc net.Conn) { _, _ = io.Copy(nc, nc) }

// tellPeer says who the client is, and echoes.
func tellPeer(ctx context.Context, nc net.Conn) {
	_, _ = io.WriteString(nc, nc.RemoteAddr().String()+"\n")
	echo(ctx, nc)
}

// logs keeps what is logged.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newTLS makes the configurations of a server and of a client that trusts it.
func newTLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"lines"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	return server, &tls.Config{RootCAs: pool, ServerName: "lines", MinVersion: tls.VersionTLS13}
}
