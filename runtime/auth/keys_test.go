package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestParseKeys(t *testing.T) {
	k := testKeys()
	jwk := func(alg string, change func(*jose.JSONWebKey)) string {
		j := k[alg].jwk()
		change(&j)
		return string(must(j.MarshalJSON()))
	}
	same := func(*jose.JSONWebKey) {}
	ec384 := jose.JSONWebKey{Key: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).Public(), KeyID: "ec384"}
	small := jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2046, 1), E: 65537}, KeyID: "small"}
	one := jose.JSONWebKey{Key: &rsa.PublicKey{N: k["RS256"].priv.Public().(*rsa.PublicKey).N, E: 1}, KeyID: "one"}
	huge := jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}, KeyID: "huge"}
	private := jose.JSONWebKey{Key: k["EdDSA"].priv, KeyID: "private"}
	list := func(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }
	ops := strings.Replace(jwk("EdDSA", same), "{", `{"key_ops":["sign"],`, 1)
	for name, c := range map[string]struct {
		set, want, err string
		ignored        int
	}{
		"one of each":         {list(jwk("EdDSA", same), jwk("ES256", same), jwk("RS256", same)), "EdDSA ed-1, ES256 ec-1, RS256 rsa-1", "", 0},
		"no use, no alg":      {list(jwk("ES256", func(j *jose.JSONWebKey) { j.Use, j.Algorithm = "", "" })), "ES256 ec-1", "", 0},
		"no kid":              {list(jwk("EdDSA", func(j *jose.JSONWebKey) { j.KeyID = "" })), "EdDSA", "", 0},
		"the same twice":      {list(jwk("EdDSA", same), jwk("EdDSA", same)), "EdDSA ed-1", "", 0},
		"verify":              {list(strings.Replace(ops, `"sign"`, `"verify"`, 1)), "EdDSA ed-1", "", 0},
		"for encryption":      {list(jwk("EdDSA", same), jwk("RS256", func(j *jose.JSONWebKey) { j.Use = "enc" })), "EdDSA ed-1", "", 1},
		"only encryption":     {list(jwk("RS256", func(j *jose.JSONWebKey) { j.Use = "enc" })), "", "not for signatures", 1},
		"to sign with":        {list(ops), "", "not for signatures", 1},
		"another alg":         {list(jwk("RS256", func(j *jose.JSONWebKey) { j.Algorithm = "PS256" })), "", `for "PS256"`, 1},
		"alg of another kind": {list(jwk("RS256", func(j *jose.JSONWebKey) { j.Algorithm = "HS256" })), "", `for "HS256"`, 1},
		"P-384":               {list(string(must(ec384.MarshalJSON()))), "", "P-256", 1},
		"RSA 2047":            {list(string(must(small.MarshalJSON()))), "", "2047 bits", 1},
		"RSA 8193":            {list(string(must(huge.MarshalJSON()))), "", "modulus too large", 1},
		"RSA exponent 1":      {list(string(must(one.MarshalJSON()))), "", "bad e value", 1},
		"private":             {list(string(must(private.MarshalJSON()))), "", "a private key", 1},
		"symmetric":           {list(`{"kty":"oct","k":"AAAA","kid":"x"}`), "", "no RSA, P-256 or Ed25519", 1},
		"X25519":              {list(`{"kty":"OKP","crv":"X25519","x":"AAAA","kid":"x"}`), "", "no key that can verify", 1},
		"off the curve":       {list(`{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`), "", "no key that can verify", 1},
		"unknown kind":        {list(`{"kty":"future"}`, jwk("EdDSA", same)), "EdDSA ed-1", "", 1},
		"broken beside good":  {list(`5`, `null`, `{}`, jwk("EdDSA", same)), "EdDSA ed-1", "", 3},
		"kid nobody may name": {list(jwk("EdDSA", func(j *jose.JSONWebKey) { j.KeyID = "../x" })), "", "no token may name it", 1},
		"one kid for two":     {list(jwk("EdDSA", same), jwk("ES256", func(j *jose.JSONWebKey) { j.KeyID = "ed-1" })), "", `two keys have the kid "ed-1"`, 0},
		"kid of an unusable":  {list(jwk("EdDSA", same), jwk("RS256", func(j *jose.JSONWebKey) { j.KeyID, j.Use = "ed-1", "enc" })), "EdDSA ed-1", "", 1},
		"empty":               {list(), "", "no key that can verify", 0},
		"null":                {`{"keys":null}`, "", "no key that can verify", 0},
		"no list":             {`{"keys":{}}`, "", "no JSON Web Key Set", 0},
		"empty object":        {`{}`, "", "no list of keys", 0},
		"a key, not a set":    {jwk("EdDSA", same), "", "no list of keys", 0},
		"PEM":                 {"-----BEGIN PUBLIC KEY-----", "", "no JSON Web Key Set", 0},
		"nothing":             {"", "", "no JSON Web Key Set", 0},
		"list":                {"[]", "", "no JSON Web Key Set", 0},
	} {
		s, ignored, err := parseKeys([]byte(c.set))
		if !matches(err, c.err) || len(ignored) != c.ignored {
			t.Errorf("%s: got %v, ignored %q; want %q and %d", name, err, ignored, c.err, c.ignored)
		}
		if err == nil && s.String() != c.want {
			t.Errorf("%s: got %q, want %q", name, s, c.want)
		}
	}
}

