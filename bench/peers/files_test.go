//go:build real

package peers_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	plaintext "google.golang.org/grpc/credentials/insecure"

	"github.com/go-easyops/easyops/bench/issuer"
	"github.com/go-easyops/easyops/bench/serving"
)

const (
	serverName = "peer.test"
	issuerName = "https://issuer.test"
	audience   = "https://peer.test"
)

// files are what servers and their callers are told of.
type files struct {
	cert, auth              string // both as flags
	token, expired, foreign string // the last is of another key
}

func writeFiles(t *testing.T) files {
	t.Helper()
	keys, cert := filepath.Join(t.TempDir(), "keys.json"), filepath.Join(t.TempDir(), "cert.pem")
	private, err := issuer.WriteKeys(keys)
	if err := errors.Join(err, issuer.WriteCert(cert, serverName)); err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return files{
		cert:    cert,
		auth:    issuer.Spec(keys, issuerName, audience),
		token:   signed(t, private, time.Hour),
		expired: signed(t, private, -time.Hour),
		foreign: signed(t, other, time.Hour),
	}
}

func signed(t *testing.T, key ed25519.PrivateKey, valid time.Duration) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.RegisteredClaims{
		Issuer: issuerName, Audience: jwt.ClaimStrings{audience}, Subject: "alice", ExpiresAt: jwt.NewNumericDate(time.Now().Add(valid)),
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
