package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

const (
	issuer   = "https://issuer.test"
	audience = "https://soak.test"
	operator = "operator" // a user
	service  = "echo.v1.EchoService"
)

// The files of keys in the directory of a run.
const (
	certFile  = "server.pem" // certificate and key of all servers
	keysFile  = "keys.json"  // of the issuer, public
	tokenFile = "issuer.key" // of the issuer, secret
)

// writeKeys writes those of servers and of the issuer of tokens.
func writeKeys(dir string) error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	keys := object{"keys": []object{{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "1", "x": base64.RawURLEncoding.EncodeToString(public),
	}}}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, keysFile), keys.json(), 0o600),
		os.WriteFile(filepath.Join(dir, tokenFile), private, 0o600),
		writeCert(filepath.Join(dir, certFile)),
	)
}

// writeCert writes a certificate, which is its own authority, and its key.
func writeCert(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: service},
		DNSNames: []string{service}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})    // a buffer takes everything
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}) // likewise
	return os.WriteFile(file, b.Bytes(), 0o600)
}

// authorities are whom certificates of servers are verified by.
func authorities(dir string) (*x509.CertPool, error) {
	b, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, errors.New(certFile + " has no certificate")
	}
	return pool, nil
}

// verifiedBy is how servers are told to verify tokens.
func verifiedBy(dir string) string {
	return "jwks:" + filepath.Join(dir, keysFile) + "?" + url.Values{"issuer": {issuer}, "audience": {audience}}.Encode()
}

// mint issues tokens of users.
type mint struct{ key ed25519.PrivateKey }

func newMint(dir string) (*mint, error) {
	key, err := os.ReadFile(filepath.Join(dir, tokenFile))
	if err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New(tokenFile + " is no key")
	}
	return &mint{key}, nil
}

// token returns a new one, which is good from now for a while.
func (m *mint) token(user string, life time.Duration) string {
	now := time.Now()
	signed := object{"alg": "EdDSA", "typ": "JWT", "kid": "1"}.part() + "." + object{
		"iss": issuer, "aud": audience, "sub": user, "iat": now.Unix(), "exp": now.Add(life).Unix(), "jti": rand.Text(),
	}.part()
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(m.key, []byte(signed)))
}

// object is a JSON object of strings, numbers and lists.
type object map[string]any

func (o object) json() []byte {
	b, _ := json.Marshal(o) // what it holds can be written
	return b
}

// part is the object as a part of a token (RFC 7515, 3.1).
func (o object) part() string { return base64.RawURLEncoding.EncodeToString(o.json()) }
