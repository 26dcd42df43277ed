package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// git runs git in the current directory, with no configuration but its own.
func git(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), ofHook), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// history makes a repository of files and commits them.
func history(t testing.TB, files map[string]string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git")
	}
	tree(t, files)
	git(t, "init", "--quiet")
	commit(t)
}

func commit(t testing.TB) {
	t.Helper()
	git(t, "add", "--all")
	git(t, "commit", "--quiet", "--message=change")
}

// edit replaces text in a file.
func edit(t testing.TB, path, from, to string) {
	t.Helper()
	text := string(read(t, path))
	if !strings.Contains(text, from) {
		t.Fatalf("%s does not hold %q", path, from)
	}
	write(t, path, strings.ReplaceAll(text, from, to))
}

// TestAccessAgainstHistory is the whole: commits of rules, and what is said of
// them.
func TestAccessAgainstHistory(t *testing.T) {
	history(t, map[string]string{"shop.proto": shop})
	expect := func(code int, want string, args ...string) {
		t.Helper()
		got, stdout, stderr := call(append([]string{"access"}, args...)...)
		if diff := cmp.Diff(want, stdout); got != code || diff != "" || (code == 0) != (stderr == "") {
			t.Errorf("code %d, %q: %s", got, stderr, diff)
		}
	}
	const none = "No access has changed.\n"
	expect(0, none, "--against", "HEAD")

	edit(t, "shop.proto", `groups: "staff" groups: "ops"`, `groups: "staff"`)
	const narrower = `  CHANGE    METHOD                BEFORE                    NOW                  NOW LETS IN
  narrowed  shop.v1.Orders/List   USERS groups: staff, ops  USERS groups: staff  -
  narrowed  shop.v1.Orders/Watch  USERS groups: staff, ops  USERS groups: staff  -
`
	expect(0, narrower, "--against", "HEAD")
	commit(t)
	expect(0, none, "--against", "HEAD")
	expect(0, narrower, "--against", "HEAD~1")

	edit(t, "shop.proto", `rpc List(M) returns (M);`, `rpc List(M) returns (M) { option (easyops.v1.method) = { access: { allow: AUTHENTICATED } }; }`)
	commit(t)
	expect(1, `   CHANGE    METHOD                BEFORE                    NOW                  NOW LETS IN
!  widened   shop.v1.Orders/List   USERS groups: staff, ops  AUTHENTICATED        services; users
   narrowed  shop.v1.Orders/Watch  USERS groups: staff, ops  USERS groups: staff  -
`, "--against", "main~2")
	expect(0, none, "--against", "main")

	edit(t, "shop.proto", `services: "billing"`, `services: "audit"`)
	edit(t, "shop.proto", `rpc Logout(M) returns (M);`, `rpc Sign(M) returns (M) { option (easyops.v1.method) = { access: { allow: EVERYONE } }; }
  rpc Renew(M) returns (M);`)
	expect(1, `   CHANGE        METHOD                BEFORE                      NOW                       NOW LETS IN
   removed       shop.v1.Login/Logout  AUTHENTICATED               -                         -
   added         shop.v1.Login/Renew   -                           AUTHENTICATED             -
!  added         shop.v1.Login/Sign    -                           EVERYONE                  everyone
!  incomparable  shop.v1.Orders/Bill   SERVICES services: billing  SERVICES services: audit  service audit
`, "--against", "HEAD")
	edit(t, "shop.proto", `services: "audit"`, `services: "billing"`)
	expect(0, `  CHANGE   METHOD                BEFORE         NOW            NOW LETS IN
  removed  shop.v1.Login/Logout  AUTHENTICATED  -              -
  added    shop.v1.Login/Renew   -              AUTHENTICATED  -
  added    shop.v1.Login/Sign    -              EVERYONE       -
`, "--against", "HEAD", "--allow-new")
	if _, _, stderr := call("access", "--against", "HEAD"); stderr != "easyops: 1 method lets in callers that it did not at HEAD\n" {
		t.Errorf("%q", stderr)
	}
}

// In a hook, git names the repository for itself.
func TestAccessInAHook(t *testing.T) {
	history(t, map[string]string{"a/shop.proto": shop})
	edit(t, "a/shop.proto", "allow: USERS", "allow: AUTHENTICATED")
	edit(t, "a/shop.proto", ` services: "billing"`, "")
	t.Setenv("GIT_DIR", ".git")
	t.Setenv("GIT_INDEX_FILE", ".git/index")
	if code, stdout, stderr := call("access", "--against", "HEAD", "a"); code != 1 {
		t.Errorf("code %d, %s %s", code, stdout, stderr)
	}
}

