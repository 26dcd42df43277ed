package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// attacks is a list of forged tokens, by what they try.
type attacks struct {
	key   testKey // that the server trusts
	evil  testKey // of the attacker, of the same kind
	url   string  // where the attacker serves keys
	names []string
	made  []string
}

func (a *attacks) add(name, token string) {
	a.names = append(a.names, name)
	a.made = append(a.made, token)
}

// A forged token must not be accepted, whatever it tries. Each base is a token
// that is accepted, and what differs from it is the attack alone.
func TestForgedTokens(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	other := newEdKey("other-1")
	for alg, k := range testKeys() {
		t.Run(alg, func(t *testing.T) {
			a := &attacks{key: k, evil: sameKind(k), url: server.URL}
			a.algorithms()
			a.publicKeyAsSecret()
			a.keyIDs()
			a.embeddedKeys()
			a.critical()
			a.headerJSON()
			headers := len(a.made)
			a.claimJSON()
			a.encodings()
			a.shapes()
			a.signatures(other)
			auth := open(t, "&typ=any", k, other)
			accepted := 0
			for i, token := range a.made {
				if id, err := authenticate(auth, token); err == nil && id != (Identity{}) {
					accepted++
					t.Errorf("%s: accepted as %v", a.names[i], id)
				}
			}
			if id, err := authenticate(auth, k.token()); err != nil || id.User.ID != "alice" {
				t.Errorf("the control is refused: %v", err)
			}
			if headers < 60 || asked.Load() != 0 {
				t.Errorf("%d header attacks, want at least 60; %d keys asked of the attacker", headers, asked.Load())
			}
			t.Logf("%d forged tokens, %d of them by their header: %d accepted", len(a.made), headers, accepted)
		})
	}
}

func sameKind(k testKey) testKey {
	switch k.priv.(type) {
	case *rsa.PrivateKey:
		k.priv = must(rsa.GenerateKey(rand.Reader, 2048))
	case *ecdsa.PrivateKey:
		k.priv = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	default:
		k = newEdKey(k.id)
	}
	return k
}

// algorithms: the token does not choose its algorithm.
func (a *attacks) algorithms() {
	for _, alg := range []any{
		"none", "None", "NONE", "nOnE", "none ", " none", "n\u006fne\x00", "", nil, 0, true,
		[]string{a.key.alg},
		map[string]string{"alg": a.key.alg},
		strings.ToLower(a.key.alg), a.key.alg + " ", a.key.alg + "\x00", "HS256", "HS384", "HS512", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES384", "ES512", "ES256K", "Ed25519", "Ed448", "ML-DSA-44", "RS1", "dir", "A128KW", "RSA-OAEP", "RS256/ES256/EdDSA",
	} {
		header := a.key.header("alg", alg)
		a.add(fmt.Sprintf("alg %q, signed", alg), a.key.sign(header, testClaims()))
		unsigned := encode(header) + "." + encode(testClaims()) + "."
		a.add(fmt.Sprintf("alg %q, no signature", alg), unsigned)
		a.add(fmt.Sprintf("alg %q, a zero", alg), unsigned+"AA")
	}
	for alg := range testKeys() {
		if alg != a.key.alg {
			a.add("alg of another kind "+alg, a.key.sign(a.key.header("alg", alg), testClaims()))
		}
	}
}

