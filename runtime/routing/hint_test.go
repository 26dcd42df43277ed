package routing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
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
	t.Cleanup(secure.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	silent := closingServer(t)
	plain := startServer(t, "a").addr
	with := func(c *tls.Config) grpc.DialOption { return grpc.WithTransportCredentials(credentials.NewTLS(c)) }
	for name, tt := range map[string]struct {
		addr   string
		opts   []grpc.DialOption
		phrase string
		want   string
	}{
		"plaintext to TLS":  {silent, nil, "error reading server preface", "set -easyops.tls-ca"},
		"TLS to plaintext":  {plain, []grpc.DialOption{with(&tls.Config{RootCAs: roots})}, "first record does not look like a TLS handshake", "the server speaks plaintext"},
		"another name":      {secure.Listener.Addr().String(), []grpc.DialOption{with(&tls.Config{RootCAs: roots, ServerName: "echo.v1.EchoService"})}, "certificate is valid for example.com", "full name as a DNS name"},
		"another authority": {secure.Listener.Addr().String(), []grpc.DialOption{with(&tls.Config{RootCAs: x509.NewCertPool()})}, "certificate signed by unknown authority", "name the authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &lines{}
			c := dial(t, Config{Target: tt.addr, MaxWait: 700 * time.Millisecond, Logger: log.logger()}, tt.opts...)
			_, err := who(t.Context(), c) // through several attempts
			wantStatus(t, err, codes.Unavailable, tt.want)
			if cut := inLog(err); !strings.Contains(cut, tt.phrase) {
				t.Errorf("a log that cuts long texts has %q, without %q", cut, tt.phrase)
			}
			told := log.all()
			if len(told) != 1 {
				t.Fatalf("the log is told %q, want one line", told)
			}
			for _, part := range []string{"level=WARN", "service=" + service, "peer=" + tt.addr, tt.phrase, tt.want} {
				if !strings.Contains(told[0], part) {
					t.Errorf("the log is told %s, without %s", told[0], part)
				}
			}
		})
	}
}

// That a server may expect TLS is said where it hangs up at first, and not of one
// that was reached before, is silent, or was given up.
func TestHintOfTLS(t *testing.T) {
	const preface = "error reading server preface: "
	for cause, want := range map[string]bool{
		preface + "EOF": true,
		preface + "read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer":                                                          true,
		preface + "http2: failed reading the frame payload: http2: frame too large, note that the frame header looked like an HTTP/1.1 header": true,
		preface + "unexpected EOF": false, // it has sent something
		preface + "raw-read tcp 127.0.0.1:5->127.0.0.1:6: use of closed network connection": false,
		preface + "read tcp 127.0.0.1:5->127.0.0.1:6: i/o timeout":                          false,
		"read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer":                 false,
		"dial tcp 127.0.0.1:6: connect: connection refused":                                 false,
	} {
		for _, reached := range []bool{false, true} {
			text := explain(errors.New(`connection error: desc = "`+cause+`"`), reached)
			if got := strings.Contains(text, wantsTLS); got != (want && !reached) || !strings.HasPrefix(text, cause) {
				t.Errorf("%s, reached %v: %s", cause, reached, text)
			}
		}
	}
}

// Who was reached, and then hangs up on all connections, is not said to expect TLS.
// It says so of the next one that never was.
func TestNoHintOfTLSForOneThatWasReached(t *testing.T) {
	for name, reach := range map[string]bool{"reached": true, "never": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, fail := fickleServer(t, reach)
			log := &lines{}
			c := dial(t, Config{Target: addr, MaxWait: 700 * time.Millisecond, Logger: log.logger()})
			if reach {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				_, _ = who(ctx, c) // which is not answered
				cancel()
				for end := time.Now().Add(10 * time.Second); len(c.Status().Instances) == 0 || c.Status().Instances[0].State != "READY"; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("it is not reached: %+v", c.Status())
					}
				}
			}
			fail()
			var err error
			for end := time.Now().Add(10 * time.Second); err == nil || !strings.Contains(err.Error(), "error reading server preface"); _, err = who(t.Context(), c) {
				if time.Now().After(end) {
					t.Fatalf("the last error is %v", err)
				}
			}
			for _, text := range append(log.all(), err.Error()) {
				if strings.Contains(text, wantsTLS) == reach && strings.Contains(text, "server preface") {
					t.Errorf("it says %s", text)
				}
			}
		})
	}
}

// fickleServer speaks HTTP/2, if at all, until it is told to hang up on everyone.
func fickleServer(t *testing.T, speaks bool) (addr string, fail func()) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var failing atomic.Bool
	failing.Store(!speaks)
	var mu sync.Mutex
	var open []net.Conn
	var wg sync.WaitGroup
	fail = func() {
		failing.Store(true)
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
	}
	t.Cleanup(func() { _ = lis.Close(); fail(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			if failing.Load() {
				_ = c.Close()
				continue
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { serveRude(c, func(net.Conn, *http2.Framer, uint32) {}) })
		}
	})
	return lis.Addr().String(), fail
}

// inLog returns what the call log keeps of an error.
func inLog(err error) string {
	text := err.Error()
	if len(text) <= 256 {
		return text
	}
	return text[:128] + "…" + text[len(text)-127:]
}

// The cause of an error is left, bounded and fit for a terminal.
func TestCauseOf(t *testing.T) {
	for text, want := range map[string]string{
		`connection error: desc = "transport: authentication handshake failed: it is of \"x\""`:    `it is of "x"`,
		`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: refused"`: "Error while dialing: dial tcp 127.0.0.1:1: refused",
		"connection error: desc = half": "connection error: desc = half",
		"a\x1b[2Jb\u202ec":              "a?[2Jb?c",
		strings.Repeat("ä", maxCause):   strings.Repeat("ä", maxCause/2) + "…",
		"x" + strings.Repeat("ä", 200):  "x" + strings.Repeat("ä", (maxCause-1)/2) + "…",
	} {
		if got := causeOf(errors.New(text)); got != want {
			t.Errorf("of %q is left %q, want %q", text, got, want)
		}
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
