//go:build real

package corpus

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// module is a module of a test's own, of the name under which it imports
// itself.
const module = "example.com/corpus"

// newModule makes a module with the dependencies of these tests.
func newModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	mod := read(t, filepath.Join(root, "go.mod"))
	mod = strings.Replace(mod, "module github.com/go-easyops/easyops/test\n", "module "+module+"\n", 1)
	mod = strings.Replace(mod, "=> ../\n", "=> "+filepath.Dir(root)+"\n", 1)
	write(t, filepath.Join(dir, "go.mod"), mod)
	write(t, filepath.Join(dir, "go.sum"), read(t, filepath.Join(root, "go.sum")))
	return dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copySources copies the Go files of packages into a module, in directories of
// their import paths.
func copySources(t *testing.T, dir string, packages []string) {
	t.Helper()
	const format = `{{$p := .}}{{range .GoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}`
	cmd := exec.Command("go", append([]string{"list", "-f", format}, packages...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if pkg, path, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			write(t, filepath.Join(dir, filepath.FromSlash(pkg), filepath.Base(path)), read(t, path))
		}
	}
}

// buildFaults builds the packages of a module and returns what the compiler
// says of each, by import path in the module. The module's directory shows in
// nothing, so that the next run finds what was built.
func buildFaults(t *testing.T, dir string) map[string][]string {
	t.Helper()
	return goSays(t, dir, "build", "-trimpath", "-gcflags=-e", "./...")
}

// vetFaults vets packages of a module.
func vetFaults(t *testing.T, dir string, packages []string) map[string][]string {
	t.Helper()
	args := []string{"vet"}
	for _, pkg := range packages {
		args = append(args, "./"+pkg)
	}
	return goSays(t, dir, args...)
}

var faultLine = regexp.MustCompile(`^\S+\.go:\d+:\d+: (.*)$`)

// goSays runs the go command in a module and returns its complaints by package.
func goSays(t *testing.T, dir string, args ...string) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	faults := map[string][]string{}
	var pkg string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "go: downloading ") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "# "); ok {
			pkg = strings.TrimPrefix(strings.Trim(name, "[]"), module+"/")
			continue
		}
		if match := faultLine.FindStringSubmatch(line); match != nil {
			line = match[1]
		}
		faults[pkg] = append(faults[pkg], line)
	}
	if err != nil && len(faults) == 0 {
		t.Fatalf("go %s: %v", args[0], err)
	}
	return faults
}
