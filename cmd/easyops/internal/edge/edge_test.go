package edge

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-easyops/easyops/runtime/easyops"
)

// TestTakeOver has edges of one process take over from each other, with files that
// differ.
func TestTakeOver(t *testing.T) {
	p := newPlace(t)
	p.serve("a", named("a"))
	p.serve("b", named("b"))
	stays, goes, comes := freeAddr(t), freeAddr(t), freeAddr(t)
	first := p.start(p.config("tcp:\n" + tcpRoute(stays, "a") + tcpRoute(goes, "a")))
	open := dial(t, first.TCPAddr(stays))
	say(t, open, "before")
	load := callLines(stays, 4)

	next := p.start(p.config("tcp:\n" + tcpRoute(stays, "b") + tcpRoute(comes, "a")))
	if next.Addr().String() != first.Addr().String() || next.AdminAddr().String() != first.AdminAddr().String() {
		t.Errorf("%v and %v, was %v and %v", next.Addr(), next.AdminAddr(), first.Addr(), first.AdminAddr())
	}
	for addr, want := range map[string]string{stays: "b", comes: "a"} {
		if got := say(t, dial(t, next.TCPAddr(addr)), "x"); got != want+" x" {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if got := say(t, open, "after"); got != "a after" {
		t.Errorf("the open connection: %s", got)
	}
	if err := first.Reload(); err == nil {
		t.Error("an edge that was replaced reads its file again")
	}
	open.Close()
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	if !refuses(goes) {
		t.Error("the port that no file has still accepts")
	}
	load.await(20)
	if errs := load.end(); len(errs) > 0 {
		t.Errorf("%d of %d failed, such as %v", len(errs), int64(len(errs))+load.ok.Load(), errs[0])
	}
	if !strings.Contains(p.log.text(), "handed over") {
		t.Error("the log does not say it")
	}
}

// TestSeveralStart: of edges that start at the same time each takes over from another,
// and one is left.
func TestSeveralStart(t *testing.T) {
	p := newPlace(t)
	p.serve("a", named("a"))
	addr := freeAddr(t)
	c := p.config("tcp:\n" + tcpRoute(addr, "a"))
	all := []*Edge{p.start(c)}
	load := callLines(addr, 2)
	var starts sync.WaitGroup
	var mu sync.Mutex
	for range 4 {
		starts.Go(func() {
			e, err := Start(c)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = e.Shutdown(context.Background()) })
			mu.Lock()
			defer mu.Unlock()
			all = append(all, e)
		})
	}
	starts.Wait()
	left := func() (n int) {
		for _, e := range all {
			select {
			case <-e.done:
			default:
				n++
			}
		}
		return n
	}
	await(t, "one edge", func() bool { return left() == 1 })
	load.await(20)
	if errs := load.end(); len(errs) > 0 {
		t.Errorf("%d of %d failed, such as %v", len(errs), int64(len(errs))+load.ok.Load(), errs[0])
	}
}

// TestCannotStart: what is wrong is said, nothing is left, and an edge that runs goes on.
func TestCannotStart(t *testing.T) {
	p := newPlace(t)
	taken := p.serve("a", named("a"))
	good := "tcp:\n" + tcpRoute(freeAddr(t), "a")
	running := p.start(p.config(good))
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"file":      {p.config(good + "htp: []\n"), []string{"htp"}},
		"registry":  {p.config(good, "-easyops.registry=none"), []string{"-easyops.registry"}},
		"authority": {p.config(good, "-easyops.tls-ca=none.pem"), []string{"-easyops.tls-ca", "none.pem"}},
		"server":    {p.config(good, "-easyops.drain-delay=x"), []string{"-easyops.drain-delay"}},
		"port":      {p.config("tcp:\n" + tcpRoute(taken, "a")), []string{taken, "something listens there already", "routes.yaml:"}},
		"several":   {p.config(good, "-easyops.registry=none", "-easyops.tls-ca=none.pem"), []string{"-easyops.registry", "none.pem"}},
		"socket":    {withHandover(p.config(good), "/nowhere/socket"), []string{"/nowhere", "--handover"}},
	} {
		p.write("routes.yaml", "") // each has its own
		test.config.File = p.write(name+".yaml", map[string]string{
			"file": "listen: 127.0.0.1:0\n" + good + "htp: []\n",
			"port": "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntcp:\n" + tcpRoute(taken, "a"),
		}[name])
		if name != "file" && name != "port" {
			test.config.File = p.write(name+".yaml", "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"+good)
		}
		e, err := Start(test.config)
		if err == nil {
			t.Errorf("%s: it starts", name)
			_ = e.Shutdown(t.Context())
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(strings.ReplaceAll(err.Error(), name+".yaml", "routes.yaml"), part) {
				t.Errorf("%s: %v, want %q", name, err, part)
			}
		}
	}
	p.config(good)
	if got := say(t, dial(t, running.ports.open[0].listener.Addr()), "x"); got != "a x" {
		t.Error(got)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "*handover*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func withHandover(c Config, path string) Config {
	c.Handover = path
	return c
}

// TestWithoutSocket is what any server does where another one listens.
func TestWithoutSocket(t *testing.T) {
	p := newPlace(t)
	addr := freeAddr(t)
	c := withHandover(p.config("tcp:\n"+tcpRoute(freeAddr(t), "a"), "-easyops.addr="+addr), NoHandover)
	e := p.start(c)
	if e.Addr().String() != addr {
		t.Errorf("it listens on %v, and the flag says %s", e.Addr(), addr)
	}
	if _, err := Start(c); !isInUse(err) {
		t.Errorf("a second one: %v", err)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "handover")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a socket: %v", err)
	}
}

// TestPortFails: an edge of which a part ends stops, and says that it did not end in
// order, so that something starts it anew.
func TestPortFails(t *testing.T) {
	p := newPlace(t)
	addr := freeAddr(t)
	e := p.start(p.config("tcp:\n" + tcpRoute(addr, "a")))
	_ = e.ports.open[0].listener.TCPListener.Close() // as if the kernel had
	if err := e.Wait(); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("%v does not name %s", err, addr)
	}
}

// TestNobodyToServices: connections to services have no setting that says who the edge
// is, wherever it was set.
func TestNobodyToServices(t *testing.T) {
	t.Setenv("EASYOPS_SERVICE_TOKEN", "/token")
	t.Setenv("EASYOPS_TLS_CERT", "/cert")
	fs := flag.NewFlagSet("edge", flag.ContinueOnError)
	easyops.RegisterFlags(fs)
	if err := fs.Parse([]string{"-easyops.tls-key=/key", "-easyops.registry=local:" + t.TempDir(), "-easyops.tags=a=b, zone=z1"}); err != nil {
		t.Fatal(err)
	}
	s := settings{fs}
	option, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := easyops.Dial("a.B", option) // a file that is not there would be an error
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := s.zone(); got != "z1" {
		t.Errorf("zone %q", got)
	}
	if got := (settings{}).get("tls-cert"); got != "" {
		t.Errorf("%q without flags and environment", got)
	}
	if got := s.get("service-token"); got != "/token" {
		t.Errorf("%q of the environment", got)
	}
}

// TestListenerPause: nothing is returned once it is paused, and Close ends that.
func TestListenerPause(t *testing.T) {
	l, err := listen(nil, "role", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.again()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	accepted := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			conn.Close()
			err = fmt.Errorf("a connection of %v", conn.RemoteAddr())
		}
		accepted <- err
	}()
	l.Pause()
	c, err := net.Dial("tcp", second.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if conn, err := second.Accept(); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("twice: %v", err)
	}
}