// TestAccessIsDocumented makes the changes that docs/access.md shows.
func TestAccessIsDocumented(t *testing.T) {
	text := string(read(t, filepath.Join("..", "..", "docs", "access.md")))
	history(t, map[string]string{"shop.proto": shop})
	git(t, "branch", "origin/main")
	edit(t, "shop.proto", "rpc Logout(M) returns (M);", "rpc Sign(M) returns (M) { option (easyops.v1.method) = { access: { allow: EVERYONE } }; }")
	edit(t, "shop.proto", `services: "billing"`, `services: "audit"`)
	edit(t, "shop.proto", `rpc List(M) returns (M);`, `rpc List(M) returns (M) { option (easyops.v1.method) = { access: {} }; }`)
	edit(t, "shop.proto", `groups: "staff" groups: "ops"`, `groups: "staff"`)
	code, stdout, stderr := call("access", "--against", "origin/main")
	if code != 1 || !strings.Contains(text, "```\n"+stdout+stderr+"```\n") {
		t.Errorf("code %d, and docs/access.md does not show\n%s%s", code, stdout, stderr)
	}
}

func TestAccessAgainstAsJSON(t *testing.T) {
	history(t, map[string]string{"shop.proto": shop})
	edit(t, "shop.proto", `allow: SERVICES services: "billing"`, "allow: SERVICES")
	code, stdout, _ := call("access", "--against", "HEAD", "--format", "json")
	type of struct{ Allow, From string }
	var got struct {
		Version int
		Changes []struct {
			Service, Method, Change string
			Widened                 bool
			LetsIn                  []string `json:"lets_in"`
			Before, After           *of
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 1 || got.Version != 1 || len(got.Changes) != 1 {
		t.Fatal(code, err, stdout)
	}
	c := got.Changes[0]
	if c.Service != "shop.v1.Orders" || c.Method != "Bill" || c.Change != "widened" || !c.Widened || !cmp.Equal(c.LetsIn, []string{"services"}) ||
		*c.Before != (of{"SERVICES", "method"}) || *c.After != (of{"SERVICES", "method"}) {
		t.Error(stdout)
	}
}

// TestAccessAgainstOfTrees compares trees whose shape matters.
func TestAccessAgainstOfTrees(t *testing.T) {
	wide := strings.Replace(shop, "allow: USERS groups", "allow: EVERYONE } }; // groups", 1)
	for _, test := range []struct {
		name   string
		files  map[string]string
		change func(t *testing.T)
		dir    string // where it runs
		args   string
		code   int
		says   string // on the standard error
	}{
		{"in a subdirectory", map[string]string{"a/b/shop.proto": shop}, func(t *testing.T) { write(t, "a/b/shop.proto", wide) }, "a/b", "", 1, "2 methods let in"},
		{"in a subdirectory of modules", map[string]string{"buf.yaml": inModules("p"), "p/s/shop.proto": shop}, func(t *testing.T) { write(t, "p/s/shop.proto", wide) }, "p/s", "", 1, "2 methods let in"},
		{"another path", map[string]string{"a/shop.proto": shop, "b/b.proto": "syntax = \"proto3\";"}, func(t *testing.T) { write(t, "a/shop.proto", wide) }, "", "b", 0, "there were no methods at HEAD"},
		{"the file", map[string]string{"a/shop.proto": shop}, func(t *testing.T) { write(t, "a/shop.proto", wide) }, "", "a/shop.proto", 1, "2 methods let in"},
		{"moved with buf.yaml", map[string]string{"buf.yaml": inModules("p"), "p/shop.proto": shop}, func(t *testing.T) {
			git(t, "mv", "p", "q")
			write(t, "buf.yaml", inModules("q"))
			write(t, "q/shop.proto", wide)
		}, "", "", 1, "2 methods let in"},
		{"moved within the path", map[string]string{"p/shop.proto": shop}, func(t *testing.T) { git(t, "mv", "p", "q") }, "", "", 0, ""},
		{"the path is new", map[string]string{"p/x.proto": "syntax = \"proto3\";"}, func(t *testing.T) { write(t, "q/shop.proto", shop) }, "", "q", 1, "q was not there at HEAD"},
		{"imports from -I", map[string]string{"inc/m.proto": head, "p/shop.proto": shop + `import "m.proto";`}, func(t *testing.T) {
			git(t, "rm", "--quiet", "inc/m.proto")
			write(t, "inc/n.proto", head)
			write(t, "p/shop.proto", shop+`import "n.proto";`)
		}, "", "-I inc p", 0, ""},
		{"imports from elsewhere", map[string]string{"p/shop.proto": shop + `import "other/m.proto";`}, nil, "", "-I OUTSIDE p", 0, ""},
		{"a link", map[string]string{"real/m/m.proto": head, "p/shop.proto": shop + `import "m/m.proto";`}, nil, "", "p", 0, ""},
		{"broken then", map[string]string{"shop.proto": "broken"}, func(t *testing.T) { write(t, "shop.proto", shop) }, "", "", 2, "--against HEAD: shop.proto:1:1"},
		{"no such commit", map[string]string{"shop.proto": shop}, nil, "", "--against nowhere", 2, "fetch-depth: 0"},
		{"a commit like a flag", map[string]string{"shop.proto": shop}, nil, "", "--against=--output=x", 2, "no such commit"},
		{"outside of the repository", map[string]string{"shop.proto": shop}, nil, "", ". OUTSIDE", 2, "outside of the git repository"},
		{"a set against a commit", map[string]string{"shop.proto": shop}, nil, "", "--descriptor-set -", 2, "has no history"},
	} {
		t.Run(test.name, func(t *testing.T) {
			outside := t.TempDir()
			write(t, filepath.Join(outside, "other", "m.proto"), head)
			history(t, test.files)
			if test.name == "a link" {
				if err := os.Symlink("../real/m", "p/m"); err != nil {
					t.Skip(err)
				}
				commit(t)
			}
			if test.change != nil {
				test.change(t)
			}
			if test.dir != "" {
				t.Chdir(test.dir)
			}
			args := append([]string{"access", "--against", "HEAD"}, strings.Fields(strings.ReplaceAll(test.args, "OUTSIDE", outside))...)
			code, stdout, stderr := callWith(marshal(t, oneFile), args...)
			if code != test.code || !strings.Contains(stderr, test.says) || test.says == "" && stderr != "" {
				t.Errorf("code %d\n%s\n%s", code, stdout, stderr)
			}
			if strings.Contains(stderr, "easyops-access-") {
				t.Errorf("%q names a temporary directory", stderr)
			}
		})
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "easyops-access-*")); left != nil {
		t.Errorf("%v is left", left)
	}
}

func TestAccessAgainstAFile(t *testing.T) {
	history(t, map[string]string{"shop.proto": shop})
	write(t, "access.json", mustCall(t, "access", "--format", "json"))
	write(t, "set.binpb", marshal(t, descriptorSet(t)))
	edit(t, "shop.proto", `groups: "staff" groups: "ops"`, `groups: "staff"`)
	for _, against := range []string{"access.json", "set.binpb"} {
		if code, stdout, stderr := call("access", "--against", against); code != 0 || strings.Count(stdout, "narrowed") != 2 {
			t.Errorf("%s: code %d, %s %s", against, code, stdout, stderr)
		}
		edit(t, "shop.proto", `groups: "staff"`, `groups: "all"`)
		if code, stdout, stderr := call("access", "--against", against); code != 1 || strings.Count(stdout, "incomparable") != 2 || !strings.Contains(stderr, against) {
			t.Errorf("%s: code %d, %s %s", against, code, stdout, stderr)
		}
		edit(t, "shop.proto", `groups: "all"`, `groups: "staff"`)
	}
	set := marshal(t, descriptorSet(t))
	if code, stdout, _ := callWith(set, "access", "--against", "access.json", "--descriptor-set", "-"); code != 0 || strings.Count(stdout, "narrowed") != 2 {
		t.Errorf("code %d, %s", code, stdout)
	}
	if code, stdout, _ := callWith(set, "access", "--against", "-"); code != 0 || stdout != "No access has changed.\n" {
		t.Errorf("code %d, %s", code, stdout)
	}
}

// A tree of git is not to be trusted with where it is written.
func TestBlobsStayInside(t *testing.T) {
	for _, test := range []struct {
		entry gitEntry
		text  string
		fails bool
	}{
		{gitEntry{path: "../x.proto"}, "text", true},
		{gitEntry{path: "/x.proto"}, "text", true},
		{gitEntry{path: "a/../../x.proto"}, "text", true},
		{gitEntry{path: "link", link: true}, "/etc", false},   // is left out
		{gitEntry{path: "link", link: true}, "../..", false},  // likewise
		{gitEntry{path: "a/x.proto"}, "text", false},          // negative control
		{gitEntry{path: "a/link", link: true}, "../b", false}, // negative control
	} {
		outer := t.TempDir()
		dir := filepath.Join(outer, "dir")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		blob := "id blob " + string(rune('0'+len(test.text))) + "\n" + test.text + "\n"
		err := writeBlobs(dir, []gitEntry{test.entry}, bufio.NewReader(strings.NewReader(blob)))
		if (err != nil) != test.fails {
			t.Errorf("%+v: %v", test.entry, err)
		}
		if files, _ := os.ReadDir(outer); len(files) != 1 {
			t.Errorf("%+v: it was written outside", test.entry)
		}
		if target, err := os.Readlink(filepath.Join(dir, test.entry.path)); err == nil && target != "../b" {
			t.Errorf("a link leads to %s", target)
		}
	}
}