// publicKeyAsSecret: what everyone knows is no secret.
func (a *attacks) publicKeyAsSecret() {
	der := must(x509.MarshalPKIXPublicKey(a.key.priv.Public()))
	jwk := must(json.Marshal(a.key.jwk()))
	secrets := map[string][]byte{
		"PKIX DER": der, "JWK": jwk, "empty": {}, "kid": []byte(a.key.id), "zeros": make([]byte, 64),
		"PKIX PEM":             pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"PKIX PEM, trimmed":    bytes.TrimSpace(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"JWKS":                 keySetJSON(a.key.jwk()),
		"PKIX DER in base64":   []byte(base64.StdEncoding.EncodeToString(der)),
		"certificate-like PEM": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}
	switch public := a.key.priv.Public().(type) {
	case *rsa.PublicKey:
		secrets["PKCS1"] = x509.MarshalPKCS1PublicKey(public)
		secrets["PKCS1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: secrets["PKCS1"]})
		secrets["modulus"] = public.N.Bytes()
	case *ecdsa.PublicKey:
		secrets["point"] = must(public.Bytes())
	case ed25519.PublicKey:
		secrets["point"] = public
	}
	for name, secret := range secrets {
		for alg, h := range map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New} {
			for _, kid := range []any{a.key.id, nil} {
				input := encode(a.key.header("alg", alg, "kid", kid)) + "." + encode(testClaims())
				mac := hmac.New(h, secret)
				mac.Write([]byte(input))
				a.add(fmt.Sprintf("%s with the %s, kid %v", alg, name, kid), input+"."+encode(string(mac.Sum(nil))))
			}
		}
	}
}

// keyIDs: a key is found by its exact ID, and nothing is made of what looks like
// a path, a query or an address.
func (a *attacks) keyIDs() {
	for _, kid := range []any{
		"../../../../../../dev/null", "/dev/null", "/proc/self/environ", "file:///dev/null", a.url, a.url + "/jwks.json", "' OR '1'='1", "' UNION SELECT 'x';--",
		"|/bin/true", "$(id)", "{{7*7}}", "${jndi:ldap://127.0.0.1/a}", "%2e%2e%2f", "..", ".", "-", a.key.id + "\x00", a.key.id + " ", " " + a.key.id, a.key.id + "\n",
		strings.ToUpper(a.key.id), a.key.id + "/../" + a.key.id, strings.Repeat("a", 65), strings.Repeat("a", 4000), "", 0, 1e300, true,
		[]string{a.key.id},
		map[string]string{"kid": a.key.id},
		"\u0435d-1", "e\u0301d-1", "\u202eed-1", "unknown", "other-1",
	} {
		a.add(fmt.Sprintf("kid %.40q, the attacker's key", fmt.Sprint(kid)), a.evil.sign(a.key.header("kid", kid), testClaims()))
		a.add(fmt.Sprintf("kid %.40q, the right key", fmt.Sprint(kid)), a.key.sign(a.key.header("kid", kid), testClaims()))
	}
	a.add("kid null", a.key.sign(`{"alg":"`+a.key.alg+`","kid":null}`, testClaims()))
	a.add("no kid, the attacker's key", a.evil.sign(a.key.header("kid", nil), testClaims()))
}

// embeddedKeys: the token does not bring its key along.
func (a *attacks) embeddedKeys() {
	certificate := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, a.evil.priv.Public(), a.evil.priv))
	sum := sha256.Sum256(certificate)
	for name, header := range map[string][]any{
		"jwk":      {"jwk", a.evil.jwk()},
		"jku":      {"jku", a.url},
		"jku, own": {"jku", testIssuer + "@" + a.url},
		"x5u":      {"x5u", a.url},
		"x5c":      {"x5c", []string{base64.StdEncoding.EncodeToString(certificate)}},
		"x5t":      {"x5t#S256", encode(string(sum[:])), "x5c", []string{base64.StdEncoding.EncodeToString(certificate)}},
		"keys":     {"keys", []any{a.evil.jwk()}},
		"all":      {"jwk", a.evil.jwk(), "jku", a.url, "x5u", a.url},
	} {
		for _, kid := range []any{a.key.id, nil, "evil", a.url} {
			a.add(fmt.Sprintf("%s, kid %v", name, kid), a.evil.sign(a.key.header(append(header, "kid", kid)...), testClaims()))
		}
	}
}

// critical: what a token says must be understood is not (RFC 7515, 4.1.11). The
// tokens are signed by the right key.
func (a *attacks) critical() {
	for _, header := range [][]any{
		{"crit", []string{"exp"}, "exp", 1},
		{"crit", []string{"b64"}, "b64", true},
		{"crit", []string{"b64"}, "b64", false},
		{"crit", []string{}},
		{"crit", []string{"alg"}},
		{"crit", []string{"kid", "kid"}},
		{"crit", "exp"},
		{"crit", 1},
		{"crit", map[string]any{}},
		{"crit", []any{nil}},
		{"crit", []string{"http://example.com/UNDEFINED"}, "http://example.com/UNDEFINED", true},
		{"b64", false},
		{"b64", true},
		{"b64", "false"},
	} {
		a.add(fmt.Sprintf("%v", header), a.key.sign(a.key.header(header...), testClaims()))
	}
	a.add("crit null", a.key.sign(strings.Replace(a.key.header(), "{", `{"crit":null,`, 1), testClaims()))
	input := encode(a.key.header("b64", false, "crit", []string{"b64"})) + "." + strings.ReplaceAll(testClaims(), ".", "")
	a.add("payload in the clear", input+"."+encode(string(a.key.signature(input))))
}