// A token that names no key is good where only one can be meant.
func TestTokensWithoutKid(t *testing.T) {
	ed, ec := newEdKey("a"), testKeys()["ES256"]
	bare := testKey{"", ed.alg, ed.priv}
	if a := open(t, "", ed, ec); !accepted(a, bare.token()) {
		t.Error("one key of its kind: refused")
	}
	for _, keys := range [][]testKey{{ed, newEdKey("b")}, {newEdKey("b"), ed}} {
		if a := open(t, "", keys...); accepted(a, bare.token()) {
			t.Error("two keys of its kind: accepted")
		}
	}
	if a := open(t, "", bare, ec); !accepted(a, bare.token()) || accepted(a, ed.token()) {
		t.Error("a key without kid is for tokens without one")
	}
}

func TestKeyFileRotates(t *testing.T) {
	old, next := newEdKey("old"), newEdKey("next")
	var log bytes.Buffer
	path := writeKeys(t, old)
	opened, err := Open("jwks:"+path+"?issuer="+testIssuer+"&audience=echo", Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	a := opened.(*tokens)
	oldToken, nextToken := old.token(), next.token()
	step := func(name string, wantOld, wantNext bool, wantErr string) {
		t.Helper()
		a.Refresh(time.Now())
		if gotOld, gotNext := accepted(a, oldToken), accepted(a, nextToken); gotOld != wantOld || gotNext != wantNext {
			t.Errorf("%s: old %v, next %v", name, gotOld, gotNext)
		}
		if s := a.State(); !matches(s.Err, wantErr) || s.Where != path || s.Name != "keys" {
			t.Errorf("%s: state %+v, want error %q", name, s, wantErr)
		}
	}
	step("first", true, false, "")
	rewriteKeys(t, path, old, next)
	step("both", true, true, "")
	rewriteKeys(t, path, next)
	step("next only", false, true, "")
	os.WriteFile(path, []byte(`{"keys":[`), 0o600)
	step("broken", false, true, path)
	step("still broken", false, true, "JSON")
	os.WriteFile(path, []byte(`{"keys":[]}`), 0o600)
	step("empty", false, false, "no usable key is left")
	step("still empty", false, false, "no usable key is left")
	rewriteKeys(t, path, next)
	step("next again", false, true, "")
	rewriteKeys(t, path, testKey{id: "next", alg: "ES384", priv: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))})
	step("of another algorithm", false, false, "no usable key is left")
	rewriteKeys(t, path, next)
	step("next once more", false, true, "")
	os.Remove(path)
	step("removed", false, true, "no such file")
	os.Mkdir(path, 0o700)
	step("directory", false, true, "no regular file")
	os.Remove(path)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	step("pipe", false, true, "no regular file")
	os.Remove(path)
	os.Symlink(writeKeys(t, old), path) // as Kubernetes does
	step("link", true, false, "")
	same := newEdKey("old")
	rewriteKeys(t, path, same)
	step("another key by the same name", false, false, "")
	for want, n := range map[string]int{"cannot be read": 3, "keys of tokens read": 7, "no keys of tokens are left": 2, old.token(): 0} {
		if got := strings.Count(log.String(), want); got != n {
			t.Errorf("the log holds %q %d times, want %d:\n%s", want, got, n, log.String())
		}
	}
}

func TestKeyFileMustBeGoodAtFirst(t *testing.T) {
	dir := t.TempDir()
	for name, write := range map[string]func(path string) error{
		"no such file":        func(string) error { return nil },
		"no JSON Web Key Set": func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) },
		"1 MiB":               func(p string) error { return os.WriteFile(p, make([]byte, 1<<20+1), 0o600) },
		"no regular file":     func(p string) error { return os.Mkdir(p, 0o700) },
		"a private key": func(p string) error {
			j := jose.JSONWebKey{Key: newEdKey("x").priv, KeyID: "x"}
			return os.WriteFile(p, must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{j}})), 0o600)
		},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := write(path); err != nil {
			t.Fatal(err)
		}
		_, err := Open("jwks:"+path+"?issuer=i&audience=a", Config{Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Keys change while calls go on; each call is judged by the one set or the other.
func TestKeyFileRotatesUnderLoad(t *testing.T) {
	a, b := newEdKey("a"), newEdKey("b")
	path := writeKeys(t, a, b)
	auth := openSpec(t, "jwks:"+path+"?issuer="+testIssuer+"&audience=echo")
	stay, forged := a.token(), newEdKey("a")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			bad := forged.token()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if !accepted(auth, stay) || accepted(auth, bad) {
					t.Error("a good token was refused, or a forged one accepted")
					return
				}
				if n%100 == 0 {
					accepted(auth, a.token("sub", n))
					auth.Clear()
				}
			}
		})
	}
	for n := range 30 {
		rewriteAtomically(t, path, []testKey{a, newEdKey("b"), b}[:2+n%2])
		auth.Refresh(time.Now())
		auth.State()
	}
	close(stop)
	wg.Wait()
}

func rewriteAtomically(t testing.TB, path string, keys []testKey) {
	t.Helper()
	if err := os.Rename(writeKeys(t, keys...), path); err != nil {
		t.Fatal(err)
	}
}
