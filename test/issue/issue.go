// Package issue makes keys, tokens and certificates for tests, with the command
// that users make theirs with.
package issue

import (
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

var (
	mu      sync.Mutex
	program string
)

// build builds the command, which requires modules that the one of the tests does
// not, in the directory of the server, so that the two are removed together.
func build(t testing.TB) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if program != "" {
		return program
	}
	path := filepath.Join(filepath.Dir(serve.Build(t, serve.EchoServer)), "easyops")
	cmd := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-buildvcs=false", "-o", path, "./cmd/easyops")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	program = path
	return program
}

// Easyops runs "easyops ARGS...", which must succeed, and returns what it
// printed to standard output. It is for tests in a directory of test, which end
// by [serve.Main].
func Easyops(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), build(t), args...)
	cmd.Env = serve.Environment()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("easyops %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}
