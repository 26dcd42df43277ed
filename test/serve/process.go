package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that should take milliseconds.
const patience = 20 * time.Second

// Server is a running process of the example's server.
type Server struct {
	// Addr is its address, host:port.
	Addr string

	cmd    *exec.Cmd
	log    lockedBuffer
	exited chan struct{} // closed when cmd has its exit code
}

// Start starts the example's server on a free port of loopback with some more
// flags, and returns when it answers that it is ready. The process is killed
// at the end of the test if it still runs.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	return StartAt(t, FreeAddr(t), flags...)
}

// StartAt is Start on an address of the caller's choice.
func StartAt(t testing.TB, addr string, flags ...string) *Server {
	t.Helper()
	s := Launch(t, addr, flags...)
	if err := s.awaitReady(); err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	return s
}

// StartProgram is Start for another server than the example's: its package.
func StartProgram(t testing.TB, pkg string, flags ...string) *Server {
	t.Helper()
	s := launch(t, pkg, FreeAddr(t), flags...)
	if err := s.awaitReady(); err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	return s
}

// Launch starts the example's server on addr and does not wait for it.
func Launch(t testing.TB, addr string, flags ...string) *Server {
	t.Helper()
	return launch(t, EchoServer, addr, flags...)
}

func launch(t testing.TB, pkg, addr string, flags ...string) *Server {
	t.Helper()
	s := &Server{Addr: addr, exited: make(chan struct{})}
	s.cmd = exec.Command(Build(t, pkg), append([]string{"-easyops.addr=" + addr}, flags...)...)
	s.cmd.Env = Environment()
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // ProcessState says it all
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
	})
	return s
}

// Environment is the environment of the tests without settings of easyops.
func Environment() (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "EASYOPS_") {
			env = append(env, e)
		}
	}
	return env
}

// FreeAddr returns an address of loopback that nobody listens on. Its port is
// none of those that the kernel gives away, which might be taken while a server
// is restarted.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(12_000+rand.IntN(20_000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// awaitReady asks the readiness probe until it agrees.
func (s *Server) awaitReady() error {
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-s.exited:
			return fmt.Errorf("the server exited with code %d before it was ready", s.cmd.ProcessState.ExitCode())
		default:
		}
		if last = s.probe(); last == nil {
			return nil
		}
	}
	return fmt.Errorf("the server is not ready after %v: %w", patience, last)
}

// probe asks for readiness; where the server wants TLS, that it listens has to
// do.
func (s *Server) probe() error {
	if s.flag("-easyops.tls-cert") {
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	resp, err := http.Get("http://" + s.Addr + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz: %s: %s", resp.Status, body)
	}
	return nil
}

func (s *Server) flag(name string) bool {
	for _, arg := range s.cmd.Args {
		if strings.HasPrefix(arg, name+"=") {
			return true
		}
	}
	return false
}

// Signal sends a signal to the process.
func (s *Server) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
}

// Exited is closed when the process has ended.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Wait waits for the end of the process and returns its exit code, -1 after a
// signal that killed it. It fails the test if the end does not come.
func (s *Server) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-s.exited:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(40 * time.Second): // more than the default shutdown timeout
		t.Errorf("the server does not end\n%s", s.Log())
		return -1
	}
}

// Pid is the process's ID.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Log is what the process wrote so far.
func (s *Server) Log() string { return s.log.String() }

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
