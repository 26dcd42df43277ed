package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/test/serve"
)

const (
	root     = "../.."
	patience = 5 * time.Minute // tools may have to be fetched and built
	servers  = echoes + 4      // greeter, page, lines and edge
)

// program is run-cluster, with a directory for all that is temporary.
type program struct {
	*exec.Cmd
	dir      string
	keyboard io.Writer
	exited   chan struct{} // closed when it has

	mu  sync.Mutex
	out bytes.Buffer
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// output is what was written, as on a terminal or not.
func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.ReplaceAll(p.out.String(), "\r", "")
}

// startProgram starts a command line in the checkout.
func startProgram(t *testing.T, command ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &program{Cmd: exec.CommandContext(ctx, command[0], command[1:]...), dir: t.TempDir(), exited: make(chan struct{})}
	p.Dir = root
	p.Env = append(serve.Environment(), "TMPDIR="+p.dir, "GOTMPDIR="+t.TempDir())
	p.Stdout, p.Stderr = p, p
	p.Cancel = func() error { return p.Process.Signal(syscall.SIGTERM) }
	p.WaitDelay = 30 * time.Second
	keyboard, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.keyboard = keyboard
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.Wait() // ProcessState says it all
	}()
	t.Cleanup(func() {
		cancel()
		<-p.exited
	})
	return p
}

// await waits until the output holds a text.
func (p *program) await(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(p.output(), text) {
		select {
		case <-p.exited:
			t.Fatalf("it ended by itself: %v\n%s", p.ProcessState, p.output())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ended waits for the end, and wants it to be orderly and to leave nothing.
func (p *program) ended(t *testing.T, url string) {
	t.Helper()
	<-p.exited
	if !p.ProcessState.Success() {
		t.Errorf("it ends with %v\n%s", p.ProcessState, p.output())
	}
	left, err := os.ReadDir(p.dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if addr, ok := strings.CutPrefix(url, "etcd://"); ok {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Error("etcd is left")
		}
	}
	programs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range programs {
		if line, err := os.ReadFile(file); err == nil && url != "" && bytes.Contains(line, []byte(url)) {
			t.Errorf("a process is left: %q", line)
		}
	}
}

// answerOf is what commands must answer that have a part.
type answerOf struct{ command, want string }

// answers are those of the printed commands; the first that fits counts.
var answers = []answerOf{
	{"easyops ls echo", `(?s)(echo\.v1\.EchoService\s.* READY .*){2}`},
	{"easyops ls", `(?s)(echo\.v1\.EchoService\s.* READY .*){3}greeter\.v1\.GreeterService\s.* READY `},
	{"easyops status", `(?s)READY.*READY.*READY`},
	{"etcdctl", `(?s)(easyops/echo\.v1\.EchoService/\w+\n\{"Op":0,"Addr":"127\.0\.0\.1:\d+","Metadata":\{.*"health":"READY".*\}\}\n){3}easyops/greeter\.v1\.GreeterService/`},
	{"echoclient", `Echo     hi\nRepeat   hi hi hi\nCollect  hi hi hi\nChat     hi hi hi\n`},
	{"grpcurl", `"greeting": "Hello, Ada"`},
	{"/guestbook/", `<form`},
	{"/dev/tcp/", `^hello\n$`},
	{"/internal/edge", `(?s)guestbook-page.*lines`},
	{"easyops drain", `127\.0\.0\.1:\d+`},
	{"easyops undrain", `127\.0\.0\.1:\d+`},
	{"kill -9", `^$`},
	{"easyops callers", `(?s)echo\.v1\.EchoService/Echo.*echo\.v1\.EchoService/Repeat|(?s)echo\.v1\.EchoService/Repeat.*echo\.v1\.EchoService/Echo`},
	{"easyops flags set", `(?s)(easyops\.log-level +info +debug +in 5m0s.*){3}`},
	{"--changed", `(?s)easyops\.log-level.*debug`},
	{"/internal/service-info/grpc-connections", `(?s)(127\.0\.0\.1:\d+.*){2}`},
	{"/internal/", `greeter\.v1\.GreeterService`},
}

// try does what is printed, line by line, and looks at the answers.
func try(t *testing.T, output string) (url string) {
	t.Helper()
	commands := regexp.MustCompile(`(?m)^  (\S.*)$`).FindAllStringSubmatch(output, -1)
	tried := 0
	for _, c := range commands {
		line := c[1]
		if _, u, ok := strings.Cut(line, "export EASYOPS_REGISTRY="); ok {
			url = u
			continue
		}
		out, err := answer(t, line, url)
		if err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		tried++
		i := slices.IndexFunc(answers, func(a answerOf) bool { return strings.Contains(line, a.command) })
		if i < 0 {
			t.Errorf("nobody knows what this answers: %s", line)
		} else if want := answers[i].want; !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s answers, without %s,\n%s", line, want, out)
		}
	}
	if tried < 10 || url == "" {
		t.Errorf("only %d things to try, with %q", tried, url)
	}
	return url
}

// answer returns what a command prints. What it logs besides, which may come at
// any time, is shown where the test fails.
func answer(t *testing.T, line, url string) (string, error) {
	t.Helper()
	if strings.HasPrefix(line, "http://") {
		resp, err := http.Get(line)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", line)
	cmd.Dir = root
	cmd.Env = append(serve.Environment(), "EASYOPS_REGISTRY="+url)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	t.Logf("%s\n%s", line, &log)
	return string(out), err
}

// build builds what make does.
func build(t *testing.T) {
	t.Helper()
	for dir, args := range map[string][]string{
		root: {"build", "-o", ".bin/", "./cmd/easyops", "./example/echo", "./example/echoclient", "./example/greeter", "./example/page", "./example/lines"},
		"..": {"build", "-o", "../.bin/run-cluster", "./runcluster"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
}

// TestAsPrinted does all that is printed, and stops it by a signal.
func TestAsPrinted(t *testing.T) {
	build(t)
	p := startProgram(t, ".bin/run-cluster")
	p.await(t, "grpc-connections\n")
	url := try(t, p.output())
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	p.ended(t, url)
	if n := strings.Count(p.output(), " INFO stopped "); n != servers-1 {
		t.Errorf("%d servers stopped in an orderly way, want %d: all but the one that was killed\n%s", n, servers-1, p.output())
	}
}

// TestInterrupted stops it before it is there.
func TestInterrupted(t *testing.T) {
	build(t)
	p := startProgram(t, ".bin/run-cluster")
	p.await(t, " INFO serving ")
	url := regexp.MustCompile(`etcd://[0-9.:]+`).FindString(p.output())
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	p.ended(t, url)
}

// TestWithoutPrograms: what is missing is said, and nothing is left.
func TestWithoutPrograms(t *testing.T) {
	build(t)
	p := startProgram(t, ".bin/run-cluster", "-bin=nowhere")
	<-p.exited
	if code := p.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.output(), "nowhere/echo") {
		t.Errorf("exit code %d\n%s", code, p.output())
	}
	if left, err := os.ReadDir(p.dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
