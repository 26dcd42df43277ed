package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	testIssuer   = "https://issuer.example"
	testAudience = "echo"
)

// testKey is a private key of the tests.
type testKey struct {
	id   string
	alg  string
	priv crypto.Signer
}

func (k testKey) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.priv.Public(), KeyID: k.id, Algorithm: k.alg, Use: "sig"}
}

// sign makes a token of a header and claims that are JSON already, however
// broken.
func (k testKey) sign(header, claims string) string {
	input := encode(header) + "." + encode(claims)
	return input + "." + encode(string(k.signature(input)))
}

func (k testKey) signature(input string) []byte {
	sum := sha256.Sum256([]byte(input))
	switch priv := k.priv.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(priv, []byte(input))
	case *rsa.PrivateKey:
		return must(rsa.SignPKCS1v15(nil, priv, crypto.SHA256, sum[:]))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, priv, sum[:])
		if err != nil {
			panic(err)
		}
		n := (priv.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
	}
	panic("no such key")
}

func (k testKey) header(more ...any) string {
	h := map[string]any{"alg": k.alg}
	if k.id != "" {
		h["kid"] = k.id
	}
	return object(h, more...)
}

// token makes a good token, with changes: names and values of claims; a nil value
// takes the claim out.
func (k testKey) token(changes ...any) string { return k.sign(k.header(), testClaims(changes...)) }

func testClaims(changes ...any) string {
	now := time.Now().Unix()
	return object(map[string]any{
		"iss": testIssuer, "aud": testAudience, "sub": "alice", "name": "Alice A.", "email": "alice@example.com",
		"groups": []string{"staff", "ops"}, "iat": now, "exp": now + 3600,
	}, changes...)
}

func object(o map[string]any, changes ...any) string {
	o = maps.Clone(o)
	for i := 0; i < len(changes); i += 2 {
		if o[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
			delete(o, changes[i].(string))
		}
	}
	return string(must(json.Marshal(o)))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The keys of the tests, one of each kind.
var testKeys = sync.OnceValue(func() map[string]testKey {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]testKey{
		"EdDSA": {"ed-1", "EdDSA", ed},
		"ES256": {"ec-1", "ES256", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))},
		"RS256": {"rsa-1", "RS256", must(rsa.GenerateKey(rand.Reader, 2048))},
	}
})

func newEdKey(id string) testKey {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return testKey{id, "EdDSA", priv}
}

func keySetJSON(keys ...jose.JSONWebKey) []byte {
	return must(json.Marshal(jose.JSONWebKeySet{Keys: keys}))
}

// writeKeys writes a file of keys.
func writeKeys(t testing.TB, keys ...testKey) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys.json")
	rewriteKeys(t, path, keys...)
	return path
}

func rewriteKeys(t testing.TB, path string, keys ...testKey) {
	t.Helper()
	var set []jose.JSONWebKey
	for _, k := range keys {
		set = append(set, k.jwk())
	}
	if err := os.WriteFile(path, keySetJSON(set...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// open opens "jwks:" with the keys and further parameters.
func open(t testing.TB, params string, keys ...testKey) *tokens {
	t.Helper()
	return openSpec(t, "jwks:"+writeKeys(t, keys...)+"?issuer="+testIssuer+"&audience="+testAudience+params)
}

func openSpec(t testing.TB, spec string) *tokens {
	t.Helper()
	a, err := Open(spec, Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return a.(*tokens)
}

func authenticate(a Authenticator, token string) (Identity, error) {
	return a.Authenticate(context.Background(), Credential{Token: token})
}

func TestTokenToPrincipal(t *testing.T) {
	for alg, k := range testKeys() {
		t.Run(alg, func(t *testing.T) {
			a := open(t, "", k)
			if got, want := a.String(), "user tokens of "+testIssuer+" (jwks)"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			id, err := authenticate(a, k.token())
			if err != nil {
				t.Fatal(err)
			}
			want := Identity{User: &Principal{
				ID: "alice", Name: "Alice A.", Issuer: testIssuer, Email: "alice@example.com", Groups: []string{"staff", "ops"},
			}}
			if diff := cmp.Diff(want, id, cmpopts.IgnoreUnexported(Principal{}), cmpopts.IgnoreFields(Principal{}, "Expires")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
