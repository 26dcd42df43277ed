package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestLife(t *testing.T) {
	r := newRegistry(t)
	before := startWatch(t, r, "echo")
	before.waitFor("[]")

	a := register(t, r, entries("a", registry.Ready, "echo", "other"))
	before.waitFor("[a=READY]")
	b := register(t, r, entries("b", registry.Starting, "echo"))
	before.waitFor("[a=READY b=STARTING]")

	after := startWatch(t, r, "echo")
	after.waitFor("[a=READY b=STARTING]")
	if got := after.history(); got != "[a=READY b=STARTING]" {
		t.Errorf("the first answer was not whole: %s", got)
	}
	if err := a.Update(t.Context(), entries("a", registry.Stopping, "echo")); err != nil {
		t.Fatal(err)
	}
	before.waitFor("[a=STOPPING b=STARTING]")
	startWatch(t, r, "other").waitFor("[]")

	a.Close(t.Context())
	before.waitFor("[b=STARTING]")
	b.Close(t.Context())
	before.waitFor("[]")
	after.waitFor("[]")
	wantFiles(t, r.publish)
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("files %v, want %v", names, want)
	}
}

// A server that was registered before a watch began is in its first answer,
// also where the directory is watched already.
func TestReadYourWrites(t *testing.T) {
	r := newRegistry(t)
	startWatch(t, r, "echo").waitFor("[]")
	for n := range 50 {
		id := fmt.Sprintf("i%d", n)
		l := register(t, r, entries(id, registry.Ready, id))
		w := startWatch(t, r, id)
		w.waitFor("[" + id + "=READY]")
		if got := w.history(); got != "["+id+"=READY]" {
			t.Fatalf("round %d: %s", n, got)
		}
		l.Close(t.Context())
	}
}

func TestManyAtOnce(t *testing.T) {
	const many = 100
	r := newRegistry(t)
	w := startWatch(t, r, "echo")
	w.waitFor("[]")
	leases := make([]registry.Lease, many)
	var wg sync.WaitGroup
	for n := range leases {
		wg.Go(func() {
			leases[n], _ = r.Register(t.Context(), entries(fmt.Sprintf("i%d", n), registry.Ready, "echo"))
		})
	}
	wg.Wait()
	w.wait("all instances", func(last string) bool { return strings.Count(last, "READY") == many })
	late := startWatch(t, openRegistry(t, r.publish), "echo")
	late.wait("all instances", func(last string) bool { return strings.Count(last, "READY") == many })
	for _, l := range leases {
		wg.Go(func() { l.Close(t.Context()) })
	}
	wg.Wait()
	w.waitFor("[]")
	late.waitFor("[]")
	wantFiles(t, r.publish)
}

func TestRegisterRefuses(t *testing.T) {
	r := newRegistry(t)
	var many []registry.Instance
	for n := range 60 {
		i := entries("a", registry.Ready, fmt.Sprint("s", n))[0]
		i.Tags = map[string]string{}
		for k := range 8 {
			i.Tags[fmt.Sprint("k", k)] = strings.Repeat("v", 200)
		}
		many = append(many, i)
	}
	for name, list := range map[string][]registry.Instance{
		"none":     nil,
		"invalid":  entries("../a", registry.Ready, "echo"),
		"two IDs":  append(entries("a", registry.Ready, "x"), entries("b", registry.Ready, "y")...),
		"too many": many,
	} {
		if l, err := r.Register(t.Context(), list); err == nil {
			l.Close(t.Context())
			t.Errorf("%s: no error", name)
		}
	}
	l := register(t, r, entries("a", registry.Ready, "echo"))
	if err := l.Update(t.Context(), entries("b", registry.Ready, "echo")); err == nil {
		t.Error("another ID was taken")
	}
	l.Close(t.Context())
	if err := l.Update(t.Context(), entries("a", registry.Ready, "echo")); err == nil {
		t.Error("a closed lease was updated")
	}
	l.Close(t.Context())
}

func TestKilledProcess(t *testing.T) {
	r := newRegistry(t)
	w := startWatch(t, r, "echo")
	one, two := startChild(t, r.publish), startChild(t, r.publish)
	w.wait("two instances", func(last string) bool { return strings.Count(last, "READY") == 2 })

	start := time.Now()
	signal(t, one, syscall.SIGKILL)
	w.wait("one instance", func(last string) bool { return strings.Count(last, "READY") == 1 })
	t.Logf("seen %v after kill -9", time.Since(start))

	signal(t, two, syscall.SIGKILL)
	w.waitFor("[]")
	wantFiles(t, r.publish)
}

