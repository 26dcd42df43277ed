package caches

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// process is what List and Register add to. Caches are made before there is any
// server, so it can only be of the process.
var process = &Group{}

// Group is caches that are listed and cleared together. Its methods may be
// called concurrently.
type Group struct {
	shared *Group // whose caches belong to this group too; nil for none
	log    *slog.Logger

	mu      sync.Mutex
	entries map[string]*entry
}

// NewGroup makes a group that holds the caches of the process, those listed by
// [List] and registered by [Register] now and later, and those that are added
// to it. The logger gets the panics of functions that clear; nil means
// slog.Default().
func NewGroup(log *slog.Logger) *Group {
	return &Group{shared: process, log: cmp.Or(log, slog.Default())}
}

// Source is a cache that has figures.
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
	counted func() Source // nil where it has no figures; returns nil where the cache is gone
	clear   func(context.Context) error
}

func (s source) alive() bool { return s.counted == nil || s.counted() != nil }

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
// context ends; one that is nil panics. remove takes the cache off the pages.
func Register(name string, clear func(context.Context) error) (remove func()) {
	return process.Register(name, clear)
}

// Register lists a cache in this group alone, as the function [Register] does
// in all.
func (g *Group) Register(name string, clear func(context.Context) error) (remove func()) {
	if clear == nil {
		panic(fmt.Sprintf("cache %.64q: the function that clears it is nil: without one there is nothing to register", name))
	}
	return g.addRemovable(name, source{clear: clear})
}

// Add lists a cache that has figures in this group. remove takes it out.
func (g *Group) Add(name string, s Source) (remove func()) {
	return g.addRemovable(name, source{
		counted: func() Source { return s },
		clear:   func(context.Context) error { s.Clear(); return nil },
	})
}

func (g *Group) addRemovable(name string, s source) (remove func()) {
	e := g.add(name, s, slog.Default())
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.entries[e.name] == e {
			delete(g.entries, e.name)
		}
	}
}

// Listed is a cache on the list of the process.
type Listed struct{ entry *entry }

// List lists a cache under name on the pages of all servers of the process, for
// as long as get returns it: a nil says that it is gone for good, which takes it
// off the list. get may be called concurrently. The logger is told of a name that
// cannot be.
func List(name string, get func() Source, log *slog.Logger) Listed {
	return Listed{process.add(name, source{
		counted: get,
		clear: func(context.Context) error {
			if c := get(); c != nil {
				c.Clear()
			}
			return nil
		},
	}, log)}
}

// Name is the name under which the cache is listed.
func (l Listed) Name() string { return l.entry.name }

// Cleared notes that the program has cleared the cache.
func (l Listed) Cleared() { l.entry.note("the program") }

func (g *Group) add(name string, s source, log *slog.Logger) *entry {
	allowed := allowedName(name)
	if allowed != name {
		log.Warn("cache name changed: use 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'",
			slog.String("cache", allowed), slog.String("given", fmt.Sprintf("%.64q", name)))
	}
	shared := g.shared.living()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.prune()
	e := &entry{source: s}
	e.name = freeName(allowed, func(n string) bool { return shared[n] != nil || g.entries[n] != nil })
	if g.entries == nil {
		g.entries = map[string]*entry{}
	}
	g.entries[e.name] = e
	return e
}

// prune drops the caches that are gone.
func (g *Group) prune() {
	maps.DeleteFunc(g.entries, func(_ string, e *entry) bool { return !e.alive() })
}

// living returns the group's own caches by their names.
func (g *Group) living() map[string]*entry {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.prune()
	return maps.Clone(g.entries)
}

// all returns the caches of the group by their names. A cache of the process
// that was made after one of the same name was added gets another name here.
func (g *Group) all() map[string]*entry {
	all, shared := g.living(), g.shared.living()
	if len(all) == 0 {
		return shared
	}
	var doubles []string
	for name, e := range shared {
		if all[name] != nil {
			doubles = append(doubles, name)
		} else {
			all[name] = e
		}
	}
	slices.Sort(doubles)
	for _, name := range doubles {
		all[freeName(name, func(n string) bool { return all[n] != nil })] = shared[name]
	}
	return all
}

func (e *entry) info(name string) Info {
	i := Info{Name: name}
	if e.counted != nil {
		if s := e.counted(); s != nil {
			i.Stats, i.Counted = s.Stats(), true
		}
	}
	if c := e.cleared.Load(); c != nil {
		i.ClearedAt, i.ClearedBy = c.at, c.by
	}
	return i
}

// List returns all caches, sorted by name.
func (g *Group) List() []Info {
	all := g.all()
	list := make([]Info, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[name].info(name))
	}
	return list
}

// Get returns one cache.
func (g *Group) Get(name string) (Info, bool) {
	e := g.find(name)
	if e == nil {
		return Info{}, false
	}
	return e.info(name), true
}

// find returns the cache that [Group.List] has under a name, or nil.
func (g *Group) find(name string) *entry {
	for _, group := range []*Group{g, g.shared} {
		if e := group.own(name); e != nil {
			return e
		}
	}
	return g.all()[name] // one of the process that has another name there
}

// own returns the group's own cache of the name, or nil.
func (g *Group) own(name string) *entry {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.entries[name]; e != nil && e.alive() {
		return e
	}
	return nil
}

// Clear clears a cache on behalf of who. It returns when the cache is clear or
// the context ends, whichever is first: a function that goes on then is left
// to itself, and until it returns further clearings of the cache are refused. An
// error means that the cache may not be clear.
func (g *Group) Clear(ctx context.Context, name, who string) error {
	e := g.find(name)
	if e == nil {
		return fmt.Errorf("there is no cache %.64q", name)
	}
	if !e.busy.CompareAndSwap(false, true) {
		return fmt.Errorf("cache %s: it is being cleared already", name)
	}
	done := make(chan error, 1)
	go g.run(ctx, name, e, who, done)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("cache %s: clearing takes too long, and goes on: %w", name, ctx.Err())
	}
}

// run clears a cache and says how that ended, whatever its function does. A
// panic is an error, whose stack is in the log.
func (g *Group) run(ctx context.Context, name string, e *entry, who string, done chan<- error) {
	err := errors.New("its function ended its goroutine")
	defer func() {
		if v := recover(); v != nil {
			g.log.Error("clearing a cache panicked", slog.String("cache", name), slog.Any("err", v), slog.String("stack", string(debug.Stack())))
			err = errors.New("its function panicked: the log says why")
		}
		if err != nil {
			err = fmt.Errorf("cache %s: %w", name, err)
		} else {
			e.note(who)
		}
		e.busy.Store(false)
		done <- err
	}()
	err = e.clear(ctx)
}
