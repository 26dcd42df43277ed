package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// typed is a terminal at which a person has typed something.
type typed struct{ io.Reader }

func (*typed) Stat() (fs.FileInfo, error) {
	return fs.Stat(fstest.MapFS{"tty": {Mode: fs.ModeDevice | fs.ModeCharDevice}}, "tty")
}

// callTyping runs a command line at a terminal.
func callTyping(answer string, args ...string) (code int, stdout, stderr string) {
	var out, err strings.Builder
	code = run(args, &typed{strings.NewReader(answer)}, &out, &err)
	return code, out.String(), err.String()
}

// newestTwo are two instances of echo in the order of their IDs.
func (f *fleet) newestTwo() []registry.Instance {
	f.t.Helper()
	all := f.waitFor(echoService, func(list []registry.Instance) bool { return len(list) == 2 })
	slices.SortFunc(all, func(a, b registry.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// addFake lists a server that answers what it is told to, and as the version page
// its ID.
func (f *fleet) addFake(id string, answer http.HandlerFunc) registry.Instance {
	f.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == versionPage {
			_, _ = io.WriteString(w, `{"instance":"`+id+`"}`)
			return
		}
		answer(w, r)
	}))
	f.t.Cleanup(s.Close)
	i := entry(id, echoService)
	i.Addr = s.Listener.Addr().String()
	f.list(i)
	return i
}

// The new commands want somebody to be named, and take a service by a flag as well
// as in the place of an argument.
func TestWhoIsMeant(t *testing.T) {
	f := newFleet(t)
	for _, command := range []string{"flags", "flags get", "cache", "cache clear", "callers", "conns", "shutdown", "open"} {
		args := strings.Fields(command)
		if code, _, stderr := call(args...); code != 2 || !strings.Contains(stderr, command+": name a service or an instance, as in: easyops "+command) {
			t.Errorf("%s: code %d, %s", command, code, stderr)
		}
		if command == "flags get" {
			args = append(args, "--service", echoService, "x")
		} else {
			args = append(args, "--service", echoService)
		}
		if code, _, stderr := call(args...); code != 1 || !strings.Contains(stderr, "no instance of "+echoService+" is listed") {
			t.Errorf("%s: code %d, %s", command, code, stderr)
		}
	}
	a := f.add()
	if text := mustCall(t, "status", "--service", echoService); !strings.Contains(text, a.ID) {
		t.Error(text)
	}
}

func TestConsent(t *testing.T) {
	for answer, want := range map[string]string{"y\n": "", "Yes\n": "", "y": "", "\n": "nothing was changed", "n\n": "nothing was changed", "": "add --yes", "yess\n": "nothing was changed"} {
		c := rootCommand(&typed{strings.NewReader(answer)}, io.Discard, io.Discard)
		err := (&consent{}).ask(c, "do it")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", answer, err)
		}
	}
	c := rootCommand(strings.NewReader("y\n"), io.Discard, io.Discard)
	if err := (&consent{}).possible(c, "do it"); err == nil || !strings.Contains(err.Error(), "add --yes") {
		t.Errorf("%v", err)
	}
	if err := (&consent{yes: true}).possible(c, "do it"); err != nil {
		t.Error(err)
	}
}

// Another server at an address that the registry has for one that is gone is not
// changed in its place.
func TestAnotherServerIsNotChanged(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	old := entry("gone", echoService)
	old.Addr = a.Addr
	f.list(old)
	for _, args := range [][]string{{"shutdown"}, {"cache", "clear"}, {"flags", "set", "x=1"}} {
		code, _, stderr := call(append(args, "--yes", "gone")...)
		if code != 1 || !strings.Contains(stderr, "is instance "+a.ID+" now, and not gone") {
			t.Errorf("%v: code %d, %s", args, code, stderr)
		}
	}
}

func TestUnreached(t *testing.T) {
	newFleet(t)
	_, _, stderr := call("shutdown", unused(t))
	if !strings.Contains(stderr, "connection refused") || strings.Contains(stderr, "not known") {
		t.Error(stderr)
	}
	if err := doubtful(io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "whether it was done is not known") {
		t.Error(err)
	}
	if err := doubtful(refusedError{403, "no"}); err.Error() != "no" {
		t.Error(err)
	}
}

// The reason stands in the log of the server, whatever it is.
func TestReason(t *testing.T) {
	f := newFleet(t)
	var log lockedBuffer
	a := f.add(easyops.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	for n, args := range [][]string{{"drain"}, {"undrain"}, {"flags", "set", level + "=info"}, {"cache", "clear", "--yes"}, {"shutdown", "--wait"}} {
		reason := "50% of & more " + strconv.Itoa(n)
		mustCall(t, append(args, a.Addr, "--reason", reason)...)
		if !strings.Contains(log.String(), "reason="+strconv.Quote(reason)) {
			t.Errorf("%v: %s", args, log.String())
		}
	}
}

// lockedBuffer is a buffer that is read while it is written to.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
