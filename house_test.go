// Package easyops_test keeps the rules of the repository that no compiler
// knows: what may import what, what is documented, what must not be in the
// tree, and that generated code is fresh.
package easyops_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/go-easyops/easyops"
	otter  = "github.com/maypok86/otter"

	proxyproto = "github.com/pires/go-proxyproto"
)

// forbidden says why a package must not import another, or nothing where it
// may: the arrows of ARCHITECTURE.md. from is a directory of this repository,
// imported a whole import path.
func forbidden(from, imported string) (why string) {
	if under(imported, "go.etcd.io") && !under(from, "runtime/registry/etcd") {
		return "only runtime/registry/etcd imports etcd's client"
	}
	if under(imported, otter) && from != "runtime/cache" {
		return "only runtime/cache imports otter: who lists caches imports runtime/cache/caches"
	}
	if under(imported, proxyproto) && from != "runtime/tcp" && !under(from, "cmd/easyops/internal/edge") {
		return "only runtime/tcp and the edge speak the PROXY protocol"
	}
	to, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return ""
	}
	switch {
	case under(from, "test") || under(from, "bench"):
		return ""
	case under(to, "cmd/easyops/internal") && under(from, "cmd/easyops"):
		return "" // the parts of one program
	case under(to, "cmd") || under(to, "example/echo") || under(to, "example/lines") || under(to, "example/page") || under(to, "example/greeter") || under(to, "test") || under(to, "bench"):
		return "programs and tests are not imported"
	case under(from, "example"):
		return unless(to, "users import the face and generated code", "runtime/easyops", "runtime/registry/etcd", "runtime/flags", "runtime/cache", "runtime/auth", "example/gen", "proto")
	case under(from, "cmd/protoc-gen-easyops") || under(from, "templates"):
		return unless(to, "the plugin needs no runtime", "cmd/protoc-gen-easyops", "templates", "proto")
	case under(from, "proto"):
		return unless(to, "generated options need no other package", "proto")
	case under(from, "runtime"):
		return forbiddenInRuntime(from, to)
	}
	return ""
}

func forbiddenInRuntime(from, to string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(from, "runtime/"), "/")
	row := "runtime/" + name
	switch row {
	case "runtime/easyops":
		return unless(to, "the face imports the row under it", "runtime")
	case "runtime/easyopstest":
		return unless(to, "the test server imports the runtime", "runtime")
	case "runtime/auth":
		return unless(to, "auth imports the options and what all may", "runtime/auth", "proto", "runtime/flags", "runtime/cache/caches", "runtime/metrics")
	case "runtime/routing", "runtime/status":
		return unless(to, "it imports registry and what all may", row, "runtime/registry", "runtime/flags", "runtime/cache/caches", "runtime/metrics")
	}
	return unless(to, "packages of the row do not import each other", row, "runtime/flags", "runtime/cache/caches", "runtime/metrics")
}

// unless returns why if to lies under none of the allowed directories.
func unless(to, why string, allowed ...string) string {
	if slices.ContainsFunc(allowed, func(a string) bool { return under(to, a) }) {
		return ""
	}
	return why
}

