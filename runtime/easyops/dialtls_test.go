package easyops_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// tlsOf is the configuration of a server with a certificate of the authority.
func tlsOf(t *testing.T, ca *authority, names ...string) *tls.Config {
	t.Helper()
	certFile, key := ca.issue(t, names...)
	pair, err := tls.LoadX509KeyPair(certFile, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// TestDialTLS: only a server whose certificate names the service is connected to, and
// nothing is sent to others.
func TestDialTLS(t *testing.T) {
	idle(t)
	ca, stranger := newAuthority(t), newAuthority(t)
	trust := easyops.WithTLSFiles("", "", ca.file)
	for name, test := range map[string]struct {
		server *tls.Config // nil is plaintext
		target bool
		opts   []easyops.DialOption
		want   []string // of the error; nil for none
	}{
		"right":                {tlsOf(t, ca, linesName), false, []easyops.DialOption{trust}, nil},
		"right, by config":     {tlsOf(t, ca, linesName), false, []easyops.DialOption{easyops.WithTLSConfig(&tls.Config{RootCAs: poolOf(ca)})}, nil},
		"by its ID":            {tlsOf(t, ca, "other"), false, []easyops.DialOption{trust, easyops.DialServerID("other")}, nil},
		"another service":      {tlsOf(t, ca, "other"), false, []easyops.DialOption{trust}, []string{"not of lines"}},
		"other, by config":     {tlsOf(t, ca, "other"), false, []easyops.DialOption{easyops.WithTLSConfig(&tls.Config{RootCAs: poolOf(ca)})}, []string{"valid for other, not lines"}},
		"another authority":    {tlsOf(t, stranger, linesName), false, []easyops.DialOption{trust}, []string{"unknown authority"}},
		"target, right":        {tlsOf(t, ca, "localhost"), true, []easyops.DialOption{trust}, nil},
		"target, another host": {tlsOf(t, ca, linesName), true, []easyops.DialOption{trust}, []string{"not localhost"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := shortDir(t)
			a := serveLines(t, "a", test.server)
			list(t, dir, a.instance("a", registry.Ready))
			opts := append([]easyops.DialOption{apart(easyops.WithRegistry("local:" + dir)), easyops.DialTLS()}, test.opts...)
			if test.target {
				_, port, _ := net.SplitHostPort(a.Addr().String())
				opts = append(opts, easyops.DialTarget("localhost:"+port))
			}
			patience := 10 * time.Second
			if test.want != nil {
				patience = 300 * time.Millisecond // it would wait for a better one
			}
			conn, err := easyops.DialTCP(within(t, patience), linesName, opts...)
			if test.want != nil {
				if err == nil {
					conn.Close()
					t.Fatal("connected")
				}
				mustContain(t, err.Error(), append(test.want, linesName)...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := greeting(t, conn); got != "a" {
				t.Errorf("heard %q", got)
			}
			if _, ok := conn.(*tls.Conn); !ok {
				t.Errorf("a %T", conn)
			}
		})
	}
}

func poolOf(ca *authority) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// TestDialTLSFailsOver: an instance with a wrong certificate is left for the next.
func TestDialTLSFailsOver(t *testing.T) {
	idle(t)
	ca := newAuthority(t)
	wrong, right := serveLines(t, "a", tlsOf(t, ca, "other")), serveLines(t, "b", tlsOf(t, ca, linesName))
	dir := shortDir(t)
	list(t, dir, wrong.instance("a", registry.Ready))
	list(t, dir, right.instance("b", registry.Ready))
	for range 20 {
		if got := dialLines(t, apart(easyops.WithRegistry("local:"+dir)), easyops.DialTLS(), easyops.WithTLSFiles("", "", ca.file)); got != "b" {
			t.Errorf("heard %q", got)
		}
	}
	if wrong.accepted.Load() == 0 {
		t.Error("the wrong one was never tried: the test is blind")
	}
}

// TestDialTLSShowsCertificate: to a server that asks for one.
func TestDialTLSShowsCertificate(t *testing.T) {
	idle(t)
	ca := newAuthority(t)
	config := tlsOf(t, ca, linesName)
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, poolOf(ca)
	a := serveLines(t, "a", config)
	dir := shortDir(t)
	list(t, dir, a.instance("a", registry.Ready))
	own, key := ca.filesFor(t, dns("caller"))
	opts := []easyops.DialOption{apart(easyops.WithRegistry("local:" + dir)), easyops.DialTLS()}
	if got := dialLines(t, append(opts, easyops.WithTLSFiles(own, key, ca.file))...); got != "a" {
		t.Errorf("heard %q", got)
	}
	conn, err := easyops.DialTCP(t.Context(), linesName, append(opts, easyops.WithTLSFiles("", "", ca.file))...)
	if err == nil { // TLS 1.3: the server's refusal comes after the handshake
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("connected without a certificate")
	}
}
