package edge

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also plays the parts of other processes, for tests that need some.
func TestMain(m *testing.M) {
	if part, ok := parts[os.Getenv("EDGE_TEST_PART")]; ok {
		os.Exit(part())
	}
	goleak.VerifyTestMain(m)
}

// parts are what another process of the test does; each returns its exit code.
var parts = map[string]func() int{}
