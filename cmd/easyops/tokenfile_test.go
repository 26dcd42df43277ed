package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTokenFile(t *testing.T) {
	keys, dir := t.TempDir(), filepath.Join(t.TempDir(), "tokens")
	mustCall(t, "keys", "new", keys)
	path := filepath.Join(dir, "billing.token")
	var tokens []string
	for range 2 { // the second replaces the first
		stdout := mustCall(t, "token", "--service", "billing", "--audience", "example", "--keys", keys, "--out", path)
		if stdout != "wrote "+path+"\n" {
			t.Errorf("it printed %q", stdout)
		}
		token := string(read(t, path))
		verifyToken(t, keys, token)
		tokens = append(tokens, token)
	}
	if tokens[0] == tokens[1] {
		t.Error("the file was not replaced")
	}
	if diff := cmp.Diff(map[string]fs.FileMode{".": 0o700, "billing.token": 0o600}, modes(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// A file that others may read becomes one that they may not.
func TestSecretsReplaceOpenFiles(t *testing.T) {
	keys := t.TempDir()
	path := filepath.Join(keys, "t")
	mustCall(t, "keys", "new", keys)
	write(t, path, "old")
	mustCall(t, "token", "--user", "a", "--audience", "b", "--keys", keys, "--out", path, "--force")
	if mode := modes(t, keys)["t"]; mode != 0o600 {
		t.Errorf("mode %v", mode)
	}
	if code, _, _ := call("token", "--user", "a", "--audience", "b", "--keys", keys, "--out", filepath.Join(path, "x")); code != 1 {
		t.Errorf("code %d for a file that cannot be written", code)
	}
	if left, _ := filepath.Glob(filepath.Join(keys, ".*")); left != nil {
		t.Errorf("%v is left", left)
	}
}

// Only an older token of the same user or service makes room unasked.
func TestTokenFilesOfOthersAreKept(t *testing.T) {
	keys := t.TempDir()
	mustCall(t, "keys", "new", keys)
	token := func(args ...string) string {
		return mustCall(t, append([]string{"token", "--keys", keys, "--audience", "b"}, args...)...)
	}
	if code, _, stderr := call("token", "--keys", keys, "--audience", "b", "--user", "alice", "--out", keys); code != 1 || !strings.Contains(stderr, "no regular file") {
		t.Errorf("a directory: code %d, %q", code, stderr)
	}
	for _, test := range []struct {
		name, holds string
		says        string // "" where it is replaced
	}{
		{"empty", "", ""},
		{"same", token("--user", "alice"), ""},
		{"same, for another audience", token("--user", "alice", "--audience", "c", "--ttl", "1s"), ""},
		{"another user", token("--user", "bob"), `the token of "bob"`},
		{"service of that name", token("--service", "alice"), "vouched for by easyops-services: --force"},
		{"key", string(read(t, filepath.Join(keys, signingKeyFile))), "holds no token: --force"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "t")
			write(t, path, test.holds)
			args := []string{"token", "--keys", keys, "--audience", "b", "--user", "alice", "--out", path}
			code, _, stderr := call(args...)
			if kept := string(read(t, path)) == test.holds; kept != (test.says != "") || kept != (code == 1) || !strings.Contains(stderr, test.says) {
				t.Errorf("code %d, kept %v, %q", code, kept, stderr)
			}
			mustCall(t, append(args, "--force")...)
			if _, c := verifyToken(t, keys, string(read(t, path))); c["sub"] != "alice" {
				t.Errorf("it holds the token of %v", c["sub"])
			}
		})
	}
}
