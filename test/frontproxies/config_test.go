//go:build real

package frontproxies

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

// TestGoldenFiles has each proxy look at the configurations that the tests of the
// command compare with.
func TestGoldenFiles(t *testing.T) {
	for program, args := range map[string][]string{"haproxy": {"-c", "-f"}, "nginx": {"-t", "-e", "stderr", "-c"}} {
		files, err := filepath.Glob("../../cmd/easyops/internal/export/testdata/*." + program)
		if err != nil || len(files) == 0 {
			t.Fatal("no golden files", err)
		}
		for _, path := range files {
			t.Run(filepath.Base(path), func(t *testing.T) {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				fillIn(t, dir)
				here := strings.NewReplacer("/etc/easyops", dir, "echo.internal.example", "localhost").Replace(string(text))
				write(t, filepath.Join(dir, "conf"), here)
				out, err := exec.Command(program, append(args, filepath.Join(dir, "conf"))...).CombinedOutput()
				if err != nil || strings.Contains(strings.ToLower(string(out)), "warn") {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

// fillIn makes the files that the golden files name.
func fillIn(t *testing.T, dir string) {
	t.Helper()
	certs := serve.NewCerts(t)
	for name, from := range map[string]string{"shop.pem": certs.Cert, "shop.pem.key": certs.Key, "ca.pem": certs.CA} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	write(t, filepath.Join(dir, "own.conf"), "keepalive_timeout 60s;\n")
}
