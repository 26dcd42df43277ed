package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// measuring is the first argument of the process that measures. The one that
// people start looks after it.
const measuring = "measuring"

// errTold is the error of a process that has told its own.
var errTold = errors.New("what measures has failed")

// supervised runs this program once more, to measure.
func supervised(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends this process at once
	cmd := exec.Command(self, append([]string{measuring}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return supervise(ctx, cmd)
}

// supervise runs a program in a process group, an environment and a directory for
// temporary files of its own. When it has ended, and when ctx has, nothing is left
// of all that it has started, nor of what that has written.
func supervise(ctx context.Context, cmd *exec.Cmd) (err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd.Env = append(environment(os.Environ()), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process
	in, err := cmd.StdinPipe()                            // its end is that of this process
	if err != nil {
		return err
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer endGroup(cmd.Process.Pid, syscall.SIGKILL, killPatience) // what it has left
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return endOf(err)
	case <-ctx.Done():
		progress("interrupted: ends what it has started")
		endGroup(cmd.Process.Pid, syscall.SIGINT, endPatience)
		return errors.New("interrupted")
	}
}

// endOf leaves out what a process has told itself.
func endOf(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return errTold
	}
	return err
}

// Processes have some time to end. Who is killed has only to be gone.
const (
	endPatience  = 2 * time.Second
	killPatience = time.Second / 2
)

// endGroup sends a signal to a process group, and waits until it is empty.
func endGroup(id int, s syscall.Signal, patience time.Duration) {
	for end := time.Now().Add(patience); syscall.Kill(-id, s) == nil && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		s = 0 // asks only
	}
}

// endWithInput ends this process with the one that has started it. All that it
// has started reads from it and ends then, too.
func endWithInput() {
	_, _ = io.Copy(io.Discard, os.Stdin) // whatever ended it, it has ended
	os.Exit(1)
}

// cleared are the variables that change what is measured, of easyops and of all
// others.
var cleared = []string{"GOGC", "GOMEMLIMIT", "GODEBUG"}

// environment is one without them, and without settings of easyops.
func environment(of []string) (env []string) {
	for _, e := range of {
		name, _, _ := strings.Cut(e, "=")
		if slices.Contains(cleared, name) || strings.HasPrefix(name, "EASYOPS_") {
			progress("without %s of the environment", name)
			continue
		}
		env = append(env, e)
	}
	return env
}
