//go:build real

package peers_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	plaintext "google.golang.org/grpc/credentials/insecure"

	"github.com/go-easyops/easyops/bench/serving"
)

const (
	serverName = "peer.test"
	issuer     = "https://issuer.test"
	audience   = "https://peer.test"
)

// files are what servers and their callers are told of.
type files struct {
	cert, auth              string // both as flags
	token, expired, foreign string // the last is of another key
}

func writeFiles(t *testing.T) files {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys.json")
	text := fmt.Sprintf(`{"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "1", "x": %q}]}`, base64.RawURLEncoding.EncodeToString(public))
	if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return files{
		cert:    writeCert(t, filepath.Join(t.TempDir(), "cert.pem")),
		auth:    "jwks:" + keys + "?" + url.Values{"issuer": {issuer}, "audience": {audience}}.Encode(),
		token:   signed(t, private, time.Hour),
		expired: signed(t, private, -time.Hour),
		foreign: signed(t, other, time.Hour),
	}
}

func signed(t *testing.T, key ed25519.PrivateKey, valid time.Duration) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.RegisteredClaims{
		Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: "alice", ExpiresAt: jwt.NewNumericDate(time.Now().Add(valid)),
	})
	token.Header["kid"] = "1"
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// serveArgs are the flags of a server that is called so.
func (f files) serveArgs(security string) []string {
	return map[string][]string{
		serving.TLS:    {"-cert", f.cert},
		serving.Token:  {"-auth", f.auth},
		serving.Mutual: {"-cert", f.cert, "-ca", f.cert, "-auth", f.auth},
	}[security]
}

// credentials are what a server that is called so is called with.
func (f files) credentials(t *testing.T, security string, known bool) credentials.TransportCredentials {
	t.Helper()
	if security != serving.TLS && security != serving.Mutual {
		return plaintext.NewCredentials()
	}
	text, err := os.ReadFile(f.cert)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName}
	c.RootCAs.AppendCertsFromPEM(text)
	if security == serving.Mutual && known {
		own, err := tls.LoadX509KeyPair(f.cert, f.cert)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return credentials.NewTLS(c)
}

func (s *server) dial(t *testing.T, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// writeCert writes a certificate that is its own authority, and its key.
func writeCert(t *testing.T, file string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{serverName}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
