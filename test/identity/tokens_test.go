package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const audience = "matrix.test"

// issuer makes tokens, with its own hands: RFC 7515 and 8037.
type issuer struct {
	name string
	use  string
	key  ed25519.PrivateKey
	file string // its keys, as a JWKS
}

func newIssuer(t testing.TB, use string) *issuer {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{name: "https://" + use + "s.test", use: use, key: key, file: filepath.Join(t.TempDir(), use+"s.json")}
	set := map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k1", "x": base64.RawURLEncoding.EncodeToString(public),
	}}}
	if err := os.WriteFile(i.file, encode(set), 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

// spec is how a server is told of the issuer.
func (i *issuer) spec() string {
	return "jwks:" + i.file + "?issuer=" + i.name + "&audience=" + audience + "&use=" + i.use
}

// token makes one that is good for so long from now.
func (i *issuer) token(subject string, ttl time.Duration, groups ...string) string {
	now := time.Now()
	return i.sign(map[string]any{
		"iss": i.name, "aud": audience, "sub": subject, "groups": groups,
		"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(ttl).Unix(),
	}, i.key)
}

// forged is a token that somebody else has signed.
func (i *issuer) forged(subject string) string {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	other := *i
	other.key = key
	return other.token(subject, time.Hour, "staff")
}

func (i *issuer) sign(claims map[string]any, key ed25519.PrivateKey) string {
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(encode(v)) }
	text := part(map[string]string{"alg": "EdDSA", "kid": "k1", "typ": "JWT"}) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
