package edge

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// place is where edges of a test run: a registry and a directory for files.
type place struct {
	t        testing.TB
	dir      string
	registry string // URL
	log      logbook
}

func newPlace(t testing.TB) *place {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, dir: dir, registry: "local:" + filepath.Join(dir, "registry")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.log.text())
		}
	})
	return p
}

// write writes a file of the place, as a whole, and returns its path.
func (p *place) write(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// config is that of an edge with the routes of a text.
func (p *place) config(text string, flags ...string) Config {
	p.t.Helper()
	fs := flag.NewFlagSet("edge", flag.ContinueOnError)
	easyops.RegisterFlags(fs)
	if err := fs.Parse(append([]string{"-easyops.registry=" + p.registry}, flags...)); err != nil {
		p.t.Fatal(err)
	}
	return Config{
		File:     p.write("routes.yaml", "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"+text),
		Handover: filepath.Join(p.dir, "handover"),
		Flags:    fs,
		Logger:   slog.New(slog.NewTextHandler(&p.log, nil)),
	}
}

func (p *place) reload(e *Edge, text string) error {
	p.t.Helper()
	p.write("routes.yaml", "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"+text)
	return e.Reload()
}

// start starts an edge, which is stopped with the test.
func (p *place) start(c Config) *Edge {
	p.t.Helper()
	e, err := Start(c)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = e.Shutdown(ctx) // it is looked at where it matters
	})
	return e
}

// serve lists a TCP service, whose connections f has.
func (p *place) serve(service string, f func(*net.TCPConn)) (addr string) {
	p.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				f(conn.(*net.TCPConn))
			})
		}
	})
	p.list(service, registry.KindTCP, l.Addr().String())
	p.t.Cleanup(func() { // before that of the registry: nobody comes any more
		l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

func (p *place) list(service string, kind registry.Kind, addr string) {
	p.t.Helper()
	r, err := registry.Open(p.registry, slog.New(slog.DiscardHandler))
	if err != nil {
		p.t.Fatal(err)
	}
	lease, err := r.Register(p.t.Context(), []registry.Instance{{
		ID: registry.NewID(), Service: service, Addr: addr, Kinds: []registry.Kind{kind},
		Health: registry.Ready, Started: time.Now(),
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = lease.Close(context.Background())
		_ = r.Close()
	})
}

// logbook keeps what is logged.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logbook) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// await waits for a condition.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come: " + what)
		}
	}
}

func dial(t testing.TB, addr net.Addr) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn.(*net.TCPConn)
}

// named answers each line with the name of the instance before it.
func named(name string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		buf := make([]byte, 1000)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%s %s", name, buf[:n])
		}
	}
}

// say sends a line and returns the answer.
func say(t *testing.T, c net.Conn, line string) string {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(buf[:n]))
}

// callers do something again and again.
type callers struct {
	ok   atomic.Int64
	mu   sync.Mutex
	errs []error
	stop context.CancelFunc
	all  sync.WaitGroup
}

// repeat has n of them.
func repeat(n int, do func() error) *callers {
	ctx, stop := context.WithCancel(context.Background())
	c := &callers{stop: stop}
	for range n {
		c.all.Go(func() {
			for ctx.Err() == nil {
				c.note(do())
			}
		})
	}
	return c
}

func (c *callers) note(err error) {
	if err == nil {
		c.ok.Add(1)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

// end stops them and returns what went wrong.
func (c *callers) end() []error {
	c.stop()
	c.all.Wait()
	return c.errs
}

// await waits until n more have succeeded, or one has not.
func (c *callers) await(n int64) {
	for want := c.ok.Load() + n; c.ok.Load() < want && len(c.failed()) == 0; {
		time.Sleep(time.Millisecond)
	}
}

func (c *callers) failed() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.errs)
}