// A process that was killed while nobody watched left its socket behind.
func TestStaleSocket(t *testing.T) {
	r := newRegistry(t)
	cmd := startChild(t, r.publish)
	signal(t, cmd, syscall.SIGKILL)
	_ = cmd.Wait()
	for _, name := range []string{".x" + tempSuffix, ".young" + tempSuffix} {
		l, err := listen(r.publish, name)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	mine := filepath.Join(r.publish, ".mine"+tempSuffix)
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(r.publish, ".x"+tempSuffix), mine} {
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	w := startWatch(t, r, "echo")
	w.waitFor("[]")
	if got := w.history(); got != "[]" {
		t.Errorf("the watch said %s", got)
	}
	wantFiles(t, r.publish, ".mine"+tempSuffix, ".young"+tempSuffix)
}

// A process that does not run holds nobody up, and keeps its place where it
// is known.
func TestStoppedProcess(t *testing.T) {
	r := newRegistry(t)
	w := startWatch(t, r, "echo")
	cmd := startChild(t, r.publish)
	known := w.wait("one instance", func(last string) bool { return strings.Contains(last, "READY") })
	signal(t, cmd, syscall.SIGSTOP)

	l := register(t, r, entries("zz", registry.Ready, "echo"))
	w.waitFor(strings.TrimSuffix(known, "]") + " zz=READY]")
	l.Close(t.Context())
	w.waitFor(known)
	signal(t, cmd, syscall.SIGCONT)
}

func TestSilentProcess(t *testing.T) {
	r := newRegistry(t)
	register(t, r, entries("a", registry.Ready, "echo"))
	silent, err := net.Listen("unix", filepath.Join(r.publish, "silent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	start := time.Now()
	w := startWatch(t, r, "echo")
	w.waitFor("[a=READY]")
	if d := time.Since(start); d < settleTime || d > 10*settleTime {
		t.Errorf("the first answer took %v, want about %v", d, settleTime)
	}
}

// speak serves lines on a socket of the directory.
func speak(t *testing.T, dir, id, lines string) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, id+suffix))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, lines)
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

func TestMalformed(t *testing.T) {
	line := func(list ...registry.Instance) string {
		b, err := encode(list)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good := line(entries("x", registry.Ready, "echo")...)
	for name, tt := range map[string]struct{ lines, want string }{
		"garbage, then good":  {"{\n\x00\n[]\n\n" + good, "[x=READY]"},
		"good, then garbage":  {good + "garbage\n", "[x=READY]"},
		"other version":       {`{"v":2,"instances":[]}` + "\n", "[]"},
		"ID of another":       {line(entries("a", registry.Ready, "echo")...), "[]"},
		"one bad among good":  {line(append(entries("x", "FINE", "bad"), entries("x", registry.Ready, "echo")...)...), "[x=READY]"},
		"twice the same":      {line(append(entries("x", registry.Ready, "echo"), entries("x", registry.Stopping, "echo")...)...), "[x=READY]"},
		"endless":             {strings.Repeat("x", 2*maxLine), "[]"},
		"entry of 5 KiB":      {`{"v":1,"instances":[{"id":"` + strings.Repeat("x", 5<<10) + `"}]}` + "\n", "[]"},
		"no end of the line":  {strings.TrimSuffix(good, "\n"), "[]"},
		"entries of no shape": {`{"v":1,"instances":[1,"x",null,{}]}` + "\n", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			r := newRegistry(t)
			r.logger = slog.New(slog.NewTextHandler(&log, nil))
			if err := ensureDir(r.publish); err != nil {
				t.Fatal(err)
			}
			speak(t, r.publish, "x", tt.lines)
			ctx, cancel := context.WithCancel(t.Context())
			w := &watched{t: t, news: make(chan struct{}, 1)}
			done := make(chan struct{})
			go func() { defer close(done); r.Watch(ctx, "echo", w.update) }()
			w.waitFor(tt.want)
			cancel()
			<-done
			if n := strings.Count(log.String(), "\n"); n > 1 {
				t.Errorf("%d lines of log, want one at most:\n%s", n, &log)
			}
		})
	}
}

