package attack

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/go-easyops/easyops/test/serve"
)

const program = "github.com/go-easyops/easyops/test/attack/target"

// patience is how long anything may take that should take milliseconds.
const patience = 20 * time.Second

// target is a running process of the program.
type target struct {
	name    string
	addr    string
	figures string
	tls     *tls.Config // nil: plaintext
	cmd     *exec.Cmd
	log     *lockedBuffer
	exited  chan struct{}
}

var plainOnce sync.Mutex

// plain builds the program without the race detector, whose memory would hide
// that of the server.
func plain(t *testing.T) string {
	t.Helper()
	beside := serve.Build(t, program)
	path := beside + "-plain"
	plainOnce.Lock()
	defer plainOnce.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, program).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// startEasyops starts a server of easyops, for figures.
func startEasyops(t *testing.T, flags ...string) *target {
	t.Helper()
	return start(t, plain(t), flags...)
}

// start starts a server of easyops.
func start(t *testing.T, path string, flags ...string) *target {
	t.Helper()
	x := launch(t, path, "easyops", "-easyops.addr=", flags...)
	t.Cleanup(func() { x.end(t) })
	x.await(t)
	return x
}

// startBare starts a server of grpc-go with default options.
func startBare(t *testing.T) *target {
	t.Helper()
	x := launch(t, plain(t), "grpc-go", "-bare=")
	t.Cleanup(func() { x.end(t) })
	x.await(t)
	return x
}

// startTLS starts a server of easyops that speaks TLS. Clients of it offer the
// protocols.
func startTLS(t *testing.T, path string, protocols ...string) *target {
	t.Helper()
	certs := serve.NewCerts(t)
	x := launch(t, path, "easyops TLS "+strings.Join(protocols, "+"), "-easyops.addr=", certs.Flags()...)
	t.Cleanup(func() { x.end(t) })
	x.tls = &tls.Config{RootCAs: certs.Pool, NextProtos: protocols}
	x.await(t)
	return x
}

// launch starts the program and does not wait for it. The flag where is the
// one for the address.
func launch(t *testing.T, path, name, where string, flags ...string) *target {
	t.Helper()
	x := &target{name: name, addr: serve.FreeAddr(t), figures: serve.FreeAddr(t), log: &lockedBuffer{}, exited: make(chan struct{})}
	x.cmd = exec.Command(path, append([]string{where + x.addr, "-figures=" + x.figures}, flags...)...)
	x.cmd.Env = serve.Environment()
	x.cmd.Stdout, x.cmd.Stderr = x.log, x.log
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(x.exited)
		_ = x.cmd.Wait() // the log says why
	}()
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill()
		<-x.exited
	})
	return x
}

// end fails the test if the process has ended by itself, or noticed a data race or
// a panic.
func (x *target) end(t *testing.T) {
	select {
	case <-x.exited:
		t.Errorf("%s: the process has ended:\n%s", x.name, x.log.tail())
	default:
	}
	if log := x.log.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "level=ERROR msg=panic") {
		t.Errorf("%s:\n%s", x.name, log)
	}
}

// await waits until the server answers a call.
func (x *target) await(t *testing.T) {
	t.Helper()
	c := x.client(t)
	defer c.close()
	err := x.listens()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = c.echo("hello"); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v\n%s", x.name, err, x.log.tail())
}

// listens waits until somebody listens: a client of gRPC that comes too early
// tries again a second later.
func (x *target) listens() (err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var c net.Conn
		if c, err = net.Dial("tcp", x.addr); err == nil {
			c.Close()
			return nil
		}
	}
	return err
}

// dial opens a raw connection.
func (x *target) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := x.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (x *target) connect() (net.Conn, error) {
	c, err := net.DialTimeout("tcp", x.addr, patience)
	if err == nil && x.tls != nil {
		cfg := x.tls.Clone()
		cfg.ServerName = "localhost"
		return tls.Client(c, cfg), nil
	}
	return c, err
}

// grpc opens a connection of grpc-go's client.
func (x *target) grpc(t *testing.T) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if x.tls != nil {
		creds = credentials.NewTLS(x.tls.Clone())
	}
	cc, err := grpc.NewClient("passthrough:///"+x.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	return cc
}

// reached is what reached the handlers.
type reached struct{ Now, Peak, Total, Pages, Goroutines int64 }

func (x *target) reached(t *testing.T) reached { t.Helper(); return x.ask(t, "/") }

// calm makes the process give memory back and forget its peaks.
func (x *target) calm(t *testing.T) {
	t.Helper()
	x.ask(t, "/calm")
	_ = os.WriteFile(x.proc("clear_refs"), []byte("5"), 0) // resets VmHWM
}

func (x *target) ask(t *testing.T, path string) (r reached) {
	t.Helper()
	resp, err := http.Get("http://" + x.figures + path)
	if err != nil {
		t.Fatalf("%s: %v\n%s", x.name, err, x.log.tail())
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (x *target) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(x.cmd.Process.Pid), file)
}

// memory returns the resident memory of the process and its peak, in bytes.
func (x *target) memory(t *testing.T) (now, peak int64) {
	t.Helper()
	b, err := os.ReadFile(x.proc("status"))
	if err != nil {
		t.Skipf("memory is read from /proc: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d", &kib); n == 1 {
			now = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d", &kib); n == 1 {
			peak = kib << 10
		}
	}
	return now, peak
}

// cpu returns the processor time that the process has used.
func (x *target) cpu(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile(x.proc("stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// lockedBuffer is a buffer that is read while a process writes to it.
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

func (b *lockedBuffer) tail() string {
	s := b.String()
	return s[max(0, len(s)-4000):]
}
