//go:build real

package life

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/test/serve"
)

// TestMakeRun stops `make run` as people do, by Ctrl-C in a terminal and by the
// page, and wants make to say that all went well.
func TestMakeRun(t *testing.T) {
	for name, stop := range map[string]func(t *testing.T, addr string, keyboard io.Writer){
		"Ctrl-C": func(t *testing.T, _ string, keyboard io.Writer) {
			if _, err := keyboard.Write([]byte{3}); err != nil {
				t.Error(err)
			}
		},
		"page": func(t *testing.T, addr string, _ io.Writer) {
			if code, body := do(t, http.MethodPost, "http://"+addr+"/internal/pleaseshutdown", nil); code != http.StatusAccepted {
				t.Errorf("%d %s", code, body)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve.FreeAddr(t)
			terminal := openTerminal(t, "make -C ../.. run ADDR="+addr)
			for terminal.running() && !ready(addr) {
				time.Sleep(50 * time.Millisecond)
			}
			if want := "http://" + addr + "/internal/help"; !strings.Contains(terminal.screen(), want) {
				t.Errorf("make run does not print %s", want)
			}
			stop(t, addr, terminal.keyboard)
			if code := terminal.wait(); code != 0 {
				t.Errorf("exit code %d\n%s", code, terminal.screen())
			}
		})
	}
}

// terminal is a program in a terminal of its own.
type terminal struct {
	keyboard io.Writer
	cmd      *exec.Cmd
	ended    context.Context // with the program

	mu  sync.Mutex
	out strings.Builder
}

// openTerminal runs a shell command in a terminal, for ten minutes at most: it
// may have to build tools.
func openTerminal(t *testing.T, command string) *terminal {
	t.Helper()
	limit, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	ended, end := context.WithCancel(context.Background())
	term := &terminal{ended: ended}
	term.cmd = exec.CommandContext(limit, "script", "--quiet", "--return", "--command", command, "/dev/null")
	term.cmd.Cancel = func() error { return term.cmd.Process.Signal(syscall.SIGTERM) }
	term.cmd.Env = serve.Environment()
	term.cmd.Stdout = term
	keyboard, err := term.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	term.keyboard = keyboard
	if err := term.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer end()
		_ = term.cmd.Wait() // ProcessState says it all
	}()
	t.Cleanup(func() {
		cancel()
		<-ended.Done()
	})
	return term
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.Write(p)
}

func (t *terminal) screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.String()
}

func (t *terminal) running() bool { return t.ended.Err() == nil }

func (t *terminal) wait() int {
	<-t.ended.Done()
	return t.cmd.ProcessState.ExitCode()
}

// ready asks a server whether it is.
func ready(addr string) bool {
	resp, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
