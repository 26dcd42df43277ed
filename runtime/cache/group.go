package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// process is what New and Register add to. Caches are made before there is any
// server, so it can only be of the process.
var process = &Group{}

// Group is caches that are listed and cleared together. Its methods may be
// called concurrently.
type Group struct {
	shared *Group // whose caches belong to this group too; nil for none
	log    *slog.Logger

	mu      sync.Mutex
	entries []*entry
}

// NewGroup makes a group that holds the caches of the process, those made by
// [New] and registered by [Register] now and later, and those that are added
// to it. The logger gets the panics of functions that clear; nil means
// slog.Default().
func NewGroup(log *slog.Logger) *Group {
	return &Group{shared: process, log: cmp.Or(log, slog.Default())}
}

// Source is a cache that is not made by [New] but has figures.
type Source interface {
	// Stats returns the figures. It must not block.
	Stats() Stats
	// Clear removes all values.
	Clear()
}

// Info is what is known of a cache.
type Info struct {
	Name string
	// Counted says that Stats is known: it is not of those that are registered
	// by a function that clears them.
	Counted bool
	Stats
	// ClearedAt is when the cache was last cleared, zero for never, and
	// ClearedBy by whom.
	ClearedAt time.Time
	ClearedBy string
}

// source is a cache as a group knows it.
type source struct {
	stats func() (Stats, bool)
	alive func() bool
	clear func(context.Context) error
}

// entry is a cache in a group.
type entry struct {
	name string
	source
	cleared atomic.Pointer[clearing]
	busy    atomic.Bool // being cleared
}

// clearing is when and by whom a cache was last cleared.
type clearing struct {
	at time.Time
	by string
}

func (e *entry) note(who string) { e.cleared.Store(&clearing{time.Now(), who}) }

// Register lists a cache of another library under name on the pages of all
// servers of the process, to be cleared by clear. clear may be called
// concurrently with all else but itself, and is expected to return when its
// context ends. remove takes the cache off the pages.
func Register(name string, clear func(context.Context) error) (remove func()) {
	return process.Register(name, clear)
}

// Register lists a cache in this group alone, as the function [Register] does
// in all.
func (g *Group) Register(name string, clear func(context.Context) error) (remove func()) {
	return g.addStrong(name, source{
		stats: func() (Stats, bool) { return Stats{}, false },
		clear: clear,
	})
}

// Add lists a cache that has figures in this group. remove takes it out.
func (g *Group) Add(name string, s Source) (remove func()) {
	return g.addStrong(name, source{
		stats: func() (Stats, bool) { return s.Stats(), true },
		clear: func(context.Context) error { s.Clear(); return nil },
	})
}

func (g *Group) addStrong(name string, s source) (remove func()) {
	s.alive = func() bool { return true }
	e := g.add(name, s, slog.Default())
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.entries = slices.DeleteFunc(g.entries, func(other *entry) bool { return other == e })
	}
}

func (g *Group) add(name string, s source, log *slog.Logger) *entry {
	allowed := allowedName(name)
	if allowed != name {
		log.Warn("cache name changed: use 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'",
			slog.String("cache", allowed), slog.String("given", fmt.Sprintf("%.64q", name)))
	}
	taken := g.shared.all()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.prune()
	for _, e := range g.entries {
		taken = append(taken, listed{e.name, e})
	}
	e := &entry{name: freeName(allowed, taken), source: s}
	g.entries = append(g.entries, e)
	return e
}

// prune drops the caches that nobody uses any more.
func (g *Group) prune() {
	g.entries = slices.DeleteFunc(g.entries, func(e *entry) bool { return !e.alive() })
}

// listed is a cache under the name that it has in a group.
type listed struct {
	name string
	*entry
}

func (l listed) info() Info {
	i := Info{Name: l.name}
	i.Stats, i.Counted = l.stats()
	if c := l.cleared.Load(); c != nil {
		i.ClearedAt, i.ClearedBy = c.at, c.by
	}
	return i
}

// all returns the caches of the group, sorted by name. A cache of the process
// that was made after one of the same name was added gets another name here.
func (g *Group) all() []listed {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	g.prune()
	own := slices.Clone(g.entries)
	g.mu.Unlock()
	var all []listed
	for _, e := range own {
		all = append(all, listed{e.name, e})
	}
	for _, l := range g.shared.all() {
		all = append(all, listed{freeName(l.name, all), l.entry})
	}
	slices.SortFunc(all, func(a, b listed) int { return cmp.Compare(a.name, b.name) })
	return all
}

// List returns all caches, sorted by name.
func (g *Group) List() []Info {
	all := g.all()
	list := make([]Info, len(all))
	for i, l := range all {
		list[i] = l.info()
	}
	return list
}

// Get returns one cache.
func (g *Group) Get(name string) (Info, bool) {
	l, ok := g.find(name)
	if !ok {
		return Info{}, false
	}
	return l.info(), true
}

func (g *Group) find(name string) (listed, bool) {
	all := g.all()
	i := slices.IndexFunc(all, func(l listed) bool { return l.name == name })
	if i < 0 {
		return listed{}, false
	}
	return all[i], true
}

// Clear clears a cache on behalf of who. It returns when the cache is clear or
// the context ends, whichever is first: a function that goes on then is left
// to itself, and until it returns further clearings of the cache are refused. An
// error means that the cache may not be clear.
func (g *Group) Clear(ctx context.Context, name, who string) error {
	e, ok := g.find(name)
	if !ok {
		return fmt.Errorf("there is no cache %.64q", name)
	}
	if !e.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("cache %s: it is being cleared already", name)
	}
	done := make(chan error, 1)
	go g.run(ctx, e, who, done)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("cache %s: clearing takes too long, and goes on: %w", name, ctx.Err())
	}
}

// run clears a cache and says how that ended, whatever its function does. A
// panic is an error, whose stack is in the log.
func (g *Group) run(ctx context.Context, e listed, who string, done chan<- error) {
	err := errors.New("its function ended its goroutine")
	defer func() {
		if v := recover(); v != nil {
			g.log.Error("clearing a cache panicked", slog.String("cache", e.name), slog.Any("err", v), slog.String("stack", string(debug.Stack())))
			err = errors.New("its function panicked: the log says why")
		}
		if err != nil {
			err = fmt.Errorf("cache %s: %w", e.name, err)
		} else {
			e.note(who)
		}
		e.busy.Store(false)
		done <- err
	}()
	err = e.clear(ctx)
}

const maxName = 64

// allowedName is a name made fit for pages and metrics.
func allowedName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, name[:min(len(name), 4*maxName)])
	if name == "." || name == ".." { // no path of a page can end in them
		name = "dots"
	}
	return cmp.Or(name[:min(len(name), maxName)], "cache")
}

// freeName is a name that none of the caches has.
func freeName(name string, taken []listed) string {
	free := name
	for n := 2; slices.ContainsFunc(taken, func(l listed) bool { return l.name == free }); n++ {
		suffix := "-" + strconv.Itoa(n)
		free = name[:min(len(name), maxName-len(suffix))] + suffix
	}
	return free
}
