package easyops_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
	localregistry "github.com/go-easyops/easyops/runtime/registry/local"
)

// pairFor issues a certificate that is as the changes make it.
func (a *authority) pairFor(t *testing.T, changes ...func(*x509.Certificate)) (certPEM, keyPEM []byte) {
	t.Helper()
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, change := range changes {
		change(template)
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// filesFor is pairFor as files.
func (a *authority) filesFor(t *testing.T, changes ...func(*x509.Certificate)) (cert, key string) {
	t.Helper()
	certPEM, keyPEM := a.pairFor(t, changes...)
	dir := t.TempDir()
	cert, key = dir+"/cert.pem", dir+"/key.pem"
	putFile(t, cert, certPEM)
	putFile(t, key, keyPEM)
	return cert, key
}

func putFile(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func dns(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

func spiffe(id string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { u, _ := url.Parse(id); c.URIs = []*url.URL{u} }
}

// rogue is whoever listens where an instance should be. It counts what it is
// told after the handshake.
type rogue struct {
	addr       string
	told       atomic.Int64
	handshakes atomic.Int64
}

func newRogue(t *testing.T, config *tls.Config) *rogue {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = []string{"h2"}
	r := &rogue{addr: lis.Addr().String()}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { r.listen(tls.Server(conn, config)) })
		}
	})
	t.Cleanup(func() { lis.Close(); conns.Wait() })
	return r
}

func (r *rogue) listen(conn *tls.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	err := conn.Handshake()
	r.handshakes.Add(1)
	for b := make([]byte, 4096); err == nil; {
		var n int
		n, err = conn.Read(b)
		r.told.Add(int64(n))
	}
}

// plant lists an address as an instance of echo.
func plant(t *testing.T, dir, addr string) {
	t.Helper()
	reg, err := localregistry.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	lease, err := reg.Register(t.Context(), []registry.Instance{{
		ID: "planted", Service: echoName, Addr: addr, Kinds: []registry.Kind{registry.KindGRPC}, Health: registry.Ready, Started: time.Now(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lease.Close(t.Context()); _ = reg.Close() })
}

// TestRogueInstances: an instance whose certificate does not prove that it may
// serve the service is told nothing: no call and no token.
func TestRogueInstances(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	now := time.Now()
	for _, test := range []struct {
		name    string
		by      *authority
		change  func(*x509.Certificate)
		client  []easyops.DialOption
		trusted bool
	}{
		{name: "right DNS name", by: ca, change: dns(echoName), trusted: true},
		{name: "one of several", by: ca, change: dns("other.v1.Service", echoName), trusted: true},
		{name: "right SPIFFE ID", by: ca, change: spiffe("spiffe://example.org/ns/" + echoName), trusted: true},
		{name: "named", by: ca, change: spiffe("spiffe://example.org/echo"), client: []easyops.DialOption{easyops.DialServerID("spiffe://example.org/echo")}, trusted: true},
		{name: "another service", by: ca, change: dns("other.v1.Service")},
		{name: "another SPIFFE ID", by: ca, change: spiffe("spiffe://example.org/" + echoName + "/other")},
		{name: "another one named", by: ca, change: spiffe("spiffe://example.org/echo2"), client: []easyops.DialOption{easyops.DialServerID("spiffe://example.org/echo")}},
		{name: "another authority", by: other, change: dns(echoName)},
		{name: "expired", by: ca, change: func(c *x509.Certificate) { c.DNSNames, c.NotAfter = []string{echoName}, now.Add(-time.Minute) }},
		{name: "not valid yet", by: ca, change: func(c *x509.Certificate) { c.DNSNames, c.NotBefore = []string{echoName}, now.Add(time.Minute) }},
		{name: "for clients only", by: ca, change: func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = []string{echoName}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}},
		{name: "common name", by: ca, change: func(c *x509.Certificate) { c.Subject.CommonName = echoName }},
		{name: "wildcard", by: ca, change: dns("*.v1.EchoService", "*")},
		{name: "of the host", by: ca, change: func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			certPEM, keyPEM := test.by.pairFor(t, test.change)
			pair, err := tls.X509KeyPair(certPEM, keyPEM)
			if err != nil {
				t.Fatal(err)
			}
			r, dir := newRogue(t, &tls.Config{Certificates: []tls.Certificate{pair}}), shortDir(t)
			plant(t, dir, r.addr)
			client := dialEcho(t, append([]easyops.DialOption{
				apart(easyops.WithRegistry("local:" + dir)), easyops.WithTLSFiles("", "", ca.file),
				easyops.WithServiceToken(tokenFile(t, "svc")),
			}, test.client...)...)
			ctx := auth.WithUserToken(within(t, 10*time.Second), "user")
			for r.handshakes.Load() == 0 || test.trusted && r.told.Load() == 0 {
				if _, err := client.Echo(ctx, &echov1.EchoRequest{}, grpc.WaitForReady(false)); err == nil || ctx.Err() != nil {
					t.Fatalf("answered, or late: %v", err)
				}
			}
			if told := r.told.Load(); (told > 0) != test.trusted {
				t.Errorf("it was told %d bytes", told)
			}
		})
	}
}

