package edge

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freeAddr is an address on which nothing listens, that routes of a test can name.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func tcpRoute(listen, service string) string {
	return fmt.Sprintf("  - {listen: %q, service: %s, connect_timeout: 500ms}\n", listen, service)
}

func refuses(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// TestReloadPorts: what a file changes of ports is changed, and no connection ends by it.
func TestReloadPorts(t *testing.T) {
	p := newPlace(t)
	p.serve("a", named("a"))
	p.serve("b", named("b"))
	same, other, gone, fresh := freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	e := p.start(p.config("tcp:\n" + tcpRoute(same, "a") + tcpRoute(other, "a") + tcpRoute(gone, "a")))
	dialAt := func(addr string) *net.TCPConn { return dial(t, e.TCPAddr(addr)) }
	open := map[string]*net.TCPConn{same: dialAt(same), other: dialAt(other), gone: dialAt(gone)}
	for addr, c := range open {
		if got := say(t, c, "before"); got != "a before" {
			t.Errorf("%s: %s", addr, got)
		}
	}
	load := []*callers{}
	for _, addr := range []string{same, other} {
		load = append(load, callLines(addr, 4))
	}
	kept := e.ports.open[0].listener

	// In another order.
	if err := p.reload(e, "tcp:\n"+tcpRoute(fresh, "b")+tcpRoute(other, "b")+tcpRoute(same, "a")); err != nil {
		t.Fatal(err)
	}
	for addr, c := range open {
		if got := say(t, c, "after"); got != "a after" {
			t.Errorf("the open connection to %s: %s", addr, got)
		}
	}
	for addr, want := range map[string]string{same: "a", other: "b", fresh: "b"} {
		if got := say(t, dialAt(addr), "new"); got != want+" new" {
			t.Errorf("a new connection to %s: %s, want %s", addr, got, want)
		}
	}
	await(t, "a port that refuses", func() bool { return refuses(gone) })
	if e.ports.open[2].listener != kept {
		t.Error("the port that did not change has another listener")
	}
	for _, l := range load {
		l.await(20)
		if errs := l.end(); len(errs) > 0 {
			t.Errorf("%d of %d failed, such as %v", len(errs), int64(len(errs))+l.ok.Load(), errs[0])
		}
	}
	if n := len(e.ports.status()); n != 5 { // three, and two former ones with a connection
		t.Errorf("%d ports", n)
	}
	open[gone].Close()
	await(t, "the end of a former port", func() bool { return len(e.ports.status()) == 4 })
}

// callLines connects again and again, and wants an answer to a line each time.
func callLines(addr string, n int) *callers {
	return repeat(n, func() error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintln(c, "hello"); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 100))
		return err
	})
}

// TestBrokenFile: what is not in order leaves everything as it was, and says why.
func TestBrokenFile(t *testing.T) {
	p := newPlace(t)
	p.serve("a", named("a"))
	addr, taken := freeAddr(t), p.serve("b", named("b"))
	good := "tcp:\n" + tcpRoute(addr, "a")
	e := p.start(p.config(good))
	c := dial(t, e.TCPAddr(addr))
	for name, test := range map[string]struct{ text, want string }{
		"not YAML":       {"tcp: [", "routes.yaml:"},
		"unknown key":    {good + "htp: []\n", "htp"},
		"port in use":    {good + tcpRoute(freeAddr(t), "a") + tcpRoute(taken, "a"), "something listens there already"},
		"listen":         {good + "listen: 127.0.0.1:1\n", "listen"},
		"no certificate": {good + "http: [{service: page}]\ntls: [{cert: none.pem, key: none.key}]\n", "start the edge anew"},
	} {
		if name == "listen" {
			p.write("routes.yaml", "listen: 127.0.0.1:1\nadmin: 127.0.0.1:0\n"+good)
			if err := e.Reload(); err == nil || !strings.Contains(err.Error(), "start the edge anew") {
				t.Errorf("%s: %v", name, err)
			}
		} else if err := p.reload(e, test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if s := e.State(); s.Err == nil || s.ErrAt.IsZero() {
			t.Errorf("%s: %+v", name, s)
		}
		for _, c := range []net.Conn{c, dial(t, e.TCPAddr(addr))} {
			if got := say(t, c, "hello"); got != "a hello" {
				t.Errorf("%s: %s", name, got)
			}
		}
		if n := len(e.ports.status()); n != 1 {
			t.Errorf("%s: %d ports", name, n)
		}
	}
	if err := p.reload(e, good); err != nil || e.State().Err != nil {
		t.Errorf("%v, %+v", err, e.State())
	}
}

// TestFollowed: a file that changes is read by itself, once it is whole.
func TestFollowed(t *testing.T) {
	p := newPlace(t)
	p.serve("a", named("a"))
	p.serve("b", named("b"))
	addr := freeAddr(t)
	e := p.start(p.config("tcp:\n" + tcpRoute(addr, "a")))
	p.write("routes.yaml", "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntcp:\n"+tcpRoute(addr, "b"))
	await(t, "the new route", func() bool {
		c := dial(t, e.TCPAddr(addr))
		defer c.Close() // one client may not have many
		return say(t, c, "x") == "b x"
	})
	p.write("routes.yaml", "tcp: [")
	await(t, "a fault", func() bool { return e.State().Err != nil })
	if n := strings.Count(p.log.text(), "routes file not in order"); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// TestTooLong: no more is read of a file than a routes file can be.
func TestTooLong(t *testing.T) {
	p := newPlace(t)
	e := p.start(p.config("http: [{service: a}]\n"))
	if err := os.Truncate(filepath.Join(p.dir, "routes.yaml"), 1<<26); err != nil { // none of it is on the disk
		t.Skip(err)
	}
	await(t, "a fault", func() bool { return e.State().Err != nil })
	for _, err := range []error{e.State().Err, e.Reload()} {
		if err == nil || !strings.Contains(err.Error(), "too long") {
			t.Error(err)
		}
	}
}

// TestFollower: what is new has been seen twice, and what is gone is said once.
func TestFollower(t *testing.T) {
	path := t.TempDir() + "/f"
	w := follower{path: path, seen: []byte("one")}
	var fault error
	look := func() string {
		text, changed, err := w.changed()
		if fault = err; !changed {
			return ""
		}
		w.tried(text)
		return string(text)
	}
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n, step := range []struct {
		text, want string
		fault      bool
	}{
		{"one", "", false},
		{"", "", false}, // it is being written
		{"tw", "", false},
		{"two", "", false},
		{"two", "two", false},
		{"two", "", false},
		{"three", "", false},
		{"two", "", false}, // taken back
		{"three", "", false},
		{"three", "three", false},
		{"-", "", true},
		{"-", "", false}, // said
		{"three", "three", false},
		{"-", "", true},
		{"four", "", false},
		{"four", "four", false},
	} {
		if step.text == "-" {
			_ = os.Remove(path)
		} else {
			put(step.text)
		}
		if got := look(); got != step.want || (fault != nil) != step.fault {
			t.Errorf("step %d, %q: %q, %v", n, step.text, got, fault)
		}
	}
}
