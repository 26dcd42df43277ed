package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"time"
)

const (
	issuer   = "https://issuer.test"
	audience = "https://bench.test"
)

// alice is whose token calls have where they have one.
const alice = "0190f5ae-0c55-7d10-8d9e-b1a2c3d4e5f6"

// writeKeys writes the keys of an issuer into a file. It returns how tokens are
// verified by them, and one of its tokens, for a day.
func writeKeys(file string) (spec, token string, err error) {
	spec, tokens, err := writeKeysOf(file, alice)
	if err != nil {
		return "", "", err
	}
	return spec, tokens[0], nil
}

// writeKeysOf does so for a token of each subject.
func writeKeysOf(file string, subjects ...string) (spec string, tokens []string, err error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", nil, err
	}
	keys := object{"keys": []object{{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "1", "x": base64.RawURLEncoding.EncodeToString(public),
	}}}
	if err := os.WriteFile(file, keys.json(), 0o600); err != nil {
		return "", nil, err
	}
	for _, subject := range subjects {
		tokens = append(tokens, tokenOf(private, subject, time.Now()))
	}
	return "jwks:" + file + "?" + url.Values{"issuer": {issuer}, "audience": {audience}}.Encode(), tokens, nil
}

// tokenOf returns a token as those of many issuers are.
func tokenOf(key ed25519.PrivateKey, subject string, now time.Time) string {
	signed := object{"alg": "EdDSA", "typ": "JWT", "kid": "1"}.part() + "." + object{
		"iss": issuer, "aud": audience, "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(), "jti": "0190f5ae-7b1d-7c33-9a53-5f0d2c1b4e6a",
		"sub": subject, "name": "Alice Example", "email": "alice@example.com", "azp": "web-frontend", "scope": "openid profile email",
		"groups": []string{"staff", "engineering", "oncall", "release-managers"},
	}.part()
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signed)))
}

// object is a JSON object of strings, numbers and lists.
type object map[string]any

func (o object) json() []byte {
	b, _ := json.Marshal(o) // what it holds can be written
	return b
}

// part is the object as a part of a token (RFC 7515, 3.1).
func (o object) part() string { return base64.RawURLEncoding.EncodeToString(o.json()) }
