package easyops_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// programEnv makes the test binary run one of the programs instead of tests.
const programEnv = "TEST_PROGRAM"

// programs are main functions for tests that need a process of its own.
var programs = map[string]func(){}

// TestMain keeps the tests apart from the settings and the registry of whoever
// runs them, and looks for goroutines that are left.
func TestMain(m *testing.M) {
	if program, ok := programs[os.Getenv(programEnv)]; ok {
		program()
		return
	}
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "EASYOPS_") {
			os.Unsetenv(name)
		}
	}
	dir, err := os.MkdirTemp("", "easyops-")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_RUNTIME_DIR", dir)
	os.Setenv("TMPDIR", dir)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// startProgram prepares one of the programs; the caller runs it.
func startProgram(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), programEnv+"="+name)
	return cmd
}
