package flags

import (
	"bytes"
	"flag"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newFlagSet is a FlagSet that writes its errors and help texts to the buffer.
func newFlagSet(t *testing.T) (*flag.FlagSet, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	fs := flag.NewFlagSet(t.Name(), flag.ContinueOnError)
	fs.SetOutput(&out)
	return fs, &out
}

func parseLine(t *testing.T, fs *flag.FlagSet, args ...string) {
	t.Helper()
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
}

// change changes flags and fails the test where that cannot be.
func change(t *testing.T, s *Set, c Changes) []Change {
	t.Helper()
	changes, err := s.Change(c)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func values(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func info(t *testing.T, s *Set, name string) Info {
	t.Helper()
	i, ok := s.Lookup(name)
	if !ok {
		t.Fatalf("no flag %s", name)
	}
	return i
}

func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q, want one with %q", err, p)
		}
	}
}

// logbook is a logger's lines.
type logbook struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(io.Writer(l), nil)) }
