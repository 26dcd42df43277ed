package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/go-easyops/easyops/runtime/registry"
)

// TestTLS speaks TLS in both directions, and follows new files.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeCerts(t, dir)
	c := startEtcd(t, 1, func(cfg *embed.Config) {
		cfg.ListenClientUrls[0].Scheme, cfg.AdvertiseClientUrls[0].Scheme = "https", "https"
		cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = dir+"/cert.pem", dir+"/key.pem"
		cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = dir+"/ca.pem", true
	})
	url := c.URL() + "?ca=" + dir + "/ca.pem&cert=" + dir + "/cert.pem&key=" + dir + "/key.pem"
	w := watch(t, open(t, url), "echo")
	w.waitFor("[]", 5*time.Second)
	publish(t, open(t, url), entries("one", registry.Ready, "echo"))
	w.waitFor("[one=READY]", 5*time.Second)

	for url, want := range map[string]string{
		c.URL():                            "", // plain text: etcd hangs up
		c.URL() + "?ca=" + dir + "/ca.pem": "", // no certificate: the same
		c.URL() + "?ca=system":             "certificate signed by unknown authority",
	} {
		no := watch(t, open(t, url), "echo")
		no.waitFor("error", 10*time.Second)
		if err := no.lastErr(); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", strings.TrimPrefix(url, c.URL()), err, want)
		}
	}

	c.Stop(0)
	w.waitFor("error", 10*time.Second)
	writeCerts(t, dir) // all is new, the authority too
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	w.waitFor("[one=READY]", 10*time.Second)
}

// writeCerts makes an authority and a certificate of it for loopback.
func writeCerts(t *testing.T, dir string) {
	t.Helper()
	caKey, key := newKey(t), newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "etcd"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]pem.Block{
		"ca.pem": {Type: "CERTIFICATE", Bytes: caDER}, "cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
