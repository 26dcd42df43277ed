package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/go-easyops/easyops/runtime/auth"
)

// mustCall runs a command line that has to work, and returns what it printed.
func mustCall(t testing.TB, args ...string) (stdout string) {
	t.Helper()
	code, stdout, stderr := call(args...)
	if code != 0 {
		t.Fatalf("easyops %q: code %d: %s", args, code, stderr)
	}
	return stdout
}

// read returns the content of a file.
func read(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// modes returns the permissions of all that is in a directory.
func modes(t testing.TB, dir string) map[string]fs.FileMode {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("permissions are different")
	}
	all := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		rel, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(rel)] = info.Mode().Perm()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// keySet reads a set of public keys.
func keySet(t testing.TB, dir string) jose.JSONWebKeySet {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(read(t, filepath.Join(dir, jwksFile)), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestKeysNew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	stdout := mustCall(t, "keys", "new", dir)
	_, specs, _ := strings.Cut(stdout, "-easyops.auth='")
	specs, _, _ = strings.Cut(specs, "'")
	if all, err := auth.OpenAll(strings.Split(specs, ","), auth.Config{Logger: slog.New(slog.DiscardHandler)}); len(all) != 2 || err != nil {
		t.Errorf("it does not say what servers take: %q: %v", stdout, err)
	}
	if diff := cmp.Diff(map[string]fs.FileMode{".": 0o700, "key.pem": 0o600, "jwks.json": 0o644}, modes(t, dir)); diff != "" {
		t.Error(diff)
	}
	block, rest := pem.Decode(read(t, filepath.Join(dir, signingKeyFile)))
	if block == nil || len(rest) > 0 {
		t.Fatal("key.pem is not one block of PEM")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	set := keySet(t, dir)
	if len(set.Keys) != 1 {
		t.Fatalf("%d keys, want one", len(set.Keys))
	}
	public := set.Keys[0]
	if !public.IsPublic() || public.Algorithm != "EdDSA" || public.Use != "sig" || len(public.KeyID) != 43 {
		t.Errorf("the public key is %+v", public)
	}
	signature, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signature.Sign([]byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Verify(public); err != nil {
		t.Errorf("the keys are not a pair: %v", err)
	}
}

func TestKeysAreNotReplacedUnasked(t *testing.T) {
	for _, left := range []string{signingKeyFile, jwksFile} { // one of them is enough
		dir := t.TempDir()
		mustCall(t, "keys", "new", dir)
		for _, gone := range []string{signingKeyFile, jwksFile} {
			if gone != left {
				os.Remove(filepath.Join(dir, gone))
			}
		}
		before := read(t, filepath.Join(dir, left))
		code, _, stderr := call("keys", "new", dir)
		if code != 1 || !strings.Contains(stderr, left) || !strings.Contains(stderr, "--force") {
			t.Errorf("code %d, %q", code, stderr)
		}
		if files := modes(t, dir); len(files) != 2 || string(read(t, filepath.Join(dir, left))) != string(before) {
			t.Errorf("something was written: %v", files)
		}
		mustCall(t, "keys", "new", "--force", dir)
		if string(read(t, filepath.Join(dir, left))) == string(before) {
			t.Error("--force replaced nothing")
		}
	}
}

func TestKeysRotate(t *testing.T) {
	dir := t.TempDir()
	mustCall(t, "keys", "new", dir)
	first := keySet(t, dir).Keys[0].KeyID
	old := mustCall(t, "token", "--user", "alice", "--audience", "a", "--keys", dir)

	mustCall(t, "keys", "rotate", dir)
	set := keySet(t, dir)
	if len(set.Keys) != 2 || set.Keys[1].KeyID != first || set.Keys[0].KeyID == first {
		t.Fatalf("the keys are %+v", set.Keys)
	}
	verifyToken(t, dir, old)
	verifyToken(t, dir, mustCall(t, "token", "--user", "alice", "--audience", "a", "--keys", dir))

	signs := keySet(t, dir).Keys[0].KeyID
	mustCall(t, "keys", "retire", dir)
	if keys := keySet(t, dir).Keys; len(keys) != 1 || keys[0].KeyID != signs {
		t.Errorf("the keys that are left are %+v, want %s alone", keys, signs)
	}
	verifyToken(t, dir, mustCall(t, "token", "--user", "alice", "--audience", "a", "--keys", dir))

	mustCall(t, "keys", "rotate", "--drop-old", dir)
	if keys := keySet(t, dir).Keys; len(keys) != 1 || keys[0].KeyID == signs {
		t.Errorf("the keys that are left are %+v, want a new one alone", keys)
	}
	if diff := cmp.Diff(map[string]fs.FileMode{".": 0o755, "key.pem": 0o600, "jwks.json": 0o644}, modes(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	private := func(t *testing.T, dir string) {
		_, key, err := newTestKey()
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key}}})
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, jwksFile), string(text))
	}
	for _, test := range []struct {
		name  string
		setup func(t *testing.T, dir string)
		args  []string
		says  string
	}{
		{"no keys to rotate", nil, []string{"keys", "rotate"}, "keys new"},
		{"broken set", func(t *testing.T, dir string) { write(t, filepath.Join(dir, jwksFile), "{") }, []string{"keys", "rotate"}, "jwks.json"},
		{"private keys in the set", private, []string{"keys", "rotate"}, "not public"},
		{"no key to sign with", nil, []string{"token", "--user", "a", "--audience", "b", "--keys"}, "keys new"},
		{"no PEM", func(t *testing.T, dir string) { write(t, filepath.Join(dir, signingKeyFile), "x") }, []string{"token", "--user", "a", "--audience", "b", "--keys"}, "PKCS #8"},
		{"another kind of key", func(t *testing.T, dir string) {
			mustCall(t, "ca", "new", dir)
			write(t, filepath.Join(dir, signingKeyFile), string(read(t, filepath.Join(dir, caKeyFile))))
		}, []string{"token", "--user", "a", "--audience", "b", "--keys"}, "Ed25519"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if test.setup != nil {
				test.setup(t, dir)
			}
			code, stdout, stderr := call(append(test.args, dir)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, test.says) || !strings.Contains(stderr, dir) {
				t.Errorf("code %d, %q, %q", code, stdout, stderr)
			}
		})
	}
}

func TestKeysOfAFile(t *testing.T) {
	dir := t.TempDir()
	mustCall(t, "keys", "new", dir)
	for _, command := range []string{"rotate", "retire"} {
		code, _, stderr := call("keys", command, filepath.Join(dir, jwksFile))
		if code != 2 || !strings.Contains(stderr, "DIR names the directory with the keys, such as "+dir) {
			t.Errorf("%s: code %d, %q", command, code, stderr)
		}
	}
}