// A reader that does not read is dropped, and does not hold up the server.
func TestReaderThatDoesNotRead(t *testing.T) {
	r := newRegistry(t)
	l := register(t, r, entries("a", registry.Ready, "echo"))
	conn, err := dial(t.Context(), r.publish, "a"+suffix)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := startWatch(t, r, "echo")
	w.waitFor("[a=READY]")

	list := entries("a", registry.Ready, "echo")
	for n := range 2000 {
		list[0].Version = strings.Repeat(fmt.Sprint(n%10), 200)
		if err := l.Update(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Update(t.Context(), entries("a", registry.Stopping, "echo")); err != nil {
		t.Fatal(err)
	}
	w.waitFor("[a=STOPPING]")
	b, err := io.ReadAll(conn)
	if strings.Contains(string(b), "STOPPING") {
		t.Errorf("the reader was not dropped (%d bytes, %v)", len(b), err)
	}
}

func TestLeaseLost(t *testing.T) {
	for name, remove := range map[string]func(r *Registry) error{
		"file":      func(r *Registry) error { return os.Remove(filepath.Join(r.publish, "a"+suffix)) },
		"directory": func(r *Registry) error { return os.RemoveAll(r.publish) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			p := registry.NewPublisher(r, quiet())
			defer p.Close(context.Background())
			p.Set(entries("a", registry.Ready, "echo"))
			w := startWatch(t, r, "echo")
			w.waitFor("[a=READY]")
			old, err := os.Lstat(filepath.Join(r.publish, "a"+suffix))
			if err != nil {
				t.Fatal(err)
			}
			if err := remove(r); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				info, err := os.Lstat(filepath.Join(r.publish, "a"+suffix))
				if err == nil && (!os.SameFile(info, old) || info.ModTime() != old.ModTime()) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("it was not registered again")
				}
			}
			startWatch(t, r, "echo").waitFor("[a=READY]")
			w.waitFor("[a=READY]")
			register(t, r, entries("b", registry.Ready, "echo"))
			w.waitFor("[a=READY b=READY]")
		})
	}
}

// All watches of a process share one watcher and one connection to a server.
func TestShared(t *testing.T) {
	r := newRegistry(t)
	l := register(t, r, entries("a", registry.Ready, "echo")).(*lease)
	for range 20 {
		startWatch(t, openRegistry(t, r.publish), "echo").waitFor("[a=READY]")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.readers) != 1 {
		t.Errorf("%d connections, want 1", len(l.readers))
	}
}

func TestLongPath(t *testing.T) {
	r := openRegistry(t, filepath.Join(t.TempDir(), strings.Repeat("d", 100), strings.Repeat("e", 100)))
	w := startWatch(t, r, "echo")
	register(t, r, entries("a", registry.Ready, "echo"))
	w.waitFor("[a=READY]")
}

func TestWatchEnds(t *testing.T) {
	r := newRegistry(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Watch(ctx, "echo", func(list []registry.Instance, err error) { t.Errorf("called with %v, %v", list, err) })
	if _, err := r.Register(ctx, entries("a", registry.Ready, "echo")); err == nil {
		t.Error("registered after the end of the context")
	}
}

func FuzzDecode(f *testing.F) {
	good, err := encode(entries("a", registry.Ready, "echo", "other"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"v":1,"instances":[{},null,1]}`))
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		list, _ := decode(line, "a")
		if len(list) == 0 {
			return
		}
		if err := registry.ValidateAll(list); err != nil {
			t.Fatalf("decoded what is invalid: %v", err)
		}
		again, err := encode(list)
		if err != nil {
			return // longer than it was: escapes
		}
		if _, err := decode(again, "a"); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

func TestLastAnswer(t *testing.T) {
	dir := t.TempDir() + "/reg"
	r := openRegistry(t, dir)
	if at := r.LastAnswer(); !at.IsZero() {
		t.Errorf("an answer at %v of a directory that is not there", at)
	}
	register(t, r, entries("a", registry.Ready, "echo"))
	before := time.Now()
	first := r.LastAnswer()
	if first.Before(before) {
		t.Errorf("last answer %v, before %v", first, before)
	}
	if err := os.Rename(dir, dir+"x"); err != nil {
		t.Fatal(err)
	}
	if at := r.LastAnswer(); !at.Equal(first) {
		t.Errorf("last answer %v of a directory that is gone, want %v", at, first)
	}
}
