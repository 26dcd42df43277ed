package main

import (
	"crypto/ed25519"
	"time"

	"github.com/go-easyops/easyops/bench/issuer"
)

const (
	issuerName = "https://issuer.test"
	audience   = "https://bench.test"
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
	key, err := issuer.WriteKeys(file)
	if err != nil {
		return "", nil, err
	}
	for _, subject := range subjects {
		tokens = append(tokens, tokenOf(key, subject, time.Now()))
	}
	return issuer.Spec(file, issuerName, audience), tokens, nil
}

// tokenOf returns a token as those of many issuers are.
func tokenOf(key ed25519.PrivateKey, subject string, now time.Time) string {
	return issuer.Token(key, issuer.Claims{
		"iss": issuerName, "aud": audience, "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(), "jti": "0190f5ae-7b1d-7c33-9a53-5f0d2c1b4e6a",
		"sub": subject, "name": "Alice Example", "email": "alice@example.com", "azp": "web-frontend", "scope": "openid profile email",
		"groups": []string{"staff", "engineering", "oncall", "release-managers"},
	})
}
