package operate

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/test/serve"
)

const (
	echoService = "echo.v1.EchoService"
	level       = "easyops.log-level"
)

func TestMain(m *testing.M) { serve.Main(m) }

// cluster is servers that share a registry, and the command line beside them.
type cluster struct {
	t       *testing.T
	url     string
	servers []*serve.Server
}

func newCluster(t *testing.T, n int, flags ...string) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "easyops-test-") // short, as the paths of sockets must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &cluster{t: t, url: "local:" + filepath.Join(dir, "registry")}
	for range n {
		c.servers = append(c.servers, serve.Start(t, append(flags, "-easyops.registry="+c.url)...))
	}
	c.await(n)
	return c
}

// command is one of easyops.
func (c *cluster) command(args ...string) *exec.Cmd {
	cmd := exec.Command(serve.Build(c.t, serve.Easyops), args...)
	cmd.Env = append(serve.Environment(), "EASYOPS_REGISTRY="+c.url)
	return cmd
}

// run runs one and returns what it gave.
func (c *cluster) run(stdin string, args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	var out, err bytes.Buffer
	cmd := c.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &err
	if e := cmd.Run(); cmd.ProcessState == nil {
		c.t.Fatal(e)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// want runs one that must do what it is told, and returns the words of each line.
func (c *cluster) want(args ...string) (lines [][]string) {
	c.t.Helper()
	code, stdout, stderr := c.run("", args...)
	if code != 0 {
		c.t.Fatalf("easyops %s: code %d\n%s\n%s", strings.Join(args, " "), code, stdout, stderr)
	}
	for line := range strings.Lines(stdout) {
		lines = append(lines, strings.Fields(line))
	}
	return lines
}

// await waits until n instances are listed.
func (c *cluster) await(n int) {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, stdout, _ := c.run("", "ls", echoService)
		if got := max(0, strings.Count(stdout, "\n")-1); got == n {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("%d are not listed:\n%s", n, stdout)
		}
	}
}

// TestFlagsOfAllInstances is what operators do with the log level of all of a service.
func TestFlagsOfAllInstances(t *testing.T) {
	c := newCluster(t, 3)
	line := strings.Fields("flags set --service echo.v1.EchoService easyops.log-level=debug --ttl 2s")
	code, stdout, stderr := c.run("", line...)
	if code != 2 || stdout != "" || !strings.Contains(stderr, "add --yes") {
		t.Fatalf("without a terminal: code %d\n%s\n%s", code, stdout, stderr)
	}
	begun := time.Now()
	if text := c.inTerminal("y\n", line...); strings.Count(text, "debug") < 3 || !strings.Contains(text, "[y/N]") {
		t.Fatalf("in a terminal:\n%s", text)
	}
	if got := c.want("flags", "get", echoService, level); len(got) != 1 || got[0][0] != "debug" {
		t.Errorf("%v after %v", got, time.Since(begun))
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := c.want("flags", "get", echoService, level)
		if len(got) == 1 && got[0][0] == "info" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not back: %v", got)
		}
	}
	if d := time.Since(begun); d < 2*time.Second {
		t.Errorf("back after %v", d)
	}
	for _, s := range c.servers {
		if log := s.Log(); strings.Count(log, "audit") < 2 || !strings.Contains(log, "parameter reverted") {
			t.Errorf("its log:\n%s", log)
		}
	}
}

// inTerminal runs a command in a terminal, at which the answer is typed once there
// is a question.
func (c *cluster) inTerminal(answer string, args ...string) string {
	c.t.Helper()
	if _, err := exec.LookPath("script"); err != nil {
		c.t.Skip("script(1) is missing, which makes a terminal")
	}
	inner := c.command(args...)
	cmd := exec.Command("script", "--quiet", "--return", "--command", strings.Join(inner.Args, " "), "/dev/null")
	cmd.Env = inner.Env
	keyboard, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	var text bytes.Buffer
	typed := false
	for buf := make([]byte, 4096); ; {
		n, err := out.Read(buf)
		text.Write(buf[:n])
		if !typed && bytes.Contains(text.Bytes(), []byte("? [")) {
			typed = true
			_, _ = io.WriteString(keyboard, answer)
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		c.t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, text.String())
	}
	return text.String()
}

// Of several that are shut down each process ends in an orderly way, one after the
// other.
func TestShutdownOfAllInstances(t *testing.T) {
	c := newCluster(t, 3, "-easyops.drain-delay=300ms")
	begun := time.Now()
	code, stdout, stderr := c.run("", "shutdown", "--yes", echoService)
	if code != 0 || strings.Count(stdout, " gone\n") != 3 {
		t.Fatalf("code %d\n%s\n%s", code, stdout, stderr)
	}
	if d := time.Since(begun); d < 900*time.Millisecond {
		t.Errorf("three took %v", d)
	}
	for _, s := range c.servers {
		if code := s.Wait(t); code != 0 {
			t.Errorf("code %d\n%s", code, s.Log())
		}
	}
	c.await(0)
}

var printed = regexp.MustCompile(`http://[^\s]+/\?token=[A-Z0-9]+`)

// TestOpenEnds: the pages are there until Ctrl-C, whose exit code is 0.
func TestOpenEnds(t *testing.T) {
	c := newCluster(t, 1)
	cmd, url := c.open(echoService)
	if !strings.Contains(url, ".localhost:") {
		t.Error(url)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// open starts easyops open and returns its URL.
func (c *cluster) open(args ...string) (cmd *exec.Cmd, url string) {
	c.t.Helper()
	cmd = c.command(append([]string{"open", "--no-browser"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var text []byte
	for buf := make([]byte, 4096); url == ""; {
		n, err := out.Read(buf)
		text = append(text, buf[:n]...)
		url = printed.FindString(string(text))
		if err != nil {
			c.t.Fatalf("%v: %s", err, text)
		}
	}
	return cmd, url
}
