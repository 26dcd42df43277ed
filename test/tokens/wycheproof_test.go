// Package tokens tests the verification of tokens with what others have made:
// Wycheproof's vectors and a real OpenID provider.
package tokens

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
)

// Of Wycheproof's signatures no invalid one is accepted. They sign text that is
// no claims, so a test of the package itself reads them below the claims.
func TestWycheproof(t *testing.T) {
	vectors, err := fs.ReadFile(wycheproof.TestVectors, "json_web_signature_test.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vectors.json")
	if err := os.WriteFile(file, vectors, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run=^TestVectors$", "./runtime/auth", "-args", "-vectors="+file)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	counts := regexp.MustCompile(`map\[.*\]`).FindString(string(out))
	t.Log(counts)
	for _, want := range []string{"invalid, refused:262", "valid, accepted:7"} {
		if !strings.Contains(counts, want) {
			t.Errorf("got %s, want %s:\n%s", counts, want, out)
		}
	}
}
