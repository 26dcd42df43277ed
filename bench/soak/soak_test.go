package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// asSoak is set for a process that is the whole of the program.
const asSoak = "AS_SOAK"

// TestMain is main for the processes that tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && subcommands[os.Args[1]] != nil || os.Getenv(asSoak) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A short run, in which the server leaks: that is found in each quantity, and
// nothing is wrong besides. It takes as long as a run does at least.
func TestSoakFindsLeak(t *testing.T) {
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		t.Skip("there is no /proc")
	}
	s, err := parseSettings([]string{"-time=12s", "-rate=150", "-leak", "-out=" + filepath.Join(t.TempDir(), "soak")})
	if err != nil {
		t.Fatal(err)
	}
	r, err := soak(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(r.Logs) })
	for _, q := range quantities {
		if !slices.ContainsFunc(r.Wrong, func(w string) bool { return strings.HasPrefix(w, "grew: server, "+q.name) }) {
			t.Errorf("a server that leaks is flat in %s", q.name)
		}
	}
	for _, wrong := range r.Wrong {
		// In so short a run memory still fills, and the machine of a test may be slow.
		if !strings.HasPrefix(wrong, "grew: server, ") && !strings.HasPrefix(wrong, "grew: client, RSS") && !strings.HasPrefix(wrong, "there were") {
			t.Error(wrong)
		}
	}
	for what := range r.Operations {
		if !slices.Contains(operationNames, what) {
			t.Errorf("nobody asks for %q", what)
		}
	}
	if r.Calls[told] == 0 {
		t.Error("no stream was ended by a server: the restarts went unnoticed")
	}
}

func TestSettings(t *testing.T) {
	out := "-out=" + filepath.Join(t.TempDir(), "x", "soak")
	for _, c := range []struct {
		args            []string
		sample, restart time.Duration
		wrong           bool
	}{
		{[]string{out}, 5 * time.Second, 20 * time.Second, false},
		{[]string{out, "-time=1m"}, time.Second, 3 * time.Second, false},
		{[]string{out, "-time=1m", "-sample=2s", "-restart=5s"}, 2 * time.Second, 5 * time.Second, false},
		{[]string{out, "-time=5s"}, 0, 0, true},
		{[]string{out, "-rate=0"}, 0, 0, true},
		{[]string{out, "-restart=-1s"}, 0, 0, true},
		{[]string{out, "more"}, 0, 0, true},
	} {
		s, err := parseSettings(c.args)
		if (err != nil) != c.wrong || !c.wrong && (s.sample != c.sample || s.restart != c.restart) {
			t.Errorf("%v: samples each %v, restarts each %v, error %v", c.args, s.sample, s.restart, err)
		}
	}
}

// Each kind has its part of any hundred calls.
func TestKinds(t *testing.T) {
	seen := map[string]int{}
	for n := range 100 {
		seen[kindOf(1_000+n).name]++
	}
	for _, k := range kinds {
		if seen[k.name] != k.parts {
			t.Errorf("%d of 100 calls are %s, want %d", seen[k.name], k.name, k.parts)
		}
	}
}

func TestGoroutines(t *testing.T) {
	if n, err := goroutines(strings.NewReader("# TYPE go_goroutines gauge\ngo_goroutines 67\ngo_info 1\n")); n != 67 || err != nil {
		t.Errorf("%d, error %v", n, err)
	}
	for _, text := range []string{"", "go_goroutines many\n", "go_info 1\n"} {
		if n, err := goroutines(strings.NewReader(text)); err == nil {
			t.Errorf("%q has %d", text, n)
		}
	}
}
