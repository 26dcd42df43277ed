package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/test/serve"
)

// Backend is the program that stands behind the edge.
const Backend = "github.com/go-easyops/easyops/test/edge/backend"

// patience is how long anything may take that should take milliseconds.
const patience = 30 * time.Second

var (
	mu      sync.Mutex
	program string
)

// Program builds the command easyops, once in a test binary, and returns the path
// of the executable. It requires modules that the one of the tests does not. It
// is for tests in a directory of test, which end by [serve.Main].
func Program(t testing.TB) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if program != "" {
		return program
	}
	path := filepath.Join(filepath.Dir(serve.Build(t, Backend)), "easyops-edge")
	args := append([]string{"build", "-C", filepath.Join("..", ".."), "-buildvcs=false", "-o", path}, buildFlags...)
	cmd := exec.Command("go", append(args, "./cmd/easyops")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	program = path
	return path
}

// Edge is a running process of the edge.
type Edge struct {
	Addr  string // of HTTP and gRPC
	Admin string // of its status pages

	file   string
	flags  []string
	cmd    *exec.Cmd
	log    lockedBuffer
	exited chan struct{} // closed when cmd has its exit code
}

// Start runs an edge on free ports of loopback with the routes, which are the
// file without "listen" and "admin", and returns when it is ready. The process is
// killed at the end of the test if it still runs.
func Start(t testing.TB, routes string, flags ...string) *Edge {
	t.Helper()
	e := &Edge{Addr: serve.FreeAddr(t), Admin: serve.FreeAddr(t), flags: flags, file: filepath.Join(t.TempDir(), "routes.yaml")}
	e.Write(t, routes)
	e.start(t)
	e.awaitReady(t)
	return e
}

// Write puts other routes into the file that the edge is told by.
func (e *Edge) Write(t testing.TB, routes string) {
	t.Helper()
	text := fmt.Sprintf("listen: %q\nadmin: %q\n%s", e.Addr, e.Admin, routes)
	if err := os.WriteFile(e.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Successor runs another edge with the same file and flags, at the same
// addresses, and does not wait for it.
func (e *Edge) Successor(t testing.TB) *Edge {
	t.Helper()
	next := &Edge{Addr: e.Addr, Admin: e.Admin, flags: e.flags, file: e.file}
	next.start(t)
	return next
}

// Again is [Edge.Successor], and waits until the new one is ready. The former one
// must have ended.
func (e *Edge) Again(t testing.TB) *Edge {
	t.Helper()
	next := e.Successor(t)
	next.awaitReady(t)
	return next
}

func (e *Edge) start(t testing.TB) {
	t.Helper()
	e.exited = make(chan struct{})
	e.cmd = exec.Command(Program(t), append([]string{"edge", e.file}, e.flags...)...)
	e.cmd.Env = serve.Environment()
	e.cmd.Stdout, e.cmd.Stderr = &e.log, &e.log
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(e.exited)
		_ = e.cmd.Wait() // ProcessState says it all
	}()
	t.Cleanup(func() {
		_ = e.cmd.Process.Kill()
		<-e.exited
		if log := e.Log(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "level=ERROR msg=panic") {
			t.Errorf("the edge: %s", log)
		}
	})
}

// awaitReady asks the readiness probe until it agrees.
func (e *Edge) awaitReady(t testing.TB) {
	t.Helper()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-e.exited:
			t.Fatalf("the edge exited with code %d before it was ready\n%s", e.cmd.ProcessState.ExitCode(), e.Log())
		default:
		}
		if last = e.probe(); last == nil {
			return
		}
	}
	t.Fatalf("the edge is not ready after %v: %v\n%s", patience, last, e.Log())
}

// probe asks for readiness on the address of the pages. That has TLS where the
// edge has; that both addresses are listened on has to do then.
func (e *Edge) probe() error {
	conn, err := net.DialTimeout("tcp", e.Addr, time.Second)
	if err != nil {
		return err
	}
	_ = conn.Close()
	resp, err := http.Get("http://" + e.Admin + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	switch {
	case resp.StatusCode == http.StatusOK:
		return nil
	case strings.Contains(string(body), "HTTPS server"):
		return nil
	}
	return fmt.Errorf("/readyz: %s: %s", resp.Status, body)
}

// Signal sends a signal to the process.
func (e *Edge) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := e.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
}

// Wait waits for the end of the process and returns its exit code, -1 after a
// signal that killed it. It fails the test if the end does not come.
func (e *Edge) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-e.exited:
		return e.cmd.ProcessState.ExitCode()
	case <-time.After(40 * time.Second): // more than the default shutdown timeout
		t.Errorf("the edge does not end\n%s", e.Log())
		return -1
	}
}

// Exited is closed when the process has ended.
func (e *Edge) Exited() <-chan struct{} { return e.exited }

// Log is what the process wrote so far.
func (e *Edge) Log() string { return e.log.String() }

// lockedBuffer is a buffer that is read while a process writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
