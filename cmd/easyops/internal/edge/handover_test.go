//go:build linux

package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// side is one of two edges, as far as the hand-over goes: it answers each connection
// with its name.
type side struct {
	name      string
	listeners []*listener
	answered  atomic.Int64
	accepting sync.WaitGroup
	left      chan int // the successor
}

func newSide(t *testing.T, name string, listeners ...*listener) *side {
	t.Helper()
	s := &side{name: name, listeners: listeners, left: make(chan int, 1)}
	for _, l := range listeners {
		s.accepting.Go(func() { s.accept(l) })
	}
	t.Cleanup(s.stop)
	return s
}

func (s *side) accept(l *listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.accepting.Go(func() {
			defer conn.Close()
			fmt.Fprintln(conn, s.name)
			s.answered.Add(1)
			closeWrite(conn)
			_, _ = io.Copy(io.Discard, conn)
		})
	}
}

func (s *side) stop() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.accepting.Wait()
}

func (s *side) successions() successions {
	return successions{
		hold: func() ([]*listener, func()) { return s.listeners, func() {} },
		pause: func() {
			for _, l := range s.listeners {
				l.Pause()
			}
		},
		leave: func(pid int) { s.left <- pid },
	}
}

func someListeners(t *testing.T, n int) (all []*listener) {
	t.Helper()
	for i := range n {
		l, err := listen(nil, fmt.Sprintf("role-%d", i), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		all = append(all, l)
	}
	return all
}

func socketIn(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "s")
}

