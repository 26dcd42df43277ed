package easyopstest

import (
	"testing"

	"github.com/go-easyops/easyops/runtime/flags"
)

// SetFlag sets a flag for the rest of the test, at whose end it is what it was
// before. The value is checked as one on the command line is; one that is not valid
// fails the test. Flags that are static or secret can be set too, and the functions of
// OnChange are called. A flag belongs to the process: tests that set the same one must
// not run in parallel.
func SetFlag[T flags.Kind](t testing.TB, f *flags.Flag[T], value T) {
	t.Helper()
	back, err := f.SetForTest(value)
	if err != nil {
		t.Fatalf("flag %s: %v", f.Name(), err)
	}
	t.Cleanup(back)
}
