package easyops_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// programEnv makes the test binary run one of the programs instead of tests.
const programEnv = "TEST_PROGRAM"

// programs are main functions for tests that need a process of its own.
var programs = map[string]func(){}

// TestMain keeps the tests apart from the settings and the registry of whoever
// runs them, and looks for goroutines that are left.
func TestMain(m *testing.M) {
	if program, ok := programs[os.Getenv(programEnv)]; ok {
		program()
		return
	}
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "EASYOPS_") {
			os.Unsetenv(name)
		}
	}
	dir, err := os.MkdirTemp("", "easyops-")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_RUNTIME_DIR", dir)
	os.Setenv("TMPDIR", dir)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// startProgram prepares one of the programs; the caller runs it.
func startProgram(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), programEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// startTalking serves stubborn, logs to the standard error, and takes its time
// to shut down.
func startTalking(opts ...easyops.ServerOption) (*easyops.Server, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	slog.SetDefault(log)
	go func() {
		for !trapped() {
			time.Sleep(time.Millisecond)
		}
		log.Info("trapped")
	}()
	return echov1.StartEchoServiceServer(stubborn{}, append(opts,
		easyops.WithFlags(nil), easyops.WithRegistry("none"), easyops.WithLogger(log), easyops.WithShutdownTimeout(time.Minute))...)
}

// trapped tells whether Run waits for signals by now. One that comes before
// ends the process, as it does in any program.
func trapped() bool {
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		header, frames, _ := strings.Cut(stack, "\n")
		if strings.Contains(header, "[select") && strings.Contains(frames, "easyops.Run(") {
			return true
		}
	}
	return false
}

// stubborn does not let go.
type stubborn struct{ echo }

func (s stubborn) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	switch req.GetMessage() {
	case "stuck":
		fmt.Fprintln(os.Stderr, "stuck now")
		select {}
	case "work":
		easyops.Go(ctx, func(context.Context) { select {} })
	case "slow":
		fmt.Fprintln(os.Stderr, "slow now")
		<-easyops.Draining(ctx)
	}
	return s.echo.Echo(ctx, req)
}

// process is a program that runs, with what it says on its standard error.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	said   strings.Builder
	addr   string
	client echov1.EchoServiceClient
}

// serve runs a program until it serves.
func serve(t *testing.T, name string) *process {
	t.Helper()
	p := &process{t: t, cmd: startProgram(t, name)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(stderr)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil { // nobody has waited for its end
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
		if t.Failed() {
			t.Log(p.said.String())
		}
	})
	_, addr, _ := strings.Cut(p.until("msg=serving"), "addr=")
	p.addr, _, _ = strings.Cut(addr, " ")
	if name != "untrapped" {
		p.until("msg=trapped")
	}
	// What a call ends with is the server's answer, and not that of its retries.
	p.client = dialEcho(t, apart(), easyops.DialTarget(p.addr), easyops.DialGRPC(grpc.WithDisableRetry()))
	return p
}

// until reads until the program says something, and returns the line.
func (p *process) until(text string) string {
	p.t.Helper()
	for p.lines.Scan() {
		p.said.WriteString(p.lines.Text() + "\n")
		if strings.Contains(p.lines.Text(), text) {
			return p.lines.Text()
		}
	}
	p.t.Fatalf("%q was never said", text)
	return ""
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

// end waits for the end and returns how it came about.
func (p *process) end() *os.ProcessState {
	p.t.Helper()
	for p.lines.Scan() {
		p.said.WriteString(p.lines.Text() + "\n")
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Error(err)
	}
	return p.cmd.ProcessState
}