func openDoorAt(t *testing.T, path string, s *side) *door {
	t.Helper()
	d, err := newDoor(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	if err := d.open(s.successions()); err != nil {
		t.Fatal(err)
	}
	return d
}

func askOnce(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(conn)
	if err == nil && len(answer) == 0 {
		err = errors.New("no answer")
	}
	return err
}

// TestHandover passes listeners on under load. No connection is refused, reset or left
// without an answer, while two sides have the same listener and when one of them stops.
func TestHandover(t *testing.T) {
	path := socketIn(t)
	first := newSide(t, "first", someListeners(t, 2)...)
	addr := first.listeners[0].Addr().String()
	openDoorAt(t, path, first)
	load := repeat(8, func() error { return askOnce(addr) })
	load.await(100)

	for round := range 5 {
		prior, err := enter(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		names := []string{"role-0 127.0.0.1:0", "role-1 127.0.0.1:0"}
		next := newSide(t, fmt.Sprint("next ", round), prior.take(names[0]), prior.take(names[1]))
		if l := prior.take(names[0]); l != nil {
			t.Error("a listener was taken twice")
		}
		load.await(50) // both answer
		if err := prior.serving(); err != nil {
			t.Fatal(err)
		}
		prior.close()
		if pid := <-first.left; processOfTests() != 0 && pid != processOfTests() {
			t.Errorf("the successor is process %d", pid)
		}
		before := first.answered.Load()
		first.stop()
		load.await(50)
		if after := first.answered.Load(); after > before+8 {
			t.Errorf("%d answers after it had left", after-before)
		}
		if next.answered.Load() == 0 {
			t.Error("the successor has answered nothing")
		}
		if got := next.listeners[0].Addr().String(); got != addr {
			t.Errorf("it listens on %s", got)
		}
		openDoorAt(t, path, next)
		first = next
	}
	if errs := load.end(); len(errs) > 0 {
		t.Errorf("%d of %d failed, such as %v", len(errs), int64(len(errs))+load.ok.Load(), errs[0])
	}
	t.Logf("%d connections", load.ok.Load())
}

// TestWithoutHandover is the control: one stops, and the next listens anew.
func TestWithoutHandover(t *testing.T) {
	first := newSide(t, "first", someListeners(t, 1)...)
	addr := first.listeners[0].Addr().String()
	load := repeat(8, func() error { return askOnce(addr) })
	for range 100 {
		load.await(20)
		first.stop()
		l, err := listen(nil, "role", addr)
		for isInUse(err) { // the kernel gave the port to one of the callers
			l, err = listen(nil, "role", addr)
		}
		if err != nil {
			t.Fatal(err)
		}
		first = newSide(t, "next", l)
		if len(load.failed()) > 0 {
			break
		}
	}
	if errs := load.end(); len(errs) == 0 {
		t.Error("nothing failed: this load would not notice that a connection is lost")
	}
}

// TestHandoverOfMany passes more descriptors than one message takes.
func TestHandoverOfMany(t *testing.T) {
	path := socketIn(t)
	first := newSide(t, "first", someListeners(t, 3*descriptorsAtOnce+1)...)
	openDoorAt(t, path, first)
	p, err := takeOver(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if len(p.listeners) != len(first.listeners) {
		t.Fatalf("%d of %d", len(p.listeners), len(first.listeners))
	}
	for n, l := range p.listeners {
		if was := first.listeners[n]; l.name != was.name || l.Addr().String() != was.Addr().String() {
			t.Errorf("%d is %q on %v, want %q on %v", n, l.name, l.Addr(), was.name, was.Addr())
		}
	}
	if none := (*prior)(nil); none.take("x") != nil {
		t.Error("nobody has a listener")
	}
}

// TestSuccessorFails: what does not come as far as serving changes nothing.
func TestSuccessorFails(t *testing.T) {
	path := socketIn(t)
	first := newSide(t, "first", someListeners(t, 1)...)
	openDoorAt(t, path, first)
	addr := first.listeners[0].Addr().String()
	for name, fail := range map[string]func(p *prior){
		"goes":             func(p *prior) { p.close() },
		"says a part":      func(p *prior) { _, _ = p.conn.Write([]byte("serv")); p.close() },
		"says the wrong":   func(p *prior) { _, _ = p.conn.Write([]byte("SERVING\n")); p.close() },
		"says nothing yet": func(*prior) {},
	} {
		p, err := takeOver(path)
		if err != nil {
			t.Fatal(name, err)
		}
		fail(p)
		if err := askOnce(addr); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		p.close()
	}
	p, err := takeOver(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.serving(); err != nil {
		t.Error(err)
	}
	<-first.left
}

// TestDoorCloses while a successor is about to take over: that has the listeners, and
// serves on them.
func TestDoorCloses(t *testing.T) {
	path := socketIn(t)
	first := newSide(t, "first", someListeners(t, 1)...)
	d := openDoorAt(t, path, first)
	p, err := takeOver(path)
	if err != nil {
		t.Fatal(err)
	}
	next := newSide(t, "next", p.take("role-0 127.0.0.1:0"))
	d.close()
	first.stop()
	if err := p.serving(); err == nil {
		t.Error("nobody is there who could have said paused")
	}
	p.close()
	if err := askOnce(next.listeners[0].Addr().String()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestNobodyThere: no socket, one that its process has left, and none wanted.
func TestNobodyThere(t *testing.T) {
	stale := socketIn(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{"", socketIn(t), stale} {
		if p, err := enter(path, slog.New(slog.DiscardHandler)); p != nil || err != nil {
			t.Errorf("%q: %v, %v", path, p, err)
		}
	}
	// A stale one is replaced.
	s := newSide(t, "s", someListeners(t, 1)...)
	openDoorAt(t, stale, s)
	if p, err := enter(stale, slog.New(slog.DiscardHandler)); p == nil || err != nil {
		t.Errorf("%v, %v", p, err)
	} else {
		p.close()
	}
	if info, err := os.Lstat(stale); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestDoorOfAnother: the socket of a successor is left alone.
func TestDoorOfAnother(t *testing.T) {
	path := socketIn(t)
	first := openDoorAt(t, path, newSide(t, "first", someListeners(t, 1)...))
	openDoorAt(t, path, newSide(t, "next", someListeners(t, 1)...))
	first.close()
	if p, err := takeOver(path); err != nil {
		t.Errorf("the socket of the other is gone: %v", err)
	} else {
		p.close()
	}
}

// TestOtherVersion and whoever else may be there.
func TestUnknownPrior(t *testing.T) {
	for says, want := range map[string]string{
		`{"version":2,"listeners":[]}` + "\n":                 "version 2",
		"hello\n":                                             "hand-over: ",
		strings.Repeat("x", longestEstate+1):                  "more than",
		`{"version":1,"pid":1,"listeners":["a 1"],"x":"y"}\n`: "broken off", // and no descriptor
	} {
		path := socketIn(t)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, says)
			conn.Close()
		}()
		if _, err := takeOver(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", says, err, want)
		}
		l.Close()
		<-done
	}
}

// FuzzEstate: whatever comes over the socket, it is an error or listeners.
func FuzzEstate(f *testing.F) {
	good, _ := json.Marshal(estate{Version: handoverVersion, PID: 1, Listeners: []string{}})
	f.Add(append(good, '\n'))
	f.Add([]byte("{\n"))
	f.Add([]byte(`{"version":1,"listeners":["a","b"]}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, theirs := socketPair(t)
		go func() {
			_, _ = theirs.Write(text)
			_ = theirs.Close()
		}()
		if e, files, err := readEstate(ours); err == nil && len(files) != len(e.Listeners) {
			t.Errorf("%d descriptors for %d listeners", len(files), len(e.Listeners))
		}
	})
}

// TestDirectory: others must not be able to put a socket there.
func TestDirectory(t *testing.T) {
	for mode, fine := range map[os.FileMode]bool{0o700: true, 0o755: canName, 0o770: false, 0o777: false} {
		path := socketIn(t)
		if err := os.Chmod(filepath.Dir(path), mode); err != nil {
			t.Fatal(err)
		}
		if err := checkDir(path); (err == nil) != fine {
			t.Errorf("mode %04o: %v", mode, err)
		}
		d, err := newDoor(path, slog.New(slog.DiscardHandler))
		if (err == nil) != fine {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if err == nil {
			d.close()
		}
	}
	for _, path := range []string{"/nowhere/s", os.Args[0] + "/s"} {
		if err := checkDir(path); err == nil || !strings.Contains(err.Error(), "--handover") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestWay: others must not be able to lead the way to the directory elsewhere.
func TestWay(t *testing.T) {
	for name, test := range map[string]struct {
		make func(t *testing.T, base string) (dir string)
		fine bool
	}{
		"a directory": {func(t *testing.T, base string) string { return dirIn(t, base, "d", 0o755) }, true},
		"below one that others can write to": {func(t *testing.T, base string) string {
			return dirIn(t, dirIn(t, base, "open", 0o777), "d", 0o700)
		}, false},
		"below one of a group's": {func(t *testing.T, base string) string {
			return dirIn(t, dirIn(t, base, "open", 0o770), "d", 0o700)
		}, false},
		"below one like /tmp": {func(t *testing.T, base string) string {
			return dirIn(t, dirIn(t, base, "tmp", 0o777|os.ModeSticky), "d", 0o700)
		}, true},
		"by a link of ours": {func(t *testing.T, base string) string {
			dirIn(t, base, "d", 0o700)
			return linkIn(t, dirIn(t, base, "tmp", 0o777|os.ModeSticky), "../d", os.Getuid())
		}, true},
		"by a link of ours into what is open": {func(t *testing.T, base string) string {
			return linkIn(t, base, dirIn(t, dirIn(t, base, "open", 0o777), "d", 0o700), os.Getuid())
		}, false},
		"by a link of another's": {func(t *testing.T, base string) string {
			return linkIn(t, dirIn(t, base, "tmp", 0o777|os.ModeSticky), dirIn(t, base, "d", 0o700), stranger)
		}, false},
		"by a link of ours by a link of another's": {func(t *testing.T, base string) string {
			theirs := linkIn(t, dirIn(t, base, "tmp", 0o777|os.ModeSticky), dirIn(t, base, "d", 0o700), stranger)
			return linkIn(t, base, theirs, os.Getuid())
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := test.make(t, filepath.Dir(socketIn(t)))
			if err := checkDir(filepath.Join(dir, "s")); (err == nil) != test.fine {
				t.Error(err)
			}
		})
	}
}

func dirIn(t *testing.T, parent, name string, mode os.FileMode) string {
	t.Helper()
	dir := filepath.Join(parent, name)
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func linkIn(t *testing.T, parent, to string, uid int) string {
	t.Helper()
	if uid != os.Getuid() && os.Getuid() != 0 {
		t.Skip("only root can make a link of another user's")
	}
	link := filepath.Join(parent, "link")
	if err := errors.Join(os.Symlink(to, link), os.Lchown(link, uid, -1)); err != nil {
		t.Fatal(err)
	}
	return link
}

func TestHandoverPath(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	for _, test := range []struct{ given, address, want string }{
		{NoHandover, ":8443", ""},
		{"", ":8443", dir + "/easyops/edge-:8443.handover"},
		{"", "[fe80::1%eth0]:8443", dir + "/easyops/edge-[fe80::1_eth0]:8443.handover"},
		{"", "127.0.0.1:0", ""},
		{"/run/edge/s", "127.0.0.1:0", "/run/edge/s"},
	} {
		if got, err := handoverPath(test.given, test.address); got != test.want || err != nil {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
	if info, err := os.Stat(dir + "/easyops"); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}
