package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// identities are the certificates of services, and who signs the tokens of users.
type identities struct {
	dir, caFile string
	ca          *x509.Certificate
	key         *ecdsa.PrivateKey
	tokens      ed25519.PrivateKey
	keys        string   // the file with the tokens' public key
	spki        []string // the servers' keys, for Chromium
}

const trustDomain = "example.org"

func newIdentities(dir string) (*identities, error) {
	i := &identities{dir: dir, caFile: filepath.Join(dir, "ca.pem"), keys: filepath.Join(dir, "keys.json")}
	der, key, err := i.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "example CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	if err != nil {
		return nil, err
	}
	i.key = key
	if i.ca, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	if err := os.WriteFile(i.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	i.tokens = private
	set := encode(map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "2026-11", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	return i, os.WriteFile(i.keys, set, 0o600)
}

// issue signs a certificate; the first is the CA's own.
func (i *identities) issue(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	parent, by := i.ca, i.key
	if parent == nil {
		parent, by = template, key
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(30*24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	return der, key, err
}

// certificate is that of a service.
func (i *identities) certificate(service string) (tls.Certificate, error) {
	der, key, err := i.issue(&x509.Certificate{
		URIs:     []*url.URL{{Scheme: "spiffe", Host: trustDomain, Path: "/" + service}},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// files writes the certificate and the key of a service.
func (i *identities) files(service string) (cert, key string, err error) {
	c, err := i.certificate(service)
	if err != nil {
		return "", "", err
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	i.spki = append(i.spki, base64.StdEncoding.EncodeToString(sum[:]))
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return "", "", err
	}
	base := filepath.Join(i.dir, strings.ReplaceAll(service, ".", "-")+"-"+leaf.SerialNumber.String())
	if err := os.WriteFile(base+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600); err != nil {
		return "", "", err
	}
	return base + ".pem", base + ".key", os.WriteFile(base+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func (i *identities) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.ca)
	return p
}

// spec is how a server is told whose tokens are good.
func (i *identities) spec() string {
	return "jwks:" + i.keys + "?issuer=https://id.example.org&audience=example.org&use=user"
}

// token is that of a user: RFC 7519, RFC 8037.
func (i *identities) token(user string, groups ...string) string {
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(encode(v)) }
	now := time.Now()
	text := part(map[string]string{"alg": "EdDSA", "kid": "2026-11", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": "https://id.example.org", "aud": "example.org", "sub": user, "groups": groups,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.tokens, []byte(text)))
}

// encode cannot fail for what it is given here.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
