package caches_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/cache"
	"github.com/go-easyops/easyops/runtime/cache/caches"
)

// counted is a cache of another make.
type counted struct {
	caches.Counts
	cleared int
}

func (c *counted) Clear() { c.cleared++ }

func names(g *caches.Group) (all []string) {
	for _, i := range g.List() {
		all = append(all, i.Name)
	}
	return all
}

func TestRegisterWithoutFunction(t *testing.T) {
	defer func() {
		if text, _ := recover().(string); text != `cache "users": the function that clears it is nil: without one there is nothing to register` {
			t.Errorf("panic: %q", text)
		}
	}()
	caches.Register("users", nil)
}

func TestGroup(t *testing.T) {
	g := caches.NewGroup(silent)
	other := caches.NewGroup(silent)
	mine := cache.New[string, int]("group-mine", cache.Options{TTL: time.Minute})
	tokens := &counted{}
	remove := g.Add("group-tokens", tokens)
	times := 0
	removeTimes := caches.Register("group-times", func(context.Context) error { times++; return nil })
	defer removeTimes()

	if all := names(g); !slices.IsSorted(all) || !slices.Contains(all, "group-mine") || !slices.Contains(all, "group-tokens") || !slices.Contains(all, "group-times") {
		t.Errorf("the group has %v", all)
	}
	if slices.Contains(names(other), "group-tokens") {
		t.Error("another server's group has it too")
	}
	mine.Put("a", 1)
	tokens.Hit()
	tokens.Evicted()
	before := time.Now()
	for _, name := range []string{"group-mine", "group-tokens", "group-times"} {
		if i, ok := g.Get(name); !ok || !i.ClearedAt.IsZero() || i.ClearedBy != "" {
			t.Errorf("before: %+v, %v", i, ok)
		}
		if err := g.Clear(t.Context(), name, "alice"); err != nil {
			t.Error(err)
		}
		if i, _ := other.Get(name); name != "group-tokens" && (i.ClearedBy != "alice" || i.ClearedAt.Before(before)) {
			t.Errorf("after: %+v", i)
		}
	}
	if s := mine.Stats(); s.Entries != 0 || tokens.cleared != 1 || times != 1 {
		t.Errorf("%+v, %d, %d", s, tokens.cleared, times)
	}
	if i, _ := g.Get("group-tokens"); !i.Counted || i.Hits != 1 || i.Evictions != 1 {
		t.Errorf("%+v", i)
	}
	if i, _ := g.Get("group-times"); i.Counted {
		t.Errorf("%+v", i)
	}
	mine.Clear()
	if i, _ := g.Get("group-mine"); i.ClearedBy != "the program" {
		t.Errorf("%+v", i)
	}
	remove()
	remove()
	if _, ok := g.Get("group-tokens"); ok {
		t.Error("it is still there")
	}
	if err := g.Clear(t.Context(), "group-tokens", "alice"); err == nil {
		t.Error("there is nothing to clear")
	}
	runtime.KeepAlive(mine)
}

func TestNames(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		given, want string
		logged      bool
	}{
		{"names-a.b_c-D9", "names-a.b_c-D9", false},
		{"names-a.b_c-D9", "names-a.b_c-D9-2", false},
		{"names-a.b_c-D9", "names-a.b_c-D9-3", false},
		{long, long, false},
		{long, long[:62] + "-2", false},
		{long + "yz", long[:62] + "-3", true},
		{"", "cache", true},
		{"..", "dots", true},
		{"../etc/passwd", ".._etc_passwd", true},
		{"a b\x00\n\u202e\xff", "a_b____", true},
		{strings.Repeat("ü", 10_000), strings.Repeat("_", 64), true},
	} {
		log.Reset()
		e := cache.New[int, int](c.given, cache.Options{Logger: logger})
		if e.Name() != c.want {
			t.Errorf("%.80q is listed as %q, want %q", c.given, e.Name(), c.want)
		}
		if logged := log.Len() > 0; logged != c.logged || log.Len() > 1000 {
			t.Errorf("%.80q: log %q", c.given, log.String())
		}
		t.Cleanup(func() { runtime.KeepAlive(e) })
	}
	allowed := regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	for _, name := range names(caches.NewGroup(silent)) {
		if !allowed.MatchString(name) {
			t.Errorf("%q is listed", name)
		}
	}
}

func TestOneNameInTwoGroups(t *testing.T) {
	g := caches.NewGroup(silent)
	own := &counted{}
	g.Add("both", own)
	late := cache.New[int, int]("both", cache.Options{})
	if all := names(g); !slices.Contains(all, "both") || !slices.Contains(all, "both-2") {
		t.Errorf("%v", all)
	}
	late.Put(1, 1)
	if err := g.Clear(t.Context(), "both-2", "alice"); err != nil || late.Stats().Entries != 0 || own.cleared != 0 {
		t.Error("another cache was cleared", err)
	}
	if err := g.Clear(t.Context(), "both", "alice"); err != nil || own.cleared != 1 {
		t.Error("another cache was cleared", err)
	}
	early := cache.New[int, int]("early", cache.Options{})
	g.Add("early", own)
	if all := names(g); !slices.Contains(all, "early-2") {
		t.Errorf("%v", all)
	}
	runtime.KeepAlive(early)
}

