package secure

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/test/serve"
)

const (
	example  = "../../example/secure"
	most     = 15              // commands
	patience = 5 * time.Minute // grpcurl may have to be fetched and built
)

// commands returns those of the script, without what only makes it a script:
// settings, functions and variables. A command may have several lines.
func commands(t *testing.T) (all []string) {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(example, "run.sh"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(script), "\\\n", "\x00") // one line for each command
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !notCommand.MatchString(line) {
			all = append(all, strings.ReplaceAll(line, "\x00", "\\\n"))
		}
	}
	return all
}

// notCommand is a comment, what a script needs to be one, a function, or an
// assignment.
var notCommand = regexp.MustCompile(`^(#|set -eu$|cd "\$\(dirname|trap |[a-z]+\(\) \{|[a-z]+=\S* ?([a-z]+=\S* ?)*$|[a-z]+=("[^"]*"|\$\([^)]*\))$|[a-z]+=.* dir=\$\(mktemp -d\) pids=$)`)

// TestCommands: there are not too many, and README.md explains each.
func TestCommands(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(example, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := commands(t)
	if len(all) == 0 || len(all) > most {
		t.Errorf("%d commands, want 1 to %d:\n%s", len(all), most, strings.Join(all, "\n"))
	}
	for _, c := range all {
		if !strings.Contains(string(readme), "\n"+c+"\n") {
			t.Errorf("README.md does not show the command\n%s", c)
		}
	}
}

// TestNotCommand: what is left out of the count is no command.
func TestNotCommand(t *testing.T) {
	for line, want := range map[string]bool{
		"# comment":                    true,
		"greeter=greeter.v1.Service":   true,
		`registry="local:$dir/x"`:      true,
		`names=$(yes | head -n 2000)`:  true,
		`token() { easyops token; }`:   true,
		"go build ./...":               false,
		"A=1 go build":                 false,
		"port=1 echo -x &":             false,
		"secure -d '{}' x":             false,
		".bin/echo -easyops.addr=:0 &": false,
	} {
		if got := notCommand.MatchString(line); got != want {
			t.Errorf("%q: left out: %v, want %v", line, got, want)
		}
	}
}

// TestRefused: a call that should fail and does not ends the script.
func TestRefused(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(example, "run.sh"))
	if err != nil {
		t.Fatal(err)
	}
	refused := regexp.MustCompile(`(?m)^refused\(\) .*$`).FindString(string(text))
	for call, want := range map[string]bool{"false": true, "true": false} {
		out, err := exec.CommandContext(t.Context(), "sh", "-euc", refused+"\nrefused "+call).CombinedOutput()
		if (err == nil) != want {
			t.Errorf("refused %s: %v\n%s", call, err, out)
		}
	}
}

// script is run.sh in a process group of its own, with a directory for all that
// is temporary.
type script struct {
	*exec.Cmd
	dir    string
	exited chan struct{} // closed when it has

	mu  sync.Mutex
	out bytes.Buffer
}

func (s *script) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func (s *script) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

func start(t *testing.T) *script {
	t.Helper()
	dir, err := os.MkdirTemp("", "easyops-") // short, for the names of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	_, port, err := net.SplitHostPort(serve.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s := &script{Cmd: exec.CommandContext(ctx, filepath.Join(example, "run.sh")), dir: dir, exited: make(chan struct{})}
	s.Env = append(serve.Environment(), "PORT="+port, "TMPDIR="+dir, "GOTMPDIR="+t.TempDir()) // go leaves files where it is interrupted
	s.Stdout, s.Stderr = s, s
	s.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.Cancel = func() error { return syscall.Kill(-s.Process.Pid, syscall.SIGKILL) }
	s.WaitDelay = 10 * time.Second
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.exited)
		_ = s.Wait() // ProcessState says it all
	}()
	t.Cleanup(func() {
		cancel()
		<-s.exited
	})
	return s
}

// leftNothing looks for processes and files that outlive the script.
func (s *script) leftNothing(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-s.Process.Pid, 0); err == nil {
		t.Error("processes are left")
		_ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL)
	}
	left, err := os.ReadDir(s.dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// steps are what the output must hold, in this order: the answer to each call,
// and what the servers say of it.
var steps = []string{
	`"tags": \[`,
	`method=greeter\.v1\.GreeterService/Greet code=Unauthenticated .* err=unauthenticated\n`,
	`Code: Unauthenticated\n  Message: unauthenticated: `,
	`"greeting": "Hello, Ada"`,
	`method=greeter\.v1\.GreeterService/GreetAll code=PermissionDenied .* user=alice err="permission denied: the user is in none of the groups staff"`,
	`Code: PermissionDenied\n  Message: permission denied: `,
	`method=echo\.v1\.EchoService/Echo code=OK .* user=alice service=spiffe://easyops\.internal/greeter\n`,
	`"greeting": "Hello, Bob"`,
	`"count": "2002"`,
	`Failed to dial target host`,
}

// TestRun: the script does what it says, and leaves nothing.
func TestRun(t *testing.T) {
	began := time.Now()
	s := start(t)
	<-s.exited
	if !s.ProcessState.Success() {
		t.Errorf("the script ends with %v", s.ProcessState)
	}
	t.Logf("it took %v", time.Since(began).Round(time.Second))
	s.leftNothing(t)
	rest := s.output()
	for _, step := range steps {
		at := regexp.MustCompile(step).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("no %s in order in\n%s", step, s.output())
		}
		rest = rest[at[1]:]
	}
	if n := strings.Count(s.output(), "\n  Code: "); n != 2 {
		t.Errorf("%d calls were refused by a server, want 2:\n%s", n, s.output())
	}
	if strings.Contains(s.output(), "eyJ") {
		t.Error("a token is in the output")
	}
}

// TestInterrupted: Ctrl-C, which goes to all processes, stops everything.
func TestInterrupted(t *testing.T) {
	s := start(t)
	for strings.Count(s.output(), " INFO serving addr=") < 2 {
		select {
		case <-s.exited:
			t.Fatalf("it ended by itself: %v\n%s", s.ProcessState, s.output())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := syscall.Kill(-s.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	if code := s.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130\n%s", code, s.output())
	}
	s.leftNothing(t)
	if n := strings.Count(s.output(), " INFO stopped "); n != 2 {
		t.Errorf("%d servers stopped in an orderly way, want 2\n%s", n, s.output())
	}
}
