package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// opened is shop with a rule that lets in more.
var opened = strings.Replace(shop, "allow: USERS groups", "allow: AUTHENTICATED } }; // groups", 1)

// remote makes origin/main of the commit that is checked out.
func remote(t testing.TB) {
	t.Helper()
	git(t, "update-ref", "refs/remotes/origin/main", "HEAD")
}

// own makes a repository of files in a directory.
func own(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	git(t, "-C", dir, "init", "--quiet")
	git(t, "-C", dir, "add", "--all")
	git(t, "-C", dir, "commit", "--quiet", "--message=own")
	git(t, "-C", dir, "update-ref", "refs/remotes/origin/main", "HEAD")
}

// baseRef is what remote has made, by all of its name.
const baseRef = "refs/remotes/origin/main"

// TestAccessCannotBeTurnedOff makes changes that open methods, and that try to
// keep the comparison from seeing it. Each has a control that does not try.
func TestAccessCannotBeTurnedOff(t *testing.T) {
	opens := func(t *testing.T) { write(t, "proto/shop/shop.proto", opened) }
	hides := func(what func(t *testing.T)) func(t *testing.T) {
		return func(t *testing.T) { opens(t); what(t) }
	}
	rewritesBase := func(t *testing.T) {
		opens(t)
		write(t, "origin/main", mustCall(t, "access", "--format", "json"))
		commit(t)
	}
	branches := func(t *testing.T) { opens(t); commit(t); git(t, "branch", "origin/main") }
	tags := func(t *testing.T) { opens(t); commit(t); git(t, "tag", "origin/main") }
	excludes := hides(func(t *testing.T) {
		write(t, "buf.yaml", "version: v2\nmodules:\n  - path: .\n    excludes: [proto/shop]\n")
	})
	elsewhere := "syntax = \"proto3\";"
	json := []string{"--against", "base.json"}

	for _, test := range []struct {
		name   string
		change func(t *testing.T)
		args   []string
		code   int
		says   string
	}{
		{"control", opens, []string{"--against", "origin/main"}, 1, "2 methods let in"},
		{"control: ref", opens, []string{"--against", "ref:" + baseRef}, 1, "2 methods let in"},
		{"control: file", opens, []string{"--against", "file:base.json"}, 1, "2 methods let in"},

		{"a file of the name of the ref", rewritesBase, []string{"--against", "origin/main"}, 2, "a file and a commit"},
		{"a file of the name, and the ref is meant", rewritesBase, []string{"--against", "ref:origin/main"}, 1, "2 methods let in"},
		{"a file of the name, which is meant", rewritesBase, []string{"--against", "file:origin/main"}, 0, ""},
		{"a file of a ref that is not there", rewritesBase, []string{"--against", "ref:origin/old"}, 2, "--against ref:origin/old: git knows no such commit"},
		{"a branch of the name of the file", hides(func(t *testing.T) { git(t, "branch", "base.json") }), json, 2, "a file and a commit"},
		{"a branch of the name, and the file is meant", hides(func(t *testing.T) { git(t, "branch", "base.json") }), []string{"--against", "file:base.json"}, 1, "2 methods let in"},
		{"no commit", opens, []string{"--against", "ref:"}, 2, "--against is empty"},
		{"no file", opens, []string{"--against", "file:"}, 2, "--against is empty"},
		{"a set and a ref", opens, []string{"--against", "ref:base.json", "--descriptor-set", "-"}, 2, "has no history"},

		{"a local branch", branches, []string{"--against", "origin/main"}, 2, "more than one branch"},
		{"a local branch, quiet git", hides(func(t *testing.T) {
			branches(t)
			git(t, "config", "core.warnAmbiguousRefs", "false")
		}), []string{"--against", "ref:origin/main"}, 2, "more than one branch"},
		{"an ancestor of a local branch", branches, []string{"--against", "origin/main~0"}, 2, "more than one branch"},
		{"a local branch, and all of the name", branches, []string{"--against", "ref:" + baseRef}, 1, "2 methods let in"},
		{"a tag", tags, []string{"--against", "origin/main"}, 2, "more than one branch"},

		{"excluded", excludes, []string{"--against", baseRef}, 2, filepath.FromSlash("proto/shop/shop.proto, which is not looked at any more")},
		{"excluded, against JSON", excludes, json, 2, "which is not looked at any more"},
		{"other modules", hides(func(t *testing.T) { write(t, "buf.yaml", inModules("proto/other")) }), []string{"--against", baseRef}, 2, "not looked at any more"},
		{"node_modules", hides(func(t *testing.T) {
			git(t, "mv", "proto/shop", "proto/node_modules")
		}), []string{"--against", baseRef}, 2, filepath.FromSlash("proto/node_modules/shop.proto")},
		{"hidden and broken", hides(func(t *testing.T) {
			write(t, "proto/shop/shop.proto", "broken")
			write(t, "buf.yaml", inModules("proto/other"))
		}), []string{"--against", baseRef}, 2, "it cannot be told whether methods were removed"},
		{"control: another is excluded", hides(func(t *testing.T) {
			write(t, "buf.yaml", "version: v2\nmodules:\n  - path: proto\n    excludes: [proto/other]\n")
		}), []string{"--against", baseRef}, 1, "2 methods let in"},
		{"control: removed", func(t *testing.T) { write(t, "proto/shop/shop.proto", elsewhere) }, []string{"--against", baseRef}, 0, ""},
		{"control: removed, against JSON", func(t *testing.T) { write(t, "proto/shop/shop.proto", elsewhere) }, json, 0, ""},
		{"control: removed with its file, of which there was a copy", func(t *testing.T) { git(t, "rm", "-q", "proto/shop/shop.proto") }, []string{"--against", baseRef}, 0, ""},

		{"becomes a submodule", func(t *testing.T) {
			git(t, "rm", "-q", "-r", "proto/shop")
			own(t, "proto/shop", map[string]string{"shop.proto": opened})
			commit(t)
		}, []string{"--against", baseRef}, 2, "proto/shop is a submodule"},
		{"becomes a submodule that is named", func(t *testing.T) {
			git(t, "rm", "-q", "-r", "proto/shop")
			own(t, "proto/shop", map[string]string{"shop.proto": opened})
			commit(t)
		}, []string{"--against", baseRef, "proto/shop"}, 2, "another git repository"},
		{"control: a submodule beside the paths", hides(func(t *testing.T) {
			own(t, "else/sub", map[string]string{"x.proto": elsewhere})
			commit(t)
		}), []string{"--against", baseRef, "proto"}, 1, "2 methods let in"},

		{"in a file of options", func(t *testing.T) {
			write(t, "proto/"+easyopsv1.SourcePath, easyopsv1.Source()+"message M {}\nservice S { rpc A(M) returns (M) { option (method) = { access: { allow: EVERYONE } }; } }")
		}, []string{"--against", baseRef, "proto"}, 1, "1 method lets in"},
		{"control: options", func(t *testing.T) {
			write(t, "proto/"+easyopsv1.SourcePath, easyopsv1.Source())
		}, []string{"--against", baseRef, "proto"}, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			history(t, map[string]string{
				"proto/shop/shop.proto": shop, "proto/other/other.proto": elsewhere, "node_modules/copy/shop.proto": shop,
			})
			write(t, "base.json", mustCall(t, "access", "--format", "json"))
			commit(t)
			remote(t)
			test.change(t)
			code, stdout, stderr := callWith(marshal(t, oneFile), append([]string{"access"}, test.args...)...)
			if code != test.code || !strings.Contains(stderr, test.says) || test.says == "" && stderr != "" || code == 2 && stdout != "" {
				t.Errorf("code %d\n%s\n%s", code, stdout, stderr)
			}
			if strings.Contains(stderr, "easyops-access-") {
				t.Errorf("%q names a temporary directory", stderr)
			}
		})
	}
}

