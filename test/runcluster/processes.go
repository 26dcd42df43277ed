package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// processes are the programs that run.
type processes struct {
	all   []*exec.Cmd
	ended sync.WaitGroup

	mu     sync.Mutex
	ending bool
	err    error // of start, then of ends that are not orderly
}

// start starts a program and copies what it writes, with its name before each
// line. An end that nobody asked for is told, and the others go on.
func (p *processes) start(name, path string, args ...string) {
	if p.err != nil {
		return
	}
	cmd := exec.Command(path, args...)
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us: theirs comes from stop
	out := &lines{to: os.Stdout, prefix: fmt.Sprintf("%-8s| ", name)}
	cmd.Stdout, cmd.Stderr = out, out
	if p.err = cmd.Start(); p.err != nil {
		return
	}
	p.all = append(p.all, cmd)
	p.ended.Go(func() {
		err := cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ending {
			fmt.Fprintf(out, "ended: %v\n", cmd.ProcessState)
		} else if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && (!ok || status.Signal() != syscall.SIGTERM) {
			// A program that is told to stop before it listens to that ends so.
			p.err = errors.Join(p.err, fmt.Errorf("%s: %w", name, err))
		}
	})
}

// stop stops all programs in an orderly way, or at once where a signal comes
// meanwhile, and returns what did not end as it should.
func (p *processes) stop(signals <-chan os.Signal) error {
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	p.signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.ended.Wait()
	}()
	select {
	case <-done:
	case <-signals:
		p.signal(syscall.SIGKILL)
		<-done
	}
	return p.err
}

func (p *processes) pid(n int) int { return p.all[n].Process.Pid }

func (p *processes) signal(s syscall.Signal) {
	for _, cmd := range p.all {
		_ = cmd.Process.Signal(s) // one that has ended needs none
	}
}

// environment is ours without settings of easyops, so that what is printed is
// what happens.
func environment() (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "EASYOPS_") {
			env = append(env, e)
		}
	}
	return env
}

var terminal sync.Mutex // lines of several programs do not mix

// lines copies whole lines with a prefix. It is written to by one process, and
// by us after that has ended.
type lines struct {
	to     io.Writer
	prefix string
	rest   []byte
}

func (l *lines) Write(text []byte) (int, error) {
	l.rest = append(l.rest, text...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(text), nil
		}
		terminal.Lock()
		_, err := fmt.Fprintf(l.to, "%s%s\n", l.prefix, line)
		terminal.Unlock()
		if err != nil {
			return 0, err
		}
		l.rest = rest
	}
}
