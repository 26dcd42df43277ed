package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const echoService = "echo.v1.EchoService"

// testCA is an authority, pair a certificate of it with its key.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

type pair struct{ cert, key []byte }

func (p pair) tls(t testing.TB) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newTestCA(t testing.TB, name string) *testCA {
	t.Helper()
	template := template(func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage, c.ExtKeyUsage = name, true, x509.KeyUsageCertSign, nil
	})
	ca := &testCA{key: newTestKey(t)}
	ca.pem = sign(t, template, template, ca.key, ca.key)
	block, _ := pem.Decode(ca.pem)
	var err error
	if ca.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return ca
}

func (ca *testCA) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

// issue makes a certificate, good for both sides, that change has changed.
func (ca *testCA) issue(t testing.TB, change ...func(*x509.Certificate)) pair {
	t.Helper()
	key := newTestKey(t)
	return pair{sign(t, template(change...), ca.cert, key, ca.key), keyPEM(t, key)}
}

func selfSigned(t testing.TB, change ...func(*x509.Certificate)) pair {
	t.Helper()
	key, template := newTestKey(t), template(change...)
	return pair{sign(t, template, template, key, key), keyPEM(t, key)}
}

func template(change ...func(*x509.Certificate)) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	c := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "nobody looks at me"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func withDNS(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

func withURI(uris ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, u := range uris {
			parsed, err := url.Parse(u)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, parsed)
		}
	}
}

func withUsage(usage x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{usage} }
}

func asCA(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign }

func expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }

func notYet(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }

func sign(t testing.TB, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func newTestKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyPEM(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE" + " KEY", Bytes: der})
}

// certDir is a directory with a certificate, its key and authorities.
type certDir struct {
	t   testing.TB
	dir string
	CertFiles
}

func newCertDir(t testing.TB, p pair, authorities ...*testCA) *certDir {
	t.Helper()
	dir := t.TempDir()
	d := &certDir{t, dir, CertFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")}}
	d.own(p)
	d.authorities(authorities...)
	return d
}

func (d *certDir) own(p pair) {
	d.t.Helper()
	replace(d.t, d.Cert, p.cert)
	replace(d.t, d.Key, p.key)
}

func (d *certDir) authorities(cas ...*testCA) {
	d.t.Helper()
	var all []byte
	for _, ca := range cas {
		all = append(all, ca.pem...)
	}
	replace(d.t, d.CA, all)
}

func (d *certDir) load(log *slog.Logger) *Certificates {
	d.t.Helper()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c, err := LoadCertificates(d.CertFiles, log)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// replace puts a new file in the place of an old one, as careful tools do.
func replace(t testing.TB, path string, data []byte) {
	t.Helper()
	overwrite(t, path+".new", data)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// outcome is what the two sides of a handshake make of each other.
type outcome struct {
	client, server error
	chains         [][]*x509.Certificate // of the client, as the server verified them
	resumed        bool
	received       int // bytes that the server got after the handshake
}

// shake makes a connection and sends a byte in both directions.
func shake(t testing.TB, server, client *tls.Config) (o outcome) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.server = serveOne(lis, server, &o)
	}()
	o.client = dialOne(lis.Addr().String(), client)
	<-done
	return o
}

func serveOne(lis net.Listener, cfg *tls.Config, o *outcome) error {
	nc, err := lis.Accept()
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Server(nc, cfg)
	if err := tc.Handshake(); err != nil {
		return err
	}
	state := tc.ConnectionState()
	o.chains, o.resumed = state.VerifiedChains, state.DidResume
	buf := make([]byte, 1)
	if o.received, err = io.ReadFull(tc, buf); err != nil {
		return err
	}
	_, err = tc.Write(buf)
	return err
}

func dialOne(addr string, cfg *tls.Config) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Client(nc, cfg)
	if _, err := tc.Write([]byte{1}); err != nil {
		return err
	}
	_, err = io.ReadFull(tc, make([]byte, 1))
	return err
}

// logLines keeps what is logged.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// take returns the levels and messages since the last call.
func (l *logLines) take(t testing.TB) (levels []string, text string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		levels = append(levels, fmt.Sprint(fields["level"]))
	}
	text, l.lines = strings.Join(l.lines, ""), nil
	return levels, text
}