// headerJSON: what two parsers could read in two ways is refused, though the
// right key has signed it.
func (a *attacks) headerJSON() {
	good := a.key.header()
	inner := strings.Trim(good, "{}")
	for _, header := range []string{
		`{"alg":"none",` + inner + `}`, `{` + inner + `,"alg":"none"}`, `{` + inner + `,"alg":"` + a.key.alg + `"}`, `{` + inner + `,"kid":"` + a.key.id + `"}`,
		`{"a\u006cg":"none",` + inner + `}`, `{` + inner + `,"x":{"y":1,"y":2}}`, `{"x":1,"\u0078":2,` + inner + `}`,
		good + `{}`, good + `x`, good + "\x00", "\ufeff" + good, good[:len(good)-1], `{` + inner + `,}`, `{,` + inner + `}`, `/**/` + good, strings.ReplaceAll(good, `"`, `'`),
		`[` + good + `]`, string(must(json.Marshal(good))), `{}`, `null`, `0`, `""`, `[]`, ` `, `{` + inner + `,"x":NaN}`, `{` + inner + `,"x":01}`, `{` + inner + `,"x":+1}`,
		`{` + inner + ",\"x\":\"\xff\"}", `{` + inner + `,"x":"` + "\n" + `"}`, `{` + inner + `,"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`,
		strings.Replace(good, `"alg"`, `"Alg"`, 1), strings.Replace(good, `"alg"`, `"ALG"`, 1), strings.Replace(good, `"alg"`, `"alg\u0000"`, 1),
		strings.Replace(good, `"alg"`, `"a\u017fg"`, 1), `{` + inner + `,"typ":1}`, `{` + inner + `,"typ":null}`, `{` + inner + `,"typ":["JWT"]}`,
	} {
		a.add(fmt.Sprintf("header %.80q", header), a.key.sign(header, testClaims()))
	}
}

// claimJSON: as for the header; the right key has signed all of them.
func (a *attacks) claimJSON() {
	good := testClaims()
	inner := strings.Trim(good, "{}")
	for _, claims := range []string{
		`{"iss":"` + testIssuer + `",` + inner + `}`, `{"sub":"root",` + inner + `}`, `{` + inner + `,"sub":"root"}`, `{` + inner + `,"s\u0075b":"root"}`, `{` + inner + `,"exp":9999999999}`,
		`{` + inner + `,"aud":"echo"}`, `{` + inner + `,"x":[{"y":1,"y":2}]}`, `{` + inner + `,"\ud800":1,"\ud801":2}`, good + good, good + `,`, "\ufeff" + good, `[` + good + `]`,
		string(must(json.Marshal(good))), `null`, `{}`, good[:len(good)-2], `{` + inner + ",\"x\":\"\xc0\xaf\"}", strings.Replace(good, `"iss"`, `"Iss"`, 1), strings.Replace(good, `"sub"`, `"SUB"`, 1),
		strings.Replace(good, `"exp"`, `"Exp"`, 1), strings.Replace(good, `"aud"`, `"AUD"`, 1), `{` + inner + `,"x":` + strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat(`}`, 1000) + `}`,
	} {
		a.add(fmt.Sprintf("claims %.80q", claims), a.key.sign(a.key.header(), claims))
	}
}