// A submodule has no history that the commit of another repository names.
func TestAccessOfSubmodules(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T)
		args   string
		code   int
		says   string
	}{
		{"all", nil, "", 2, "proto/sub is a submodule"},
		{"its directory", nil, "proto", 2, "proto/sub is a submodule"},
		{"in place of it", func(t *testing.T) {
			git(t, "rm", "-q", "--cached", "proto/sub")
			if err := os.RemoveAll("proto/sub"); err != nil {
				t.Fatal(err)
			}
			write(t, "proto/sub/a/shop.proto", shop)
		}, "proto/sub/a", 2, "proto/sub is a submodule"},
		{"newly excluded", func(t *testing.T) {
			write(t, "buf.yaml", "version: v2\nmodules:\n  - path: proto\n    excludes: [proto/sub]\n")
		}, "", 2, "proto/sub is a submodule"},
		{"excluded then as well", func(t *testing.T) {
			write(t, "buf.yaml", "version: v2\nmodules:\n  - path: proto\n    excludes: [proto/sub]\n")
			commit(t)
		}, "", 0, ""},
		{"beside it", nil, "proto/shop.proto", 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			history(t, map[string]string{"proto/shop.proto": strings.ReplaceAll(shop, "shop.v1", "other.v1")})
			own(t, "proto/sub", map[string]string{"a/shop.proto": shop})
			commit(t)
			if test.change != nil {
				test.change(t)
			}
			code, stdout, stderr := call(append([]string{"access", "--against", "HEAD"}, strings.Fields(test.args)...)...)
			if code != test.code || !strings.Contains(stderr, test.says) || test.says == "" && stderr != "" {
				t.Errorf("code %d\n%s\n%s", code, stdout, stderr)
			}
		})
	}
	history(t, map[string]string{"x.proto": head})
	own(t, "sub", map[string]string{"shop.proto": shop})
	t.Chdir("sub") // in it, its commits are meant
	edit(t, "shop.proto", "allow: USERS", "allow: EVERYONE } }; //")
	if code, stdout, stderr := call("access", "--against", baseRef); code != 1 {
		t.Errorf("code %d\n%s\n%s", code, stdout, stderr)
	}
}

// TestAccessInterrupted has git interrupt who has called it.
func TestAccessInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no such signal")
	}
	path := os.Getenv("PATH")
	for does, want := range map[string]int{"kill -INT $PPID; exec sleep 60": 2, "kill -TERM $PPID; exec sleep 60": 2, "true": 0} {
		history(t, map[string]string{"shop.proto": shop})
		bin, temp := t.TempDir(), t.TempDir()
		script := "#!/bin/sh\nif [ \"$1\" = cat-file ]; then " + does + "; fi\nPATH='" + path + "' exec git \"$@\"\n"
		if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TMPDIR", temp)
		t.Setenv("PATH", bin+string(filepath.ListSeparator)+path)
		code, _, stderr := call("access", "--against", "HEAD")
		t.Setenv("PATH", path)
		if code != want || strings.Contains(stderr, "signal received") != (want == 2) {
			t.Errorf("%s: code %d, %q", does, code, stderr)
		}
		if left, _ := os.ReadDir(temp); len(left) > 0 {
			t.Errorf("%s: %v is left", does, left)
		}
	}
}
