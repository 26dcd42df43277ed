//go:build real

// Package readme follows the README's quickstart to the letter.
package readme

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// step is what the quickstart tells the reader to do: to write a file, or to
// run commands in a shell.
type step struct {
	file string // empty for commands
	text string
}

func TestQuickstart(t *testing.T) {
	steps := quickstart(t)
	dir := emptyFolder(t)
	began := time.Now()
	serving := false
	for _, s := range steps {
		switch {
		case s.file != "":
			write(t, filepath.Join(dir, s.file), s.text)
		case strings.Contains(s.text, "go run . "):
			first, last, _ := strings.Cut(s.text, "\n")
			shell(t, dir, first)
			serve(t, dir, last)
			serving = true
		default:
			out := shell(t, dir, s.text)
			if serving && !strings.Contains(out, "Hello, Ada") {
				t.Errorf("the call answered\n%s", out)
			}
			if serving {
				t.Logf("from the empty folder to the first answer: %v", time.Since(began).Round(time.Second))
			}
		}
	}
	if !serving {
		t.Error("the quickstart serves nothing")
	}
}

// quickstart reads the steps out of the README: a line with a file's name in
// back quotes is before its content, a block in sh is run.
func quickstart(t *testing.T) (steps []step) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(readme), "<!-- quickstart")
	text, _, end := strings.Cut(text, "<!-- end of quickstart -->")
	if !ok || !end {
		t.Fatal("the README has no quickstart between its marks")
	}
	var s *step
	file := ""
	for line := range strings.Lines(text) {
		switch {
		case s == nil && strings.HasPrefix(line, "```"):
			s = &step{file: file}
			if file == "" && strings.TrimSpace(line) != "```sh" {
				t.Fatalf("a block %q without the name of a file before it", strings.TrimSpace(line))
			}
		case s != nil && strings.HasPrefix(line, "```"):
			steps = append(steps, *s)
			s, file = nil, ""
		case s != nil:
			s.text += line
		case strings.HasPrefix(line, "`"):
			file = strings.Trim(strings.TrimSpace(line), "`")
		}
	}
	return steps
}

// emptyFolder returns an empty folder that has the checkout beside it.
func emptyFolder(t *testing.T) string {
	t.Helper()
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	if err := os.Symlink(checkout, filepath.Join(parent, "easyops")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "hello")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func shell(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// serve runs a command until the end of the test, which stops it by SIGTERM.
func serve(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", "exec "+script)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			fmt.Fprintln(t.Output(), lines.Text())
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		<-copied
		_ = cmd.Wait() // go run reports the signal
	})
	ready(t, "http://127.0.0.1:4200/readyz")
}

func ready(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for tick := time.Tick(100 * time.Millisecond); ; {
		if resp, err := http.Get(url); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick:
		case <-ctx.Done():
			t.Fatalf("%s does not answer", url)
		}
	}
}
