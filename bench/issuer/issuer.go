// Package issuer makes what callers prove who they are by, where something is
// measured: certificates that are their own authority, the keys of an issuer, and
// its tokens.
package issuer

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
	"math/big"
	"net"
	"net/url"
	"os"
	"time"
)

// WriteCert writes a certificate and its key into one file. It is for servers and
// callers of that name, and for servers at 127.0.0.1, for two days, and signed by
// itself.
func WriteCert(file, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(48 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
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

// keyID names the one key of an issuer.
const keyID = "1"

// WriteKeys makes the key of an issuer, and writes its public half into a file as a
// set of keys (RFC 7517, RFC 8037).
func WriteKeys(file string) (ed25519.PrivateKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	keys := Claims{"keys": []Claims{{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": keyID, "x": base64.RawURLEncoding.EncodeToString(public),
	}}}
	return private, os.WriteFile(file, keys.json(), 0o600)
}

// Spec is how servers are told to verify tokens by such a file.
func Spec(file, issuer, audience string) string {
	return "jwks:" + file + "?" + url.Values{"issuer": {issuer}, "audience": {audience}}.Encode()
}

// Claims are what a token says: strings, numbers and lists.
type Claims map[string]any

// Token returns a token (RFC 7519) that says so, signed by EdDSA.
func Token(key ed25519.PrivateKey, c Claims) string {
	signed := Claims{"alg": "EdDSA", "typ": "JWT", "kid": keyID}.part() + "." + c.part()
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signed)))
}

func (c Claims) json() []byte {
	b, _ := json.Marshal(c) // what it holds can be written
	return b
}

// part is what a token is made of (RFC 7515, section 3.1).
func (c Claims) part() string { return base64.RawURLEncoding.EncodeToString(c.json()) }
