// Package token verifies the tokens of callers for peers that can be told to.
package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Verifier verifies the tokens of one issuer. Calls may run concurrently.
type Verifier struct {
	keys   map[string]ed25519.PublicKey
	parser *jwt.Parser
}

// New returns what verifies tokens as "jwks:FILE?issuer=…&audience=…" says. The
// keys of the file are to be of Ed25519 (RFC 8037).
func New(spec string) (*Verifier, error) {
	rest, ok := strings.CutPrefix(spec, "jwks:")
	if !ok {
		return nil, fmt.Errorf("-auth %q: only jwks:FILE?issuer=…&audience=… is supported", spec)
	}
	file, query, _ := strings.Cut(rest, "?")
	options, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("-auth: %w", err)
	}
	v := &Verifier{parser: jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithExpirationRequired(),
		jwt.WithIssuer(options.Get("issuer")), jwt.WithAudience(options.Get("audience")))}
	v.keys, err = readKeys(file)
	return v, err
}

// Verify returns what a token says, if it is valid.
func (v *Verifier) Verify(token string) (*jwt.RegisteredClaims, error) {
	claims := &jwt.RegisteredClaims{}
	if _, err := v.parser.ParseWithClaims(token, claims, v.Key); err != nil {
		return nil, err
	}
	return claims, nil
}

// Key is the [jwt.Keyfunc].
func (v *Verifier) Key(t *jwt.Token) (any, error) {
	id, _ := t.Header["kid"].(string)
	if key, ok := v.keys[id]; ok {
		return key, nil
	}
	return nil, errors.New("no such key")
}

func readKeys(file string) (map[string]ed25519.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct{ Kid, Crv, X string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	keys := map[string]ed25519.PublicKey{}
	for _, k := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if k.Crv != "Ed25519" || err != nil || len(x) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%s: key %q is not of Ed25519", file, k.Kid)
		}
		keys[k.Kid] = x
	}
	return keys, nil
}
