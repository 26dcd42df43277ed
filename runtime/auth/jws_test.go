package auth

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-jose/go-jose/v4"
)

// What is refused before any key is looked for, and why: the log has to say so.
func TestParseJWS(t *testing.T) {
	k := newEdKey("k")
	body := testClaims()
	good := k.sign(k.header(), body)
	for token, want := range map[string]string{
		good:                                "",
		good + ".":                          "three parts",
		good[:strings.LastIndex(good, ".")]: "three parts",
		strings.Repeat(".", maxToken):       "three parts",
		strings.Repeat("a", maxToken+1):     "8193 bytes",
		"." + good[strings.Index(good, ".")+1:] + ".x": "three parts",
		"=" + good:     "header: no base64url",
		good + "=":     "signature: no base64url",
		good + "\n":    "signature: no base64url",
		"a" + good[1:]: "header: ",
		k.sign(k.header("crit", []string{}), body):                              "crit asks for an extension",
		k.sign(k.header("b64", true), body):                                     "b64 asks for an extension",
		k.sign(k.header("alg", nil), body):                                      "no alg",
		k.sign(k.header("kid", strings.Repeat("a", 64)), body):                  "",
		k.sign(k.header("kid", strings.Repeat("a", 65)), body):                  "header: kid",
		k.sign(k.header("kid", "azAZ09._-"), body):                              "",
		k.sign(k.header("kid", "a/b"), body):                                    "header: kid",
		k.sign(k.header("kid", "a\nb"), body):                                   `kid "a\nb"`,
		k.sign(k.header("kid", ""), body):                                       "header: kid",
		k.sign(k.header("kid", 1), body):                                        "header: kid",
		k.sign(k.header("typ", 1), body):                                        "typ is no string",
		k.sign(`{"alg":"EdDSA","alg":"EdDSA"}`, body):                           `member "alg" stands twice`,
		k.sign(`{"alg":"EdDSA","x":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}`, body): "deeper than 16",
		k.sign("[]", body):                                                      "no JSON object",
		k.sign("x", body):                                                       "header: no JSON",
	} {
		if _, err := parseJWS(token); !matches(err, want) {
			t.Errorf("%.60q: got %v, want %q", token, err, want)
		}
	}
}

// The key decides the algorithm before the signature is looked at.
func TestFindKey(t *testing.T) {
	ed, ec := testKeys()["EdDSA"], testKeys()["ES256"]
	second := newEdKey("ed-2")
	keys, _, err := parseKeys(keySetJSON(ed.jwk(), second.jwk(), ec.jwk()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		token jws
		set   *keySet
		want  string // a key's ID, or part of an error
	}{
		{jws{alg: "EdDSA", kid: "ed-1", hasKid: true}, keys, "ed-1"},
		{jws{alg: "ES256"}, keys, "ec-1"},
		{jws{alg: "ES256", kid: "ed-1", hasKid: true}, keys, `key "ed-1" is for EdDSA`},
		{jws{alg: "none", kid: "ed-1", hasKid: true}, keys, `alg "none"`},
		{jws{alg: "EdDSA", kid: "x", hasKid: true}, keys, `unknown key: kid "x"`},
		{jws{alg: "EdDSA"}, keys, "there are 2 for alg"},
		{jws{alg: "RS256"}, keys, "there are 0 for alg"},
		{jws{alg: "none"}, keys, "there are 0 for alg"},
		{jws{alg: "EdDSA", kid: "ed-1", hasKid: true}, &keySet{}, "unknown key: there are none"},
	} {
		k, err := c.set.find(c.token)
		if err != nil && !strings.Contains(err.Error(), c.want) || err == nil && k.id != c.want {
			t.Errorf("%+v: got %v, want %q", c.token, err, c.want)
		}
	}
}

// A user's token makes no service, though Identify would see to it as well.
func TestUserTokenInTheServiceHeader(t *testing.T) {
	k := newEdKey("k")
	a := open(t, "", k)
	for range 2 {
		id, err := a.Authenticate(context.Background(), Credential{Token: k.token(), OfService: true})
		if !matches(err, "proves a user") || id != (Identity{}) {
			t.Errorf("got %v, %v", id, err)
		}
	}
}

// The SPIFFE ID of a service is for its certificate to prove: rules that name
// one whole do not ask for an issuer.
func TestNoTokenProvesASPIFFEID(t *testing.T) {
	k := newEdKey("k")
	a := open(t, "&use=service", k)
	for id, want := range map[string]string{
		"billing": "", "example.org/billing": "", "x-spiffe://example.org/billing": "",
		"spiffe://example.org/billing": "only a certificate proves", "SPIFFE://example.org/billing": "only a certificate proves", "spiffe://": "only a certificate proves",
	} {
		got, err := authenticate(a, k.token("sub", id))
		if !matches(err, want) || err == nil && got.Service.ID != id {
			t.Errorf("%s: got %v, %v, want %q", id, got, err, want)
		}
	}
}

// What no key can be named asks the issuer for none.
func TestImpossibleKeyIDsFetchNothing(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}}
		a := i.open(t)
		for _, kid := range []string{"../keys", strings.Repeat("a", 65), ""} {
			if accepted(a, k.sign(k.header("typ", "at+jwt", "kid", kid), testClaims())) {
				t.Errorf("%q: accepted", kid)
			}
		}
		a.Close()
		if accepted(a, k.accessToken()) || i.count() != 0 {
			t.Errorf("asked %d times, with impossible kids and after Close", i.count())
		}
	})
}

// A set that lists its keys in another order is the same set.
func TestOrderOfKeys(t *testing.T) {
	set := []jose.JSONWebKey{newEdKey("a").jwk(), newEdKey("").jwk(), newEdKey("b").jwk()}
	first, _, err := parseKeys(keySetJSON(set...))
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(set)
	second, _, err := parseKeys(keySetJSON(set...))
	if err != nil {
		t.Fatal(err)
	}
	if !second.equal(first) {
		t.Error("they differ by their order")
	}
	second.succeed(first)
	for _, k := range first.all {
		if k.gone.Load() || !slices.Contains(second.all, k) || k.id != "" && second.byID[k.id] != k {
			t.Errorf("key %q was not taken over", k.id)
		}
	}
}