func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"runtime/easyops", "./runtime/port", false},
		{"runtime/easyops", "./templates", true},
		{"runtime/port", "./runtime/registry", true},
		{"runtime/port", "./runtime/easyops", true},
		{"runtime/port", "./runtime/metrics", false},
		{"runtime/status", "./runtime/registry", false},
		{"runtime/status", "./runtime/routing", true},
		{"runtime/routing", "./runtime/registry/local", false},
		{"runtime/registry/local", "./runtime/registry", false},
		{"runtime/registry", "./runtime/routing", true},
		{"runtime/auth", "./proto/easyops/v1", false},
		{"runtime/port", "./proto/easyops/v1", true},
		{"runtime/easyops", "./runtime/easyopsx", false},
		{"templates", "./runtime/easyops", true},
		{"cmd/protoc-gen-easyops", "./templates", false},
		{"cmd/protoc-gen-easyops", "./runtime/auth", true},
		{"cmd/easyops", "./runtime/registry", false},
		{"cmd/easyops", "./cmd/easyops/internal/routes", false},
		{"cmd/easyops/internal/edge", "./cmd/easyops/internal/routes", false},
		{"runtime/easyops", "./cmd/easyops/internal/routes", true},
		{"runtime/easyops", "./runtime/tcp", false},
		{"runtime/tcp", "./runtime/port", true},
		{"runtime/tcp", proxyproto, false},
		{"cmd/easyops/internal/edge", proxyproto, false},
		{"runtime/easyops", proxyproto, true},
		{"example/gen/echo/v1", "./runtime/easyops", false},
		{"example/gen/echo/v1", "./runtime/port", true},
		{"proto/easyops/v1", "./runtime/auth", true},
		{"runtime/registry", "go.etcd.io/etcd/client/v3", true},
		{"runtime/registry/etcd", "go.etcd.io/etcd/client/v3", false},
		{"runtime/status", "./example/echo", true},
		{"runtime/status", "./runtime/cache", true},
		{"runtime/status", "./runtime/cache/caches", false},
		{"runtime/cache", "./runtime/cache/caches", false},
		{"runtime/cache", otter + "/v2", false},
		{"runtime/cache/caches", otter + "/v2/stats", true},
		{"runtime/easyops", otter + "/v2", true},
		{"runtime/status", "runtime/debug", false},
		{"templates", "runtime", false},
	} {
		imported := c.to
		if local, ok := strings.CutPrefix(c.to, "./"); ok {
			imported = module + "/" + local
		}
		if why := forbidden(c.from, imported); (why != "") != c.want {
			t.Errorf("%s -> %s: forbidden for %q, want forbidden: %v", c.from, c.to, why, c.want)
		}
	}
}

// ownModule tells whether a file is in a module of its own, whose imports are no
// concern of users.
func ownModule(name string) bool {
	return strings.HasPrefix(name, "test/") || strings.HasPrefix(name, "bench/")
}

func TestImports(t *testing.T) {
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.path, "_test.go") || ownModule(f.path) {
			continue
		}
		for _, imp := range f.syntax.Imports {
			imported := strings.Trim(imp.Path.Value, `"`)
			if why := forbidden(path.Dir(f.path), imported); why != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, why)
			}
		}
	}
}

// TestDependencies looks at what is linked in the end, through packages of
// others as well.
func TestDependencies(t *testing.T) {
	for _, c := range []struct {
		dir     string
		not     []string
		because string
	}{
		{"cmd/protoc-gen-easyops", []string{"google.golang.org/grpc", module + "/runtime"}, "the plugin needs neither gRPC nor the runtime"},
		{"runtime/registry", []string{"google.golang.org/grpc"}, "the registry knows no gRPC"},
		{"runtime/registry/local", []string{"google.golang.org/grpc"}, "the registry knows no gRPC"},
		{"runtime/easyops", []string{"go.etcd.io", "testing", otter}, "every server would link it"},
		{"runtime/easyops", []string{"google.golang.org/protobuf/reflect/protodesc", "github.com/prometheus/client_golang/prometheus/collectors"}, "their init would be a part of every start"},
	} {
		for _, dep := range linked(t, c.dir, c.not...) {
			t.Errorf("%s links %s, but %s", c.dir, dep, c.because)
		}
	}
	for dir, of := range map[string]string{"runtime/registry/etcd": "go.etcd.io", "runtime/cache": otter} {
		if linked(t, dir, of) == nil {
			t.Errorf("%s does not link %s: the rules above look for what there is not", dir, of)
		}
	}
}

// linked returns what a program links that imports the package in dir, of what is
// under the import paths.
func linked(t *testing.T, dir string, of ...string) (found []string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "./"+dir).Output()
	if err != nil {
		t.Errorf("go list %s: %v: %s", dir, err, stderr(err))
	}
	for _, dep := range strings.Fields(string(out)) {
		if slices.ContainsFunc(of, func(path string) bool { return under(dep, path) }) {
			found = append(found, dep)
		}
	}
	return found
}

