package auth

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzToken looks for text that is accepted and is not the one good token, and
// for panics.
func FuzzToken(f *testing.F) {
	k := testKeys()["EdDSA"]
	a := open(f, "", k)
	good := k.token()
	if !accepted(a, good) {
		f.Fatal("the control is refused")
	}
	f.Add(good)
	for _, change := range []func(*attacks){(*attacks).keyIDs, (*attacks).critical, (*attacks).headerJSON, (*attacks).encodings, (*attacks).shapes} {
		corpus := &attacks{key: k, evil: newEdKey(k.id), url: "http://127.0.0.1:1"}
		change(corpus)
		for _, token := range corpus.made {
			if len(token) < maxToken {
				f.Add(token)
			}
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		a.Clear()
		if id, err := authenticate(a, token); err == nil && id != (Identity{}) && token != good {
			t.Errorf("accepted as %v: %q", id, token)
		}
	})
}

// FuzzSignedHeader and claims: whatever a trusted key has signed, what is
// accepted has one meaning for other parsers too.
func FuzzSigned(f *testing.F) {
	k := testKeys()["EdDSA"]
	a := open(f, "&typ=any", k)
	f.Add(k.header(), testClaims())
	f.Add(`{"alg":"EdDSA","Alg":"none"}`, testClaims("groups", "g", "aud", []string{testAudience}))
	f.Fuzz(func(t *testing.T, header, claims string) {
		id, err := authenticate(a, k.sign(header, claims))
		if err != nil || id == (Identity{}) {
			return
		}
		var h, c map[string]any
		if json.Unmarshal([]byte(header), &h) != nil || json.Unmarshal([]byte(claims), &c) != nil {
			t.Fatalf("accepted, and no JSON: %q %q", header, claims)
		}
		if h["alg"] != "EdDSA" || c["iss"] != testIssuer || c["sub"] != id.User.ID || c["exp"] == nil {
			t.Errorf("accepted as %v: %q %q", id.User, header, claims)
		}
		if strings.ContainsAny(id.User.ID+id.User.Name+strings.Join(id.User.Groups, ""), "\r\n\x00\x1b") {
			t.Errorf("control characters in %q", id.User)
		}
	})
}