// encodings: one token has one spelling.
func (a *attacks) encodings() {
	good := a.key.token()
	parts := strings.Split(good, ".")
	for i, part := range parts {
		for name, changed := range map[string]string{
			"padded": part + "=", "padded twice": part + "==", "newline in it": part[:4] + "\n" + part[4:], "CR LF in it": part[:4] + "\r\n" + part[4:], "newline after it": part + "\n",
			"space": " " + part, "tab": part + "\t", "NUL": part + "\x00", "percent": part[:4] + "%2B" + part[4:], "plus": part[:4] + "+" + part[5:], "slash": part[:4] + "/" + part[5:],
			"non-ASCII": part[:4] + "\u0410" + part[5:], "wide": part[:4] + "\uff21" + part[5:], "trailing bits": trailingBits(part), "one character more": part + "A", "comma": part + ",", "empty": "",
			"as base64": base64.StdEncoding.EncodeToString(must(base64.RawURLEncoding.DecodeString(part))) + "=",
		} {
			if changed != part {
				a.add(fmt.Sprintf("part %d %s", i+1, name), strings.Join(slices.Replace(slices.Clone(parts), i, i+1, changed), "."))
			}
		}
	}
}

// trailingBits sets a bit that decodes to nothing, where the length leaves one.
func trailingBits(part string) string {
	if len(part)%4 == 0 {
		return part
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, part[len(part)-1])
	return part[:len(part)-1] + alphabet[last|1:last|1+1]
}

// shapes: only the compact serialisation is a token.
func (a *attacks) shapes() {
	good := a.key.token()
	p := strings.Split(good, ".")
	flat := map[string]any{"protected": p[0], "payload": p[1], "signature": p[2]}
	general := map[string]any{"payload": p[1], "signatures": []any{map[string]any{"protected": p[0], "signature": p[2]}}}
	for name, token := range map[string]string{
		"nothing": "", "one part": p[0], "two parts": p[0] + "." + p[1], "no signature": p[0] + "." + p[1] + ".", "two dots": "..", "detached": p[0] + ".." + p[2],
		"four parts": good + ".", "four parts, signature twice": good + "." + p[2], "five parts": good + "." + p[1] + "." + p[2], "leading dot": "." + good, "twice": good + good, "two, by comma": good + "," + good,
		"60,000 dots": strings.Repeat(".", 60_000), "token and dots": good + strings.Repeat(".", 60_000), "8,000 dots": strings.Repeat(".", 8_000), "1 MB": strings.Repeat("A", 1<<20),
		"1 MB of claims": a.key.sign(a.key.header(), testClaims("x", strings.Repeat("A", 1<<20))), "just too long": a.key.sign(a.key.header(), testClaims("x", strings.Repeat("A", 6200))),
		"flattened JSON": string(must(json.Marshal(flat))), "general JSON": string(must(json.Marshal(general))), "nested": a.key.sign(a.key.header("cty", "JWT"), good),
		"nested text": a.key.sign(a.key.header("cty", "JWT"), `"`+good+`"`), "Bearer": "Bearer " + good, "quoted": `"` + good + `"`, "with newline": good + "\n", "with space": " " + good,
		"encrypted": encode(`{"alg":"dir","enc":"A256GCM"}`) + ".." + encode("iv") + "." + encode("text") + "." + encode("tag"), "dots as %2E": strings.ReplaceAll(good, ".", "%2E"),
		"other dots": strings.ReplaceAll(good, ".", "\u3002"), "claims swapped": p[1] + "." + p[0] + "." + p[2],
	} {
		a.add(name, token)
	}
}