// TestWhoseCertificate: that of a target is for its host, in all versions of TLS
// that are in use; between a service and its callers it is TLS 1.3.
func TestWhoseCertificate(t *testing.T) {
	ca := newAuthority(t)
	for _, test := range []struct {
		name     string
		names    []string
		most     uint16
		registry bool
		opts     []easyops.DialOption
		fault    string
	}{
		{name: "host", names: []string{"localhost"}},
		{name: "host by TLS 1.2", names: []string{"localhost"}, most: tls.VersionTLS12},
		{name: "host by TLS 1.1", names: []string{"localhost"}, most: tls.VersionTLS11, fault: "protocol version"},
		{name: "service", names: []string{echoName}, fault: "not localhost"},
		{name: "service that is named", names: []string{echoName}, opts: []easyops.DialOption{easyops.DialServerID(echoName)}},
		{name: "registry by TLS 1.2", names: []string{echoName}, most: tls.VersionTLS12, registry: true, fault: "protocol version"},
		{name: "registry", names: []string{echoName}, registry: true},
		{name: "config and host", names: []string{"other.example.org"}, opts: []easyops.DialOption{
			easyops.WithTLSConfig(&tls.Config{RootCAs: ca.client().RootCAs, ServerName: "other.example.org", MinVersion: tls.VersionTLS12}),
		}},
		{name: "config", names: []string{"localhost"}, opts: []easyops.DialOption{
			easyops.WithTLSConfig(&tls.Config{RootCAs: ca.client().RootCAs, MinVersion: tls.VersionTLS12}),
		}},
		{name: "config and another host", names: []string{"other.example.org"}, fault: "not localhost", opts: []easyops.DialOption{
			easyops.WithTLSConfig(&tls.Config{RootCAs: ca.client().RootCAs, MinVersion: tls.VersionTLS12}),
		}},
		{name: "config and name", names: []string{"other.example.org"}, opts: []easyops.DialOption{
			easyops.WithTLSConfig(&tls.Config{RootCAs: ca.client().RootCAs, MinVersion: tls.VersionTLS12}), easyops.DialServerID("other.example.org"),
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			certPEM, keyPEM := ca.pairFor(t, dns(test.names...))
			pair, err := tls.X509KeyPair(certPEM, keyPEM)
			if err != nil {
				t.Fatal(err)
			}
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{ //nolint:gosec // what the client refuses must be there to be refused
				Certificates: []tls.Certificate{pair},
				MinVersion:   tls.VersionTLS10,
				MaxVersion:   test.most,
			})))
			echov1.RegisterEchoServiceServer(s, echo{})
			var serving sync.WaitGroup
			serving.Go(func() { _ = s.Serve(lis) })
			t.Cleanup(func() { s.Stop(); serving.Wait() })
			_, port, _ := net.SplitHostPort(lis.Addr().String())
			dir := shortDir(t)
			where := easyops.DialTarget("localhost:" + port)
			if test.registry {
				plant(t, dir, lis.Addr().String())
				where = easyops.WithRegistry("local:" + dir)
			}
			client := dialEcho(t, append([]easyops.DialOption{apart(), where, easyops.WithTLSFiles("", "", ca.file)}, test.opts...)...)
			if test.fault == "" {
				say(t, client, "hi")
				return
			}
			mustContain(t, noConnection(t, client).Error(), test.fault)
		})
	}
}

// TestNewCertificateIsShown: connections are made anew before the certificate that
// they have shown ends, and no call fails.
func TestNewCertificateIsShown(t *testing.T) {
	ca := newAuthority(t)
	for _, kind := range []string{"registry", "target"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			seen := &shown{}
			cert, key := ca.filesFor(t, dns(echoName, "localhost"))
			dir := easyops.WithRegistry("local:" + shortDir(t))
			s := serveEcho(t, seen, openly(dir, easyops.WithTLSFiles(cert, key, ca.file))...)
			where := easyops.DialOption(dir)
			if kind == "target" {
				_, port, _ := net.SplitHostPort(s.Addr().String())
				where = easyops.DialTarget("localhost:" + port)
			}
			cert, key = ca.filesFor(t, dns("first"), ending(time.Minute))
			client := dialEcho(t, apart(), where, easyops.WithTLSFiles(cert, key, ca.file))
			say(t, client, "hi")
			load := callAll(t, client)
			defer load()
			for i, name := range []string{"first", "second", "third"} {
				ca.replacePair(t, cert, key, dns(name), ending(time.Duration(i+1)*time.Minute))
				seen.wait(t, name)
			}
		})
	}
}

// shown is an echo that notes the certificates of its callers.
type shown struct {
	echo
	last atomic.Value
}

func (s *shown) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.VerifiedChains) > 0 {
			s.last.Store(strings.Join(info.State.PeerCertificates[0].DNSNames, " "))
		}
	}
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

func (s *shown) wait(t *testing.T, name string) {
	t.Helper()
	for ctx := within(t, 10*time.Second); s.last.Load() != name; {
		select {
		case <-ctx.Done():
			t.Fatalf("%q was never shown, but %v", name, s.last.Load())
		case <-time.After(time.Millisecond):
		}
	}
}

// callAll calls from several goroutines until it is told to stop. No call may
// fail.
func callAll(t *testing.T, client echov1.EchoServiceClient) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 10 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := client.Echo(t.Context(), &echov1.EchoRequest{Message: "hi"}); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
			}
		})
	}
	return func() { cancel(); callers.Wait() }
}
