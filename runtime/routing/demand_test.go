package routing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestDemand(t *testing.T) {
	now, d := time.Unix(1e9, 0), newDemand()
	if asked, next := d.current(now); len(asked) != 0 || next != 0 {
		t.Errorf("nothing was asked for, but %v, in %v", asked, next)
	}
	a, b := ownedBy("a"), ownedBy("b")
	d.ask(a, now)
	d.ask(b, now.Add(time.Minute))
	if len(d.kick) != 1 {
		t.Error("nobody is told")
	}
	if asked, next := d.current(now.Add(2 * time.Minute)); len(asked) != 2 || next != unasked-2*time.Minute {
		t.Errorf("asked for are %v, for %v", asked, next)
	}
	d.ask(a, now.Add(3*time.Minute))
	if asked, _ := d.current(now.Add(time.Minute + unasked)); !asked[a] || asked[b] {
		t.Errorf("asked for are %v, want only the one that was again", asked)
	}
	if asked, next := d.current(now.Add(time.Hour)); len(asked) != 0 || next != 0 {
		t.Errorf("asked for are %v, for %v", asked, next)
	}
}

// TestDemandIsBounded: a class goes for another one, but not as soon as it came.
func TestDemandIsBounded(t *testing.T) {
	now, d := time.Unix(1e9, 0), newDemand()
	name := func(n int) class { return ownedBy(fmt.Sprint(n)) }
	for n := range maxAsked {
		if !d.ask(name(n), now.Add(time.Duration(n)*time.Millisecond)) {
			t.Fatalf("no room for class %d", n)
		}
	}
	now = now.Add(time.Second)
	if d.ask("more", now) || !d.ask(name(0), now) {
		t.Error("a class is dropped that was just asked for")
	}
	now = now.Add(minAsked)
	if !d.ask("more", now) {
		t.Error("no room although others are old")
	}
	if asked, _ := d.current(now); len(asked) != maxAsked || asked[name(1)] || !asked[name(0)] {
		t.Errorf("%d are asked for, want the oldest one dropped", len(asked))
	}
}

// hears notes what a resolver hands on.
type hears struct {
	resolver.ClientConn
	last chan resolver.State
}

func (h *hears) UpdateState(s resolver.State) error {
	select {
	case <-h.last:
	default:
	}
	h.last <- s
	return nil
}

// TestClassIsDropped: without calls a class is left after a while, as the registry
// says nothing.
func TestClassIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := crowd(3)
		list[1].Tags["v"], list[2].Owner = "x", "alice"
		f := newTestFinder(Config{Personal: true})
		f.config.Registry = newMemory(list...)
		h := &hears{last: make(chan resolver.State, 1)}
		w, err := f.Build(resolver.Target{}, h, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { w.Close() }()
		wait := func(want int) {
			t.Helper()
			synctest.Wait()
			if got := len((<-h.last).Endpoints); got != want {
				t.Errorf("%d instances, want %d", got, want)
			}
		}
		wait(1)
		f.roster.demand.ask(tagged(tags("v", "x")), time.Now())
		wait(2)
		time.Sleep(unasked / 2)
		f.roster.demand.ask(ownedBy("alice"), time.Now())
		wait(3)
		time.Sleep(unasked/2 + time.Second)
		wait(2)
		w.Close() // as when it is idle
		w, _ = f.Build(resolver.Target{}, h, resolver.BuildOptions{})
		wait(2)
		time.Sleep(unasked)
		wait(1)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(h.last) != 0 {
			t.Error("it is told of nothing new")
		}
	})
}

// TestNoNews: the balancer is told of changes of what is chosen, and of no others.
func TestNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := crowd(100)
		f := newTestFinder(Config{Subset: 4})
		m := newMemory(list...)
		f.config.Registry = m
		h := &hears{last: make(chan resolver.State, 1)}
		w, err := f.Build(resolver.Target{}, h, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		synctest.Wait()
		if got := len((<-h.last).Endpoints); got != 4 {
			t.Fatalf("%d instances", got)
		}
		chosen := map[string]bool{}
		for _, i := range f.instances() {
			chosen[i.ID] = true
		}
		for n, i := range list {
			if n%10 != 0 && !chosen[i.ID] {
				continue
			}
			now := slices.Clone(list)
			now[n].Health = registry.NotReady
			for _, say := range [][]registry.Instance{now, list} {
				m.say(nil, say...)
				synctest.Wait()
				if news := len(h.last) > 0; news != chosen[i.ID] {
					t.Errorf("chosen: %v, told: %v", chosen[i.ID], news)
				} else if news {
					<-h.last
				}
			}
		}
		m.say(nil, list[1:]...)
		synctest.Wait()
		if note := *f.roster.note.Load(); !strings.Contains(note, "lists 99, 99 READY") {
			t.Errorf("the note is %q", note)
		}
	})
}

// TestChurnOfClasses: classes come and go, and calls for them, and the connection
// is idle in between: nothing is stuck.
func TestChurnOfClasses(t *testing.T) {
	servers, _ := startServers(t, 4, 0)
	m := newMemory()
	list := func(n int) (all []registry.Instance) {
		for k, s := range servers {
			i := s.instance(registry.Ready)
			switch (n + k) % 4 {
			case 1:
				i = with(i, "v", "x")
			case 2:
				i = owned(i, "alice")
			case 3:
				if n%3 == 0 {
					continue
				}
			}
			all = append(all, i)
		}
		return all
	}
	m.say(nil, list(0)...)
	c := dial(t, Config{Registry: m, Personal: true, User: userOf})
	ctx := as(WithTags(t.Context(), tags("v", "x"), FallbackToPlain), "bob")
	callers := startLoad(t, c, 4)
	for n := range 1000 {
		m.say(nil, list(n)...)
		if n%100 == 0 {
			c.Renew()
			for _, one := range []string{"alice", "bob"} {
				if _, err := who(as(ctx, one), c); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	callers.more(t, 50)
	for _, err := range callers.stop() {
		t.Error(err)
	}
	if got := m.watches.Load(); got != 1 {
		t.Errorf("%d watches", got)
	}
}
