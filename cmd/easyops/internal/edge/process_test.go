//go:build unix

package edge

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

func init() {
	parts["edge"] = func() int {
		fs := flag.NewFlagSet("edge", flag.ContinueOnError)
		easyops.RegisterFlags(fs)
		if err := fs.Parse(os.Args[1:]); err != nil {
			return 2
		}
		err := Run(Config{File: fs.Arg(0), Handover: fs.Arg(1), Flags: fs, Logger: slog.Default()})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
}

// process is an edge that runs in a process of its own.
type process struct {
	*exec.Cmd
	log   logbook
	ended chan struct{}
}

// run starts an edge with the place's routes file, as a program.
func (p *place) run(flags ...string) *process {
	p.t.Helper()
	args := append([]string{"-easyops.registry=" + p.registry}, flags...)
	args = append(args, filepath.Join(p.dir, "routes.yaml"), filepath.Join(p.dir, "handover"))
	r := &process{Cmd: exec.Command(os.Args[0], args...), ended: make(chan struct{})}
	r.Env = append(os.Environ(), "EDGE_TEST_PART=edge")
	r.Stdout, r.Stderr = &r.log, &r.log
	if err := r.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		_ = r.Wait() // ProcessState says it
	}()
	p.t.Cleanup(func() {
		_ = r.Process.Kill()
		<-r.ended
		if p.t.Failed() {
			p.t.Logf("process %d:\n%s", r.Process.Pid, r.log.text())
		}
	})
	return r
}

// says waits until the process has logged a text.
func (r *process) says(t *testing.T, text string) {
	t.Helper()
	await(t, text, func() bool {
		select {
		case <-r.ended:
			t.Fatalf("it has ended: %v\n%s", r.ProcessState, r.log.text())
		default:
		}
		return strings.Contains(r.log.text(), text)
	})
}

func (r *process) exits(t *testing.T) {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
	if !r.ProcessState.Success() {
		t.Errorf("%v\n%s", r.ProcessState, r.log.text())
	}
}

// front is what is behind the edges of a test, and how it is called through them.
type front struct {
	web, lines string // addresses
	calls      echov1.EchoServiceClient
	client     *http.Client
}

type echo struct {
	echov1.UnimplementedEchoServiceServer
}

func (echo) Echo(_ context.Context, r *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: r.GetMessage()}, nil
}

// fleet starts a service of each kind, and writes routes to them.
func (p *place) fleet() *front {
	p.t.Helper()
	p.serve("lines", named("lines"))
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, " answered")
	})
	s, err := easyops.Start([]easyops.Service{echov1.BindEchoServiceServer(echo{})},
		easyops.WithFlags(nil), easyops.WithRegistry(p.registry), easyops.WithLogger(slog.New(slog.DiscardHandler)),
		easyops.WithHTTPService("page", "/", answer, auth.Access{Allow: auth.Everyone}))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	f := &front{web: freeAddr(p.t), lines: freeAddr(p.t)}
	p.write("routes.yaml", fmt.Sprintf("listen: %s\nadmin: 127.0.0.1:0\ntcp: [{listen: %q, service: lines}]\n"+
		"http: [{service: page, allow: EVERYONE}]\ngrpc: [{service: \"*\", allow: EVERYONE}]\n", f.web, f.lines))
	var conn *easyops.Conn
	f.calls, conn, err = echov1.DialEchoService(easyops.WithFlags(nil), easyops.DialTarget("dns:///"+f.web))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	p.t.Cleanup(transport.CloseIdleConnections)
	f.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	return f
}

// load calls through the edge in every way, each by several callers.
func (f *front) load() map[string]*callers {
	return map[string]*callers{
		"TCP":  callLines(f.lines, 3),
		"GET":  repeat(3, func() error { return f.request(http.MethodGet) }),
		"POST": repeat(3, func() error { return f.request(http.MethodPost) }), // net/http never sends it twice
		"gRPC": repeat(3, f.call),
	}
}

func (f *front) request(method string) error {
	var body io.Reader
	if method == http.MethodPost {
		body = io.MultiReader(bytes.NewReader([]byte("question"))) // of unknown length, not to be rewound
	}
	req, err := http.NewRequest(method, "http://"+f.web+"/x", body)
	if err != nil {
		return err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !strings.HasSuffix(string(answer), " answered")) {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return err
}

func (f *front) call() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := f.calls.Echo(ctx, &echov1.EchoRequest{Message: "question"})
	if err == nil && answer.GetMessage() != "question" {
		err = fmt.Errorf("%q came back", answer.GetMessage())
	}
	return err
}

func (f *front) up() bool { return f.request(http.MethodGet) == nil && f.call() == nil }

// TestProcesses replaces an edge under load, several times: nothing is refused, reset or
// left without an answer, and the one that was replaced ends in order.
func TestProcesses(t *testing.T) {
	p := newPlace(t)
	f := p.fleet()
	running := p.run()
	running.says(t, "INFO serving ")
	await(t, "an answer", f.up)
	load := f.load()
	for range 2 {
		for _, l := range load {
			l.await(20)
		}
		next := p.run()
		next.says(t, "taken over")
		running.exits(t)
		running = next
	}
	for _, l := range load {
		l.await(20)
	}
	for kind, l := range load {
		if errs := l.end(); len(errs) > 0 {
			t.Errorf("%s: %d of %d failed, such as %v", kind, len(errs), int64(len(errs))+l.ok.Load(), errs[0])
		}
		t.Logf("%s: %d", kind, l.ok.Load())
	}
	if err := running.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	running.exits(t)
	if left, _ := filepath.Glob(filepath.Join(p.dir, "*handover*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestProcessesOneAfterTheOther is the control: without a hand-over connections are
// refused.
func TestProcessesOneAfterTheOther(t *testing.T) {
	p := newPlace(t)
	f := p.fleet()
	running := p.run()
	await(t, "an answer", f.up)
	load := callLines(f.lines, 3)
	load.await(20)
	if err := running.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	running.exits(t)
	p.run()
	await(t, "an answer", f.up)
	if errs := load.end(); len(errs) == 0 {
		t.Error("nothing failed: this load would not notice that a connection is refused")
	}
}

// TestSuccessorCannotStart leaves the edge that runs as it is.
func TestSuccessorCannotStart(t *testing.T) {
	p := newPlace(t)
	f := p.fleet()
	running := p.run()
	running.says(t, "INFO serving ")
	await(t, "an answer", f.up)
	load := f.load()
	next := p.run("-easyops.auth=nonsense")
	<-next.ended
	if next.ProcessState.ExitCode() != 1 || !strings.Contains(next.log.text(), "-easyops.auth") {
		t.Errorf("%v\n%s", next.ProcessState, next.log.text())
	}
	for kind, l := range load {
		l.await(20)
		if errs := l.end(); len(errs) > 0 {
			t.Errorf("%s: %d failed, such as %v", kind, len(errs), errs[0])
		}
	}
}

// TestSignalReloads: SIGHUP reads the routes file at once.
func TestSignalReloads(t *testing.T) {
	p := newPlace(t)
	p.fleet()
	running := p.run()
	running.says(t, "INFO serving ")
	if err := running.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	running.says(t, "read again and in force")
}