// What List shows under a name is what Get and Clear mean by it.
func TestNamesMeanTheSameEverywhere(t *testing.T) {
	g := caches.NewGroup(silent)
	own := &counted{}
	g.Add("same", own)
	first := cache.New[int, int]("same", cache.Options{MaxEntries: 1})
	second := cache.New[int, int]("same-2", cache.Options{MaxEntries: 2})
	maxOf := map[string]int{"same": 0, "same-2": 2, "same-3": 1}
	for _, i := range g.List() {
		want, ok := maxOf[i.Name]
		if !ok {
			continue
		}
		delete(maxOf, i.Name)
		if got, _ := g.Get(i.Name); i.Max != want || got.Max != want {
			t.Errorf("%s: listed with room for %d, got with %d, want %d", i.Name, i.Max, got.Max, want)
		}
	}
	if len(maxOf) > 0 {
		t.Errorf("not listed: %v", maxOf)
	}
	first.Put(1, 1)
	second.Put(1, 1)
	if err := g.Clear(t.Context(), "same-3", "alice"); err != nil || first.Stats().Entries != 0 || second.Stats().Entries != 1 || own.cleared != 0 {
		t.Error("another was cleared", err)
	}
	runtime.KeepAlive(first)
}

func TestACacheThatIsGoneIsNotListed(t *testing.T) {
	g := caches.NewGroup(silent)
	var gone atomic.Bool
	l := caches.List("goes", func() caches.Source {
		if gone.Load() {
			return nil
		}
		return &counted{}
	}, silent)
	if i, ok := g.Get(l.Name()); !ok || !i.Counted {
		t.Errorf("%+v %v", i, ok)
	}
	gone.Store(true)
	if _, ok := g.Get(l.Name()); ok || slices.Contains(names(g), "goes") {
		t.Error("it is listed")
	}
}

func TestCountsFromManySides(t *testing.T) {
	var c caches.Counts
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				c.Hit()
				c.Miss()
				c.Evicted()
			}
		})
	}
	wg.Wait()
	if got, want := c.Stats(), (caches.Stats{Hits: 8000, Misses: 8000, Evictions: 8000}); got != want {
		t.Errorf("%+v", got)
	}
}

func BenchmarkCountsParallel(b *testing.B) {
	var c caches.Counts
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Hit()
		}
	})
}

func TestClearThatFails(t *testing.T) {
	var log bytes.Buffer
	g := caches.NewGroup(slog.New(slog.NewTextHandler(&log, nil)))
	fault := errors.New("disk is gone")
	for name, f := range map[string]func(context.Context) error{
		"fails":  func(context.Context) error { return fault },
		"panics": func(context.Context) error { panic("hunter2") },
		"exits":  func(context.Context) error { runtime.Goexit(); return nil },
	} {
		g.Register(name, f)
		for range 2 {
			err := g.Clear(t.Context(), name, "alice")
			if err == nil || !strings.Contains(err.Error(), "cache "+name) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", name, err)
			}
			if name == "fails" && !errors.Is(err, fault) {
				t.Error(err)
			}
		}
		if i, _ := g.Get(name); !i.ClearedAt.IsZero() {
			t.Errorf("%+v", i)
		}
	}
	if !strings.Contains(log.String(), "hunter2") {
		t.Errorf("the panic is not in the log: %s", log.String())
	}
}

func TestClearThatDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := caches.NewGroup(silent)
		g.Register("slow", func(context.Context) error { time.Sleep(time.Hour); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Clear(ctx, "slow", "alice"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		for range 10 { // and they do not heap up
			if err := g.Clear(t.Context(), "slow", "bob"); err == nil || !strings.Contains(err.Error(), "already") {
				t.Error(err)
			}
		}
		time.Sleep(2 * time.Hour)
		if i, _ := g.Get("slow"); i.ClearedBy != "alice" {
			t.Errorf("it has ended: %+v", i)
		}
		if err := g.Clear(t.Context(), "slow", "bob"); err != nil {
			t.Error(err)
		}
	})
}

func TestGroupInUse(t *testing.T) {
	g := caches.NewGroup(silent)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 50 {
				c := cache.New[int, int]("busy", cache.Options{})
				c.Put(n, n)
				remove := g.Register("busy", func(context.Context) error { return nil })
				for _, i := range g.List() {
					if strings.HasPrefix(i.Name, "busy") {
						_ = g.Clear(t.Context(), i.Name, "alice") // it may be gone, or busy
					}
				}
				remove()
				runtime.KeepAlive(c)
			}
		})
	}
	wg.Wait()
}
