package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whether it ends by itself or is interrupted, nothing is left of what it started
// and wrote.
func TestSupervise(t *testing.T) {
	for _, c := range []struct {
		name, script string
		interrupt    bool
		want         string
	}{
		{name: "ends", script: "exit 0"},
		{name: "fails", script: "exit 1", want: errTold.Error()},
		{name: "dies", script: "kill -9 $$", want: "signal: killed"},
		{name: "interrupted", script: "trap '' INT; wait", interrupt: true, want: "interrupted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			said := filepath.Join(t.TempDir(), "said")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			// The child takes no signal but the last, and stays.
			cmd := exec.Command("sh", "-c", `touch "$TMPDIR/file"; sh -c 'trap "" INT; echo $$ >"$0".part; mv "$0".part "$0"; sleep 60; sleep 60' "$0" & while ! test -e "$0"; do sleep 0.01; done; `+c.script, said)
			ended := make(chan error, 1)
			go func() { ended <- supervise(ctx, cmd) }()
			child := waitForNumber(t, said)
			if c.interrupt {
				cancel()
			}
			err := <-ended
			if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
				t.Errorf("in TMPDIR there is %v", left)
			}
			if runs(child) {
				t.Errorf("process %d runs", child)
			}
		})
	}
}

// waitForNumber returns the number that a file has, when there is one.
func waitForNumber(t *testing.T, file string) int {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if text, err := os.ReadFile(file); err == nil {
			n, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("it does not start")
	return 0
}

// runs tells whether a process does: one that has ended may still be listed.
func runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return err != nil || !strings.Contains(string(status), "State:\tZ")
}

// What measures ends with the process that looks after it, however that has ended.
func TestMeasuringEndsWithItsInput(t *testing.T) {
	cmd := exec.Command(os.Args[0], measuring, "-only=operation", "-pairs=1", "-out="+filepath.Join(t.TempDir(), "x"))
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // it leaves to others to remove what it writes
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	errOut, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	if line, err := bufio.NewReader(errOut).ReadString('\n'); err != nil || !strings.HasPrefix(line, "operation: about ") {
		t.Errorf("it says %q, %v", line, err)
	}
	in.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/bin", "GOGC=50", "GOMEMLIMIT=1GiB", "GODEBUG=x=1", "EASYOPS_ADDR=:1", "GOGCX=1", "GOFLAGS=-v"})
	if want := []string{"PATH=/bin", "GOGCX=1", "GOFLAGS=-v"}; !slices.Equal(got, want) {
		t.Errorf("it is %v, want %v", got, want)
	}
}

// A part that fails ends neither the run nor what the others have measured.
func TestPartsGoOn(t *testing.T) {
	fails := func(settings, *report) error { return errors.New("no such thing") }
	ends := func(_ settings, r *report) error {
		r.Start = map[string][]float64{bare: {1}}
		return nil
	}
	s := settings{pairs: 1, only: []string{"first", "second"}, out: filepath.Join(t.TempDir(), "out")}
	r, err := s.measureParts([]part{
		{name: "first", measure: fails, takes: perPair(0)}, {name: "second", measure: ends, takes: perPair(0)}, {name: "third", measure: fails},
	})
	if err == nil || !strings.Contains(err.Error(), "first: no such thing") || strings.Contains(err.Error(), "third") {
		t.Errorf("error %v", err)
	}
	if r == nil || len(r.Start) != 1 || !strings.Contains(r.markdown(), "| first | no such thing |") {
		t.Fatalf("report %+v", r)
	}
	if text, err := os.ReadFile(s.out + ".md"); err != nil || !strings.Contains(string(text), "no such thing") {
		t.Errorf("%s, %v", text, err)
	}
}

// Each part says how long it takes, and more pairs take longer.
func TestEstimates(t *testing.T) {
	for _, p := range parts {
		var last time.Duration
		for _, pairs := range []int{3, 20} {
			d, err := p.takes(settings{pairs: pairs, slice: 100 * time.Millisecond, dir: t.TempDir()})
			if err != nil || d <= last || d > 2*time.Hour {
				t.Errorf("%s, %d pairs: %v, %v", p.name, pairs, d, err)
			}
			last = d
		}
	}
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	for _, n := range []int{0, 10, tailSize, tailSize + 10} {
		if err := os.WriteFile(file, []byte(strings.Repeat("a", n)+"z"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := string(endOfFile(file)); len(got) != min(n+1, tailSize) || !strings.HasSuffix(got, "z") {
			t.Errorf("of %d bytes: %q", n+1, got)
		}
	}
	if got := endOfFile(file + "x"); len(got) != 0 {
		t.Errorf("of no file: %q", got)
	}
}
