package edge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// directory is a registry that is asked which services there are.
type directory struct {
	registry.Registry
	names []string
	err   error
	asked int
}

func (d *directory) Services(context.Context) ([]string, error) {
	d.asked++
	return d.names, d.err
}

func (d *directory) String() string { return "directory" }

// However many names callers make up, the registry is asked once a second, and what is
// new in it is found within one.
func TestListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{names: []string{"a.A", "b.B"}}
		l := listing{registry: d}
		for n := range 1000 {
			if l.find(fmt.Sprint("made.Up", n)) == nil {
				t.Fatal("a service that is not listed")
			}
		}
		if err := l.find("b.B"); err != nil || d.asked != 1 {
			t.Errorf("%v, asked %d times", err, d.asked)
		}
		d.names = []string{"c.C"}
		time.Sleep(listEvery + 1)
		if err := l.find("c.C"); err != nil || d.asked != 2 {
			t.Errorf("%v, asked %d times", err, d.asked)
		}
		d.err = errors.New("down")
		time.Sleep(listEvery + 1)
		if err := l.find("d.D"); err == nil || !strings.Contains(err.Error(), "down") {
			t.Error(err)
		}
		if err := l.find("c.C"); err != nil {
			t.Error("what was known is not any more:", err)
		}
	})
	if err := (&listing{registry: struct{ registry.Registry }{}}).find("a.A"); err != nil {
		t.Error("a registry that knows no names:", err)
	}
}

// Where there is no room for one more service, those go first that nobody has reached.
func TestWhoMakesRoom(t *testing.T) {
	c := newClients(&TableConfig{})
	for n := range maxClients {
		k := &client{service: fmt.Sprint(n)}
		k.holder.close = func() error { return nil }
		if n != 100 {
			k.stay(unnamed)
		}
		k.keep(false)
		defer k.end(true)
		c.all[k.service] = k
	}
	if err := c.makeRoomLocked("new"); err != nil || c.all["100"] != nil || len(c.all) != maxClients-1 {
		t.Errorf("%v, %d are left", err, len(c.all))
	}
}
