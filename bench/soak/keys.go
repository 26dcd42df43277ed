package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/go-easyops/easyops/bench/issuer"
)

const (
	issuerName = "https://issuer.test"
	audience   = "https://soak.test"
	operator   = "operator" // a user
	service    = "echo.v1.EchoService"
)

// The files of keys in the directory of a run.
const (
	certFile  = "server.pem" // certificate and key of all servers
	keysFile  = "keys.json"  // of the issuer, public
	tokenFile = "issuer.key" // of the issuer, secret
)

// writeKeys writes those of servers and of the issuer of tokens.
func writeKeys(dir string) error {
	key, err := issuer.WriteKeys(filepath.Join(dir, keysFile))
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, tokenFile), key, 0o600),
		issuer.WriteCert(filepath.Join(dir, certFile), service),
	)
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
	return issuer.Spec(filepath.Join(dir, keysFile), issuerName, audience)
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
	return issuer.Token(m.key, issuer.Claims{
		"iss": issuerName, "aud": audience, "sub": user, "iat": now.Unix(), "exp": now.Add(life).Unix(), "jti": rand.Text(),
	})
}
