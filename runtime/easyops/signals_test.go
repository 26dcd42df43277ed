package easyops_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

func init() {
	programs["serve"] = func() { easyops.Main(startTalking()) }
	programs["untrapped"] = func() {
		s, _ := startTalking()
		s.Wait()
	}
	programs["bad settings"] = func() {
		slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
		easyops.Main(echov1.StartEchoServiceServer(nil, easyops.WithFlags(nil),
			easyops.WithAuth("mtls"), easyops.WithMetricsAccess("all"), easyops.WithAddr("4100")))
	}
	programs["bad end"] = func() {
		easyops.Main(startTalking(
			easyops.WithOnStop("one", func(context.Context) error { return errors.New("fault one") }),
			easyops.WithOnStop("two", func(context.Context) error { return errors.New("fault two") })))
	}
	programs["run"] = func() {
		s, err := startTalking()
		fmt.Println("run:", easyops.Run(s, err))
		fmt.Println("again:", easyops.Run(s, nil))
	}
}

// TestMainStops: a signal, or an operator's wish, stops in an orderly way, with
// exit code 0.
func TestMainStops(t *testing.T) {
	for name, stop := range map[string]func(*process){
		"SIGTERM": func(p *process) { p.signal(syscall.SIGTERM) },
		"SIGINT":  func(p *process) { p.signal(os.Interrupt) },
		"pleaseshutdown": func(p *process) {
			resp, err := http.Post("http://"+p.addr+"/internal/pleaseshutdown", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, "serve")
			slow := make(chan error, 1)
			go func() {
				_, err := p.client.Echo(within(t, 10*time.Second), &echov1.EchoRequest{Message: "slow"})
				slow <- err
			}()
			p.until("slow now")
			stop(p)
			if state := p.end(); state.ExitCode() != 0 {
				t.Errorf("%v", state)
			}
			if err := <-slow; err != nil {
				t.Errorf("the call in flight: %v", err)
			}
			mustContain(t, p.said.String(), "msg=stopping", "msg=draining", "msg=stopped")
		})
	}
}

// TestSecondSignal: it stops at once, whatever is stuck, and the exit code says
// that not all was well.
func TestSecondSignal(t *testing.T) {
	for _, what := range []string{"stuck", "work"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := serve(t, "serve")
			stuck := make(chan error, 1)
			go func() {
				_, err := p.client.Echo(within(t, 20*time.Second), &echov1.EchoRequest{Message: what})
				stuck <- err
			}()
			if what == "stuck" {
				p.until("stuck now")
			} else if err := <-stuck; err != nil {
				t.Fatal(err)
			}
			p.signal(syscall.SIGTERM)
			p.until("msg=draining")
			begun := time.Now()
			ended := make(chan struct{})
			defer func() { <-ended }()
			enough := within(t, 10*time.Second)
			done, cancel := context.WithCancel(enough)
			go func() {
				defer close(ended)
				for done.Err() == nil { // one that comes too soon after the first may not count
					p.signal(syscall.SIGTERM)
					select {
					case <-time.After(200 * time.Millisecond):
					case <-done.Done():
					}
				}
				if enough.Err() != nil {
					p.cmd.Process.Kill()
				}
			}()
			p.until("level=ERROR")
			cancel()
			if state := p.end(); state.ExitCode() != 1 {
				t.Errorf("%v", state)
			}
			if d := time.Since(begun); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
			mustContain(t, p.said.String(), "second signal", "echo.v1.EchoService/Echo")
			if what == "stuck" {
				if err := <-stuck; status.Code(err) != codes.Unavailable {
					t.Errorf("the call that was cut: %v", err)
				}
			}
		})
	}
}

// TestMainFaults: each fault of a start or an end is on a line of its own.
func TestMainFaults(t *testing.T) {
	out, err := startProgram(t, "bad settings").CombinedOutput()
	expectFaults(t, string(out), err, "mtls", "all", "4100", "implementation")

	p := serve(t, "bad end")
	p.signal(syscall.SIGTERM)
	if state := p.end(); state.ExitCode() != 1 {
		t.Errorf("%v", state)
	}
	expectFaults(t, p.said.String(), &exec.ExitError{ProcessState: p.cmd.ProcessState}, "fault one", "fault two")
}

func expectFaults(t *testing.T, out string, err error, faults ...string) {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
	var lines []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "level=ERROR") {
			lines = append(lines, line)
		}
	}
	if len(lines) != len(faults) {
		t.Errorf("%d lines for %d faults:\n%s", len(lines), len(faults), out)
	}
	mustContain(t, strings.Join(lines, ""), faults...)
}

// TestStartTrapsNothing: without Main and Run signals are the program's own.
func TestStartTrapsNothing(t *testing.T) {
	p := serve(t, "untrapped")
	p.signal(syscall.SIGTERM)
	if ws, ok := p.end().Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", p.cmd.ProcessState)
	}
}

// TestRun returns instead of exiting.
func TestRun(t *testing.T) {
	want := errors.New("no start")
	if err := easyops.Run(nil, want); !errors.Is(err, want) {
		t.Errorf("Run with an error: %v", err)
	}
	s := serveEcho(t, echo{}, easyops.WithOnReady(func(s *easyops.Server) { go s.Shutdown(context.Background()) }))
	if err := easyops.Run(s, nil); err != nil {
		t.Errorf("Run of a server that was shut down: %v", err)
	}

	cmd := startProgram(t, "run")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, lines: bufio.NewScanner(stderr)}
	p.until("msg=trapped")
	p.signal(syscall.SIGTERM)
	p.end()
	if out.String() != "run: <nil>\nagain: <nil>\n" {
		t.Errorf("said %q", &out)
	}
}

// TestContextEnds: the end of the context is an orderly stop.
func TestContextEnds(t *testing.T) {
	for _, early := range []bool{true, false} {
		var l logs
		ctx, cancel := context.WithCancelCause(context.Background())
		if early {
			cancel(errors.New("the program is over"))
		}
		s, err := easyops.Start(echoService(), apart(), easyops.WithContext(ctx), easyops.WithLogger(l.logger()))
		if err != nil {
			t.Fatal(err)
		}
		if !early {
			say(t, dialEcho(t, apart(), easyops.DialTarget(s.Addr().String())), "hi")
		}
		cancel(errors.New("the program is over"))
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
		if lines := l.with(t, "stopping"); len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["reason"]), "the program is over") {
			t.Errorf("logged %v", lines)
		}
	}
}

// TestListenerFails: a server that cannot serve any more ends, and says why.
func TestListenerFails(t *testing.T) {
	lis := listen(t)
	s, err := easyops.Start(echoService(), apart(), easyops.WithListener(brokenListener{lis}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err == nil || !strings.Contains(err.Error(), "broken for good") {
		t.Errorf("ended with %v", err)
	}
}

// brokenListener accepts nothing.
type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errors.New("broken for good") }
