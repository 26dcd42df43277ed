package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func keysOf(key ed25519.PublicKey) string {
	return fmt.Sprintf(`{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": %q}]}`, base64.RawURLEncoding.EncodeToString(key))
}

func TestVerify(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v, err := New("jwks:" + write(t, keysOf(public)) + "?issuer=i&audience=a")
	if err != nil {
		t.Fatal(err)
	}
	in := func(d time.Duration) *jwt.NumericDate { return jwt.NewNumericDate(time.Now().Add(d)) }
	good := jwt.RegisteredClaims{Issuer: "i", Audience: jwt.ClaimStrings{"a"}, ExpiresAt: in(time.Hour), Subject: "s"}
	with := func(change func(*jwt.RegisteredClaims)) jwt.RegisteredClaims { c := good; change(&c); return c }
	for _, c := range []struct {
		name   string
		method jwt.SigningMethod
		key    any
		kid    string
		claims jwt.RegisteredClaims
		valid  bool
	}{
		{"good", jwt.SigningMethodEdDSA, private, "1", good, true},
		{"another key", jwt.SigningMethodEdDSA, private, "2", good, false},
		{"another issuer", jwt.SigningMethodEdDSA, private, "1", with(func(c *jwt.RegisteredClaims) { c.Issuer = "x" }), false},
		{"another audience", jwt.SigningMethodEdDSA, private, "1", with(func(c *jwt.RegisteredClaims) { c.Audience = nil }), false},
		{"expired", jwt.SigningMethodEdDSA, private, "1", with(func(c *jwt.RegisteredClaims) { c.ExpiresAt = in(-time.Hour) }), false},
		{"for ever", jwt.SigningMethodEdDSA, private, "1", with(func(c *jwt.RegisteredClaims) { c.ExpiresAt = nil }), false},
		{"the public key as a secret", jwt.SigningMethodHS256, []byte(public), "1", good, false},
		{"not signed", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "1", good, false},
	} {
		token := jwt.NewWithClaims(c.method, c.claims)
		token.Header["kid"] = c.kid
		text, err := token.SignedString(c.key)
		if err != nil {
			t.Fatal(err)
		}
		if claims, err := v.Verify(text); (err == nil) != c.valid || c.valid && claims.Subject != "s" {
			t.Errorf("%s: %+v, %v", c.name, claims, err)
		}
	}
}

func TestNewFails(t *testing.T) {
	for _, spec := range []string{
		"", "mtls", "jwks:/no/such", "jwks:" + write(t, "{"), "jwks:" + write(t, "{}") + "?%zz",
		"jwks:" + write(t, `{"keys": [{"crv": "P-256", "kid": "1", "x": "AA"}]}`), "jwks:" + write(t, keysOf(nil)),
	} {
		if _, err := New(spec); err == nil {
			t.Errorf("%q is taken", spec)
		}
	}
}
