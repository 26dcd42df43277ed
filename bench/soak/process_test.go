package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prepared has what servers need.
func prepared(t *testing.T) (settings, *http.Client) {
	t.Helper()
	s := settings{dir: t.TempDir(), rate: 10}
	if err := writeKeys(s.dir); err != nil {
		t.Fatal(err)
	}
	probe, _, err := webClients(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, probe
}

// A server whose parent is killed has an input that ends, and ends, too.
func TestServerEndsWithInput(t *testing.T) {
	t.Parallel()
	s, probe := prepared(t)
	v, err := startServer(t.Context(), s, "server-0", probe)
	if err != nil {
		t.Fatal(err)
	}
	defer v.kill()
	v.in.Close()
	if err := v.wait(); err != nil {
		t.Error(err)
	}
}

// What is killed ends nobody by itself: its servers see to that.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(self, "-rate=10", "-time=1h", "-out="+filepath.Join(dir, "soak"))
	cmd.Env = append(os.Environ(), asSoak+"=1", "TMPDIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	children := childrenOf(t, cmd.Process.Pid, 4) // servers and the client
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	for _, pid := range children {
		for end := time.Now().Add(patience); lives(pid); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("process %d has outlived its parent", pid)
			}
		}
	}
}

// childrenOf waits until a process has so many.
func childrenOf(t *testing.T, parent, n int) (pids []int) {
	t.Helper()
	for end := time.Now().Add(patience); len(pids) < n; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("there are %d processes of %d, want %d", len(pids), parent, n)
		}
		pids = nil
		dirs, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			if pid, _ := strconv.Atoi(filepath.Base(dir)); parentOf(pid) == parent {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// parentOf returns 0 where there is no such process.
func parentOf(pid int) int {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "PPid:"); ok {
			parent, _ := strconv.Atoi(strings.TrimSpace(text))
			return parent
		}
	}
	return 0
}

// lives tells whether a process of this program runs: not whether its number is one.
func lives(pid int) bool {
	program, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	self, _ := os.Executable()
	return err == nil && program == self
}

// A port that is taken is told from other faults, and another one is tried.
func TestTaken(t *testing.T) {
	s, probe := prepared(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	if _, err := startServerAt(t.Context(), s, "server-0", lis.Addr().String(), probe); err == nil || !isTaken(err) {
		t.Errorf("where the port is taken: %v", err)
	}
	if _, err := startServerAt(t.Context(), s, "server-0", "127.0.0.1:0", probe, "-no-such-flag"); err == nil || isTaken(err) {
		t.Errorf("where a flag is wrong: %v", err)
	}
}

// A client that hangs does not hang the run.
func TestAskInTime(t *testing.T) {
	c, err := callBy(t.TempDir(), exec.Command("sleep", "3600"))
	if err != nil {
		t.Skip(err)
	}
	defer c.kill()
	if _, err := c.ask(100 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "no answer in 100ms") {
		t.Errorf("the error is %v", err)
	}
}

// What was found before an interruption is kept, and no key is.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	s, err := parseSettings([]string{"-time=1h", "-sample=100ms", "-rate=50", "-out=" + filepath.Join(t.TempDir(), "soak")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r, err := soak(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(r.Logs)
	if len(r.Samples) == 0 || r.Calls.sum() == 0 || r.Operations["page"] == 0 || r.Time > time.Minute {
		t.Errorf("after %v there are %d samples, %d calls and the operations %v", r.Time, len(r.Samples), r.Calls.sum(), r.Operations)
	}
	if !slices.ContainsFunc(r.Wrong, func(w string) bool { return strings.Contains(w, errInterrupted.Error()) }) {
		t.Errorf("nobody says that it was interrupted: %q", r.Wrong)
	}
	files, err := os.ReadDir(r.Logs)
	if err != nil || len(files) == 0 {
		t.Errorf("%d logs, error %v", len(files), err)
	}
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".log" {
			t.Errorf("%s is kept", f.Name())
		}
	}
}

// Before anything is measured there is nothing to keep.
func TestInterruptedAtOnce(t *testing.T) {
	s, err := parseSettings([]string{"-out=" + filepath.Join(t.TempDir(), "soak")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("TMPDIR", t.TempDir())
	if r, err := soak(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, error %v", r, err)
	}
}