// signatures: they are of these bytes, by this key, in this form.
func (a *attacks) signatures(other testKey) {
	good := a.key.token()
	dot := strings.LastIndexByte(good, '.')
	input := good[:dot]
	right := must(base64.RawURLEncoding.DecodeString(good[dot+1:]))
	add := func(name string, signature []byte) { a.add("signature "+name, input+"."+encode(string(signature))) }
	for i := range right {
		flipped := bytes.Clone(right)
		flipped[i] ^= 1 << (i % 8)
		add(fmt.Sprintf("flipped at %d", i), flipped)
	}
	add("of zeros", make([]byte, len(right)))
	add("of ones", bytes.Repeat([]byte{0xff}, len(right)))
	add("truncated", right[:len(right)-1])
	add("halved", right[:len(right)/2])
	add("extended", append(bytes.Clone(right), 0))
	add("prefixed", append([]byte{0}, right...))
	add("twice", append(bytes.Clone(right), right...))
	add("of another token", a.key.signature(encode(a.key.header())+"."+encode(testClaims("sub", "bob"))))
	add("by the attacker", a.evil.signature(input))
	add("by another key of the set", other.signature(input))
	a.add("claims changed", encode(a.key.header())+"."+encode(testClaims("sub", "root"))+good[dot:])
	switch k := a.key.priv.(type) {
	case *ecdsa.PrivateKey:
		a.ecdsaSignatures(k, right, add)
	case *rsa.PrivateKey:
		sum, long := sha256.Sum256([]byte(input)), sha512.Sum512([]byte(input))
		add("PSS", must(rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], nil)))
		add("of SHA-512", must(rsa.SignPKCS1v15(nil, k, crypto.SHA512, long[:])))
		add("without a hash", must(rsa.SignPKCS1v15(nil, k, 0, sum[:])))
		add("plus the modulus", new(big.Int).Add(new(big.Int).SetBytes(right), k.N).Bytes())
	case ed25519.PrivateKey:
		order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		s := bytes.Clone(right[32:])
		slices.Reverse(s)
		s = new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
		slices.Reverse(s)
		add("plus the order", append(bytes.Clone(right[:32]), s...))
		add("of the hash", must(k.Sign(nil, sha512Of(input), &ed25519.Options{Hash: crypto.SHA512})))
	}
}

func sha512Of(s string) []byte {
	sum := sha512.Sum512([]byte(s))
	return sum[:]
}

// ecdsaSignatures holds what has fooled others, such as CVE-2022-21449. That (r,
// -s) is as good as (r, s) is no attack: it proves the same.
func (a *attacks) ecdsaSignatures(k *ecdsa.PrivateKey, right []byte, add func(string, []byte)) {
	n := k.Params().N
	r, s := new(big.Int).SetBytes(right[:32]), new(big.Int).SetBytes(right[32:])
	add("in ASN.1", must(asn1.Marshal(struct{ R, S *big.Int }{r, s})))
	pair := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	add("0, 1", pair(new(big.Int), big.NewInt(1)))
	add("1, 0", pair(big.NewInt(1), new(big.Int)))
	add("n, n", pair(n, n))
	add("r, 0", pair(r, new(big.Int)))
	add("r, n", pair(r, n))
	add("s, r", pair(s, r))
	add("1, 1", pair(big.NewInt(1), big.NewInt(1)))
}

// What only looks unusual is accepted: the corpus above is refused for what it
// tries, not for being odd.
func TestUnusualTokens(t *testing.T) {
	for alg, k := range testKeys() {
		t.Run(alg, func(t *testing.T) {
			a := open(t, "", k)
			for name, token := range map[string]string{
				"no kid":                 k.sign(k.header("kid", nil), testClaims()),
				"JSON with white space":  k.sign(" \n"+k.header()+"\t", " "+testClaims()+" "),
				"escapes":                k.sign(strings.Replace(k.header(), `"alg"`, `"\u0061lg"`, 1), testClaims()),
				"unknown header members": k.sign(k.header("x", map[string]any{"y": []int{1}}), testClaims()),
				"its own key embedded":   k.sign(k.header("jwk", k.jwk()), testClaims()),
				"jku of nowhere":         k.sign(k.header("jku", "https://nowhere.example"), testClaims()),
				"typ":                    k.sign(k.header("typ", "application/at+JWT"), testClaims()),
				"aud list":               k.token("aud", []string{"other", testAudience}),
				"6,000 bytes":            k.token("x", strings.Repeat("A", 5400)),
			} {
				if id, err := authenticate(a, token); err != nil || id.User == nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// CVE-2025-30204 and its like: what a hostile token may cost.
func TestHostileTokensAreCheap(t *testing.T) {
	k := testKeys()["EdDSA"]
	a := open(t, "", k)
	for name, token := range map[string]string{"dots": strings.Repeat(".", 60_000), "long": strings.Repeat("A", 1<<20)} {
		allocs := testing.AllocsPerRun(100, func() { authenticate(a, token) })
		if allocs > 10 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