// TestTCPIsLeftOut: the linker leaves TCP services out of programs that have none, as
// long as nothing but WithTCP names what makes them.
func TestTCPIsLeftOut(t *testing.T) {
	var by []string
	for _, f := range goFiles(t) {
		if path.Dir(f.path) != "runtime/easyops" || strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "New" {
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "tcp" {
					by = append(by, f.path)
				}
			}
			return true
		})
	}
	if !slices.Equal(by, []string{"runtime/easyops/tcpoption.go"}) {
		t.Errorf("tcp.New is named in %v, want it in tcpoption.go alone, by WithTCP", by)
	}
}

// TestPackageDocs wants one doc comment for each package, in one file.
// Packages of generated code have none, their generators write none.
func TestPackageDocs(t *testing.T) {
	type pkg struct {
		files, documented []string
	}
	packages := map[string]*pkg{}
	for _, f := range goFiles(t) {
		if ast.IsGenerated(f.syntax) {
			continue
		}
		key := path.Dir(f.path) + " " + f.syntax.Name.Name
		p := packages[key]
		if p == nil {
			p = &pkg{}
			packages[key] = p
		}
		p.files = append(p.files, f.path)
		if f.syntax.Doc != nil {
			p.documented = append(p.documented, f.path)
		}
	}
	for key, p := range packages {
		external := strings.HasSuffix(key, "_test") // of a package that has its own
		switch n := len(p.documented); {
		case n == 0 && !external:
			t.Errorf("package %s has no doc comment", key)
		case n > 1:
			t.Errorf("package %s has %d doc comments, in %v", key, n, p.documented)
		}
	}
}

// unwanted are the texts that no file of the tree may hold. They are put
// together here so that this file does not hold them.
var unwanted = []struct {
	what   string
	re     *regexp.Regexp
	except []string
}{
	{what: "a private key", re: regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE ` + `KEY-----`)},
	{
		what: "TLS without verification", re: regexp.MustCompile(`Insecure` + `SkipVerify(:| =)\s*true`),
		except: []string{
			"runtime/auth/verify.go",            // the one place that verifies by itself
			"runtime/easyops/callcreds_test.go", // no token goes to whom nobody verifies
		},
	},
	{what: "a path of somebody's machine", re: regexp.MustCompile(`(^|[\s"'=(:` + "`" + `])/(root|work|Users|home/[a-z]+)/`)},
	{what: "an issue that readers cannot see", re: regexp.MustCompile(`(?i)\bissues? #?\d`)},
}

func TestUnwanted(t *testing.T) {
	for _, c := range []struct {
		text string
		want bool
	}{
		{"-----BEGIN EC PRIVATE " + "KEY-----", true},
		{"-----BEGIN PRIVATE " + "KEY-----", true},
		{"-----BEGIN CERTIFICATE-----", false},
		{"tls.Config{Insecure" + "SkipVerify: true}", true},
		{"see /ro" + "ot/go/pkg", true},
		{`"/wo` + `rk/main"`, true},
		{"https://example.org/wo" + "rk/x", false},
		{"see issue" + " 7", true},
		{"grpc-go#8480", false},
	} {
		if got := findUnwanted("x", []byte(c.text)); (got != "") != c.want {
			t.Errorf("%q: found %q, want a find: %v", c.text, got, c.want)
		}
	}
	walk(t, func(name string) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if what := findUnwanted(name, text); what != "" {
			t.Errorf("%s holds %s", name, what)
		}
	})
}

func findUnwanted(name string, text []byte) string {
	for _, u := range unwanted {
		if slices.Contains(u.except, name) {
			continue
		}
		if at := u.re.FindIndex(text); at != nil {
			line := bytes.Count(text[:at[0]], []byte("\n")) + 1
			return fmt.Sprintf("%s in line %d", u.what, line)
		}
	}
	return ""
}

type goFile struct {
	path   string
	syntax *ast.File
}

// goFiles parses the Go files of the tree. The plugin's test data is not ours
// to check: it shows what users write.
func goFiles(t *testing.T) (files []goFile) {
	t.Helper()
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "/testdata/") {
			return
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		files = append(files, goFile{name, syntax})
	})
	if len(files) == 0 {
		t.Fatal("there are no Go files")
	}
	return files
}

// walk calls visit with the path of each file of the tree that is not built.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", ".bin", "node_modules"}, entry.Name()) {
			return filepath.SkipDir
		}
		if entry.Type().IsRegular() {
			visit(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
