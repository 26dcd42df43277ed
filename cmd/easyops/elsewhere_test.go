package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/registry"
)

// What a server does that lists itself elsewhere is not said to be checked, and
// not waited for.
func TestDrainInAnotherRegistry(t *testing.T) {
	f := newFleet(t)
	here := "local registry in " + f.url[len("local:"):]
	other := &fleet{t: t, url: "local:" + filepath.Join(f.url[len("local:"):], "other")}
	a := other.add()
	where := "local registry in " + other.url[len("local:"):]
	says := "easyops: " + a.ID + " at " + a.Addr + " did what it was asked, but it lists itself in the " + where + " and --registry is the " + here + ", so it was not checked: it says that it is "
	back := "to put it back: easyops undrain --registry URL " + a.Addr + ", with the URL of the registry it lists itself in\n"
	begun := time.Now()
	expect(t, 1, says+"not listed there any more; "+back, "drain", a.Addr)
	expect(t, 1, says+"listed there again\n", "undrain", a.Addr)
	if d := time.Since(begun); d > 8*time.Second { // --timeout is 10 s
		t.Errorf("it took %v", d)
	}
	// The control.
	expect(t, 0, a.ID+" at "+a.Addr+" is out of the "+where+" and goes on serving\nto put it back, with the same flags: easyops undrain --registry "+other.url+" "+a.Addr+"\n", "drain", "--registry", other.url, a.Addr)
	expect(t, 0, a.ID+" at "+a.Addr+" is in the "+where+" again\n", "undrain", "--registry", other.url, a.Addr)
}

// A registry that lists the instance can tell, whatever the server calls it.
func TestDrainByAnotherNameOfTheRegistry(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	dir, name := filepath.Split(f.url[len("local:"):])
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	link = filepath.Join(link, name)
	for _, arg := range []string{a.ID, a.Addr} {
		expect(t, 0, a.ID+" at "+a.Addr+" is out of the local registry in "+link+" and goes on serving\nto put it back, with the same flags: easyops undrain --registry local:"+link+" "+a.Addr+"\n", "drain", "--registry", "local:"+link, arg)
		mustCall(t, "undrain", a.Addr)
	}
}

// paused is a registry that answers nothing to those who leave it, until it is
// not stuck any more. Nobody finds anything in it.
type paused struct {
	given
	name  string
	stuck atomic.Bool
}

func (p *paused) String() string { return p.name }

func (p *paused) Register(context.Context, []registry.Instance) (registry.Lease, error) {
	return pausedLease{p}, nil
}

type pausedLease struct{ in *paused }

func (l pausedLease) Update(ctx context.Context, _ []registry.Instance) error { return l.Close(ctx) }
func (pausedLease) Lost() <-chan struct{}                                     { return nil }
func (l pausedLease) Close(context.Context) error {
	if l.in.stuck.Load() {
		return errors.New("no answer")
	}
	return nil
}

// A server that still leaves a registry which is not asked is not said to be out.
func TestDrainThatIsNotDone(t *testing.T) {
	newFleet(t)
	p := &paused{name: "paused registry"}
	p.stuck.Store(true)
	registry.RegisterDriver("paused", func(string, *slog.Logger) (registry.Registry, error) { return p, nil })
	s := easyopstest.StartStandalone(t, bothServices()[:1], easyops.WithRegistry("paused:"))
	t.Cleanup(func() { p.stuck.Store(false) })
	addr := s.Addr().String()
	for _, test := range []struct {
		command, registry, says string
		code                    int
	}{
		{"drain", "", "lists itself in the paused registry and --registry is the local registry in ", 2},
		{"drain", "", "so it was not checked: whether it is out is not known; to put it back: easyops undrain ", 2},
		{"drain", "paused:", "the paused registry as it is here has never listed it, and it says that it is still listed: whether it is out is not known", 2},
		{"undrain", "", "it says that it is listed there again", 1},
	} {
		code, stdout, stderr := call(test.command, "--registry", test.registry, addr)
		if code != test.code || stdout != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("%v: code %d, %s, %s", test, code, stdout, stderr)
		}
	}
	p.stuck.Store(false) // the control
	if text := mustCall(t, "drain", "--registry", "paused:", addr); !strings.Contains(text, "is out of the paused registry") {
		t.Error(text)
	}
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{
		"etcd://h1:2379,h2/a":         "etcd://h1:2379,h2/a",
		"etcd://h1?user=a&ca=$(x) 'y": `'etcd://h1?user=a&ca=$(x) '\''y'`,
		"local:~/x":                   "'local:~/x'",
	} {
		if got := quoted(word); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
}
