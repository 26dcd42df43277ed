// Package life tests how a server comes and goes: as a process, with signals,
// while it is called.
package life

import (
	"path/filepath"
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) { serve.Main(m) }

// localRegistry is the URL of a registry of the test's own.
func localRegistry(t *testing.T) string {
	t.Helper()
	return "local:" + filepath.Join(t.TempDir(), "registry")
}
