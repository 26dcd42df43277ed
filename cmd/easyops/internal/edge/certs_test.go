package edge

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
)

// certificate writes one for names, and its key, and returns the line of a routes file
// that names them. It is its own authority.
func (p *place) certificate(file string, names ...string) string {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		p.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(file+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	p.write(file+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return fmt.Sprintf("  - {cert: %s.pem, key: %s.key}\n", file, file)
}

// shown returns the certificate that an edge shows to who asks for a name, and trusts
// nobody.
func shown(t *testing.T, e *Edge, name string) *x509.Certificate {
	t.Helper()
	raw := dial(t, e.Addr())
	defer raw.Close()
	err := tls.Client(raw, &tls.Config{ServerName: cmp.Or(name, "127.0.0.1"), RootCAs: x509.NewCertPool()}).HandshakeContext(t.Context())
	refused, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		t.Fatalf("%s: %v", name, err)
	}
	return refused.UnverifiedCertificates[0]
}

const pageRoute = "http: [{service: page, allow: EVERYONE}]\n"

// TestNames: who asks for a name is shown the certificate for it, and who asks for none,
// or for one that there is not, the first.
func TestNames(t *testing.T) {
	p := newPlace(t)
	e := p.start(p.config(pageRoute + "tls:\n" +
		p.certificate("first", "first.test") + p.certificate("other", "other.test", "*.wide.test")))
	for name, want := range map[string]string{
		"first.test": "first.test", "other.test": "other.test", "OTHER.test": "other.test",
		"a.wide.test": "other.test", "a.b.wide.test": "first.test", "wide.test": "first.test",
		"nobody.test": "first.test", "": "first.test",
	} {
		if got := shown(t, e, name).Subject.CommonName; got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// TestRenewed: certificates follow their files, and a reload changes which there are.
func TestRenewed(t *testing.T) {
	p := newPlace(t)
	first := p.certificate("first", "first.test")
	e := p.start(p.config(pageRoute + "tls:\n" + first))
	before := shown(t, e, "first.test").SerialNumber
	p.certificate("first", "first.test")
	await(t, "the new certificate", func() bool { return shown(t, e, "first.test").SerialNumber.Cmp(before) != 0 })

	p.write("first.key", "broken")
	await(t, "a fault", func() bool { return e.certs.states()[0].Err != nil })
	for _, line := range []string{"easyops_certificate_expiry_timestamp_seconds 1.", `easyops_identity_source_failing{source="certificates `} {
		if text := tlsMetricsOf(t, e); !strings.Contains(text, "\n"+line) {
			t.Errorf("%s is missing in\n%s", line, text)
		}
	}
	renewed := shown(t, e, "first.test")

	// One that is broken now keeps what it has, while others come and go.
	if err := p.reload(e, pageRoute+"tls:\n"+p.certificate("other", "other.test")+first); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, e, "first.test"); !got.Equal(renewed) {
		t.Error("another certificate")
	}
	if got := shown(t, e, "").Subject.CommonName; got != "other.test" {
		t.Errorf("%s is shown first", got)
	}
	if err := p.reload(e, pageRoute+"tls:\n"+p.certificate("other", "other.test")+"  - {cert: none.pem, key: none.key}\n"); err == nil || !strings.Contains(err.Error(), "none.pem") || !strings.Contains(err.Error(), "routes.yaml:") {
		t.Errorf("%v", err)
	}
	if err := p.reload(e, pageRoute); err == nil || !strings.Contains(err.Error(), "start the edge anew") {
		t.Errorf("%v", err)
	}
	if got := shown(t, e, "first.test"); !got.Equal(renewed) {
		t.Error("another certificate")
	}
}

// TestMTLSNeedsAuthorities: certificates that nobody verifies would count for nothing.
func TestMTLSNeedsAuthorities(t *testing.T) {
	p := newPlace(t)
	text := pageRoute + "tls:\n" + p.certificate("first", "first.test")
	for _, flags := range [][]string{{"-easyops.auth=mtls"}, {"-easyops.auth=mtls", "-easyops.tls-ca=system"}} {
		if _, err := Start(p.config(text, flags...)); err == nil || !strings.Contains(err.Error(), "-easyops.tls-ca") {
			t.Errorf("%v: %v", flags, err)
		}
	}
	p.start(p.config(text, "-easyops.auth=mtls", "-easyops.tls-ca="+p.dir+"/first.pem", "-easyops.drain-delay=0s"))
}

// TestCheck names what is wrong with a file, and what it names.
func TestCheck(t *testing.T) {
	p := newPlace(t)
	good := p.certificate("first", "first.test")
	for text, want := range map[string]string{
		"listen: :8443\n" + pageRoute + "tls:\n" + good:                          "",
		"listen: :8443\n" + pageRoute + "tls: [{cert: a.pem, key: first.key}]\n": "a.pem",
		"listen: :8443\n" + pageRoute + "x: y\n":                                 "x",
	} {
		err := Check(p.write("routes.yaml", text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := Check(p.dir + "/nothing.yaml"); err == nil {
		t.Error("no file: no error")
	}
}

// tlsMetricsOf reads the metrics of an edge whose pages have TLS as well.
func tlsMetricsOf(t *testing.T, e *Edge) string {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(shown(t, e, "first.test"))
	transport := &http.Transport{TLSClientConfig: &tls.Config{ServerName: "first.test", RootCAs: roots}}
	defer transport.CloseIdleConnections()
	return pageText(t, &http.Client{Transport: transport}, "https://"+e.AdminAddr().String()+"/metrics")
}
