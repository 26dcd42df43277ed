//go:build real

package frontproxies

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/edge/run"
	"github.com/go-easyops/easyops/test/serve"
)

// patience is how long anything may take that should take milliseconds.
const patience = 30 * time.Second

// proxy is a program in front of services.
type proxy struct {
	name string
	// args are those of the program for a file and a directory of its own.
	args   func(file, dir string) []string
	reload syscall.Signal
	flags  func(t *testing.T, dir string) []string // of easyops export
}

var proxies = []proxy{
	{
		"haproxy",
		func(file, _ string) []string { return []string{"haproxy", "-W", "-db", "-f", file} },
		syscall.SIGUSR2,
		func(*testing.T, string) []string {
			if os.Getuid() != 0 {
				return []string{"--user", ""}
			}
			return nil
		},
	},
	{
		"nginx",
		func(file, dir string) []string {
			return []string{"nginx", "-c", file, "-e", "stderr", "-g", "daemon off; pid " + filepath.Join(dir, "nginx.pid") + ";"}
		},
		syscall.SIGHUP,
		func(t *testing.T, dir string) []string {
			own := filepath.Join(dir, "own.conf")
			text := "access_log off;\n"
			for _, module := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
				text += module + "_temp_path " + filepath.Join(dir, module) + ";\n"
			}
			write(t, own, text)
			return []string{"--include", own}
		},
	},
}

// everywhere runs a test with each proxy.
func everywhere(t *testing.T, test func(*testing.T, proxy)) {
	t.Helper()
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// front is a proxy that runs, with easyops export beside it.
type front struct {
	proxy
	addr  string // of HTTP and gRPC, by TLS
	lines string // of TCP
	certs serve.Certs
	url   string // of the registry

	dir, file string
	cmd       *process
	watch     *process
}

// newFront returns a proxy that does not run yet.
func newFront(t *testing.T, p proxy, url string) *front {
	t.Helper()
	f := &front{proxy: p, addr: serve.FreeAddr(t), lines: serve.FreeAddr(t), certs: serve.NewCerts(t), url: url, dir: t.TempDir()}
	f.file = filepath.Join(f.dir, p.name+".conf")
	return f
}

// startFront starts a proxy with a route to each service of the backend.
func startFront(t *testing.T, p proxy, url string, flags ...string) *front {
	t.Helper()
	f := newFront(t, p, url)
	f.routes(t, `
http: [{path: /, service: page, allow: EVERYONE}]
grpc: [{service: echo.v1.EchoService, allow: EVERYONE}]
tcp: [{listen: "`+f.lines+`", service: lines}]
`)
	f.run(t, flags...)
	return f
}

// run exports once and starts the proxy.
func (f *front) run(t *testing.T, flags ...string) {
	t.Helper()
	f.export(t, append(flags, f.flags(t, f.dir)...)...).await(t)
	f.cmd = start(t, f.args(f.file, f.dir)...)
}

// routes writes the routes file.
func (f *front) routes(t *testing.T, text string) {
	t.Helper()
	head := fmt.Sprintf("listen: %q\ntls: [{cert: %q, key: %q}]\n", f.addr, f.certs.Cert, f.certs.Key)
	write(t, filepath.Join(f.dir, "routes.yaml"), head+text)
}

// export runs easyops export.
func (f *front) export(t *testing.T, flags ...string) *process {
	t.Helper()
	args := []string{run.Program(t), "export", f.name, "--routes", filepath.Join(f.dir, "routes.yaml"), "--registry", f.url, "-o", f.file}
	return start(t, append(args, flags...)...)
}

// follow runs easyops export --watch until the test ends.
func (f *front) follow(t *testing.T, flags ...string) {
	t.Helper()
	reload := fmt.Sprintf("kill -%d %d", f.reload, f.cmd.Process.Pid)
	f.watch = f.export(t, append(append(flags, f.flags(t, f.dir)...), "--watch", "--reload", reload)...)
}

// client is a client of HTTP, of HTTP/2 where h2 says so.
func (f *front) client(t *testing.T, h2, alive bool) *http.Client {
	t.Helper()
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.certs.Pool}, DisableKeepAlives: !alive, MaxIdleConnsPerHost: 100,
		Protocols: new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// dial returns a client of echo that does not call again.
func (f *front) dial(t *testing.T) echov1.EchoServiceClient {
	t.Helper()
	conn, err := f.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return echov1.NewEchoServiceClient(conn)
}

func (f *front) connect() (*grpc.ClientConn, error) {
	return grpc.NewClient(f.addr, grpc.WithDisableRetry(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: f.certs.Pool})))
}

// await waits until the proxy leads to all kinds.
func (f *front) await(t *testing.T) {
	t.Helper()
	client, echo := f.client(t, false, false), f.dial(t)
	eventually(t, f.name+" leads to all services", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := get(client, "https://"+f.addr+"/")(ctx); err != nil {
			return err
		}
		if _, err := echo.Echo(ctx, &echov1.EchoRequest{Message: "hi"}); err != nil {
			return err
		}
		return exchange(f.lines)(ctx)
	})
	if t.Failed() {
		t.Fatalf("%s\n%s", f.cmd.log.String(), f.file)
	}
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Errorf("not within %v: %s: %v", patience, what, err)
}

// process is one that is killed at the end of the test.
type process struct {
	*exec.Cmd
	log    lockedBuffer
	exited chan struct{}
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(args[0], args[1:]...), exited: make(chan struct{})}
	p.Env = serve.Environment()
	p.Stdout, p.Stderr = &p.log, &p.log
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its workers
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		<-p.exited
	})
	return p
}

// await waits for the end, which must be good.
func (p *process) await(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("%s does not end\n%s", p, p.log.String())
	}
	if !p.ProcessState.Success() {
		t.Fatalf("%s: %v\n%s", p, p.ProcessState, p.log.String())
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startBackends starts n servers, each of all kinds.
func startBackends(t *testing.T, n int, url string, flags ...string) (all []*serve.Server) {
	t.Helper()
	for range n {
		all = append(all, serve.StartProgram(t, run.Backend, append([]string{"-open", "-easyops.registry=" + url, "-easyops.drain-delay=2s"}, flags...)...))
	}
	return all
}

// newRegistry is one of the test's own.
func newRegistry(t *testing.T) string {
	t.Helper()
	return "local:" + filepath.Join(t.TempDir(), "registry")
}
