package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// lookEvery is the time between looks for services that are new.
const lookEvery = time.Second

// The kinds of change.
const (
	wasListed   = "listed" // it was there at first
	wasAdded    = "added"
	wasChanged  = "changed"
	wasRemoved  = "removed"
	unavailable = "unavailable" // the registry cannot be asked
	available   = "available"   // it can again
)

// marks are what lines for people begin with.
var marks = map[string]string{wasListed: "=", wasAdded: "+", wasChanged: "~", wasRemoved: "-", unavailable: "!", available: "!"}

// instanceChange is something that happens to an instance, or to the registry.
type instanceChange struct {
	Version  int                `json:"version"`
	Time     time.Time          `json:"time"`
	Event    string             `json:"event"`
	Service  string             `json:"service,omitempty"` // "" for all
	Instance *registry.Instance `json:"instance,omitempty"`
	Before   *registry.Instance `json:"before,omitempty"` // of one that changed
	Error    string             `json:"error,omitempty"`
}

// follower prints changes. Its methods may be called concurrently.
type follower struct {
	lookup *lookup
	json   bool
	stop   context.CancelFunc
	warn   io.Writer // what is no change is said there

	mu   sync.Mutex
	out  io.Writer
	err  error // of the output
	down bool  // the registry cannot be asked
}

// follow prints what changes until the context ends or nobody reads.
func (r *lsRequest) follow(ctx context.Context, out, warn io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	f := &follower{lookup: &r.lookup, json: r.json, stop: stop, out: out, warn: warn}
	if r.service != "" {
		(&followed{follower: f, service: r.service, before: map[string]registry.Instance{}, alone: true}).run(ctx)
		return f.err
	}
	err := f.followAll(ctx)
	if f.err != nil {
		err = f.err
	}
	return err
}

// followAll follows each service from when it is first listed until nothing of
// it is.
func (f *follower) followAll(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	known := map[string]*followed{}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for first := true; ctx.Err() == nil; first = false {
		names, err := f.lookup.services(ctx)
		if first && err != nil {
			return err
		}
		if err == nil {
			f.available()
			if first && len(names) == 0 {
				f.noneYet("instance")
			}
			f.update(ctx, &wg, known, names, first)
		} else if ctx.Err() == nil {
			f.unavailable(err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

// update begins to follow what is new and ends what is gone.
func (f *follower) update(ctx context.Context, wg *sync.WaitGroup, known map[string]*followed, names []string, first bool) {
	for _, name := range names {
		if known[name] != nil {
			continue
		}
		w := &followed{follower: f, service: name, before: map[string]registry.Instance{}, begun: !first}
		life, cancel := context.WithCancel(ctx)
		w.cancel = cancel
		known[name] = w
		wg.Go(func() { w.run(life) })
	}
	for name, w := range known {
		if _, found := slices.BinarySearch(names, name); !found && w.empty() {
			w.cancel()
			delete(known, name)
		}
	}
}

// followed is a service that is followed.
type followed struct {
	*follower
	service string
	cancel  context.CancelFunc
	begun   bool // what comes is new, as opposed to being there at first
	alone   bool // it is all that is followed

	before map[string]registry.Instance // by ID; guarded by mu of the follower
}

func (w *followed) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.before) == 0
}

func (w *followed) run(ctx context.Context) {
	w.lookup.reg.Watch(ctx, w.service, func(list []registry.Instance, err error) {
		if err != nil {
			w.unavailable(err)
			return
		}
		w.available()
		w.take(list)
	})
}

// take prints how a list differs from the one before.
func (w *followed) take(list []registry.Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.alone && !w.begun && len(list) == 0 {
		w.noneYet("instance of " + w.service)
	}
	gone := maps.Clone(w.before)
	for _, i := range list {
		before, known := w.before[i.ID]
		delete(gone, i.ID)
		w.before[i.ID] = i
		switch {
		case !known && !w.begun:
			w.say(instanceChange{Event: wasListed, Instance: &i})
		case !known:
			w.say(instanceChange{Event: wasAdded, Instance: &i})
		case !reflect.DeepEqual(before, i):
			w.say(instanceChange{Event: wasChanged, Instance: &i, Before: &before})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(gone)) {
		i := gone[id]
		delete(w.before, id)
		w.say(instanceChange{Event: wasRemoved, Instance: &i})
	}
	w.begun = true
}

// noneYet says that there is nothing to print so far.
func (f *follower) noneYet(what string) {
	fmt.Fprintf(f.warn, "easyops: no %s is listed in the %s yet: waiting\n", what, f.lookup.reg)
}

// unavailable says so, once until the registry answers again.
func (f *follower) unavailable(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.down {
		f.down = true
		f.say(instanceChange{Event: unavailable, Error: err.Error()})
	}
}

func (f *follower) available() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		f.down = false
		f.say(instanceChange{Event: available})
	}
}

// say prints a line. The caller holds mu.
func (f *follower) say(c instanceChange) {
	if f.err != nil {
		return
	}
	c.Version, c.Time = 1, time.Now()
	if f.json {
		var line []byte
		if line, f.err = json.Marshal(c); f.err == nil {
			_, f.err = fmt.Fprintf(harmless{f.out}, "%s\n", line)
		}
	} else {
		_, f.err = fmt.Fprintf(f.out, "%s %s %s\n", c.Time.Format("2006-01-02 15:04:05.000"), marks[c.Event], c.text(f.lookup.reg))
	}
	if f.err != nil {
		f.stop()
	}
}

// text is a change for people.
func (c instanceChange) text(reg registry.Registry) string {
	switch c.Event {
	case unavailable:
		return printable(reg.String() + " cannot be asked: " + c.Error)
	case available:
		return printable(reg.String() + " answers again")
	}
	i := c.Instance
	words := []string{i.Service, i.ID, i.Addr}
	if c.Before == nil {
		words = append(words, string(i.Health))
		for _, more := range []string{i.Version, tagText(i.Tags), i.Owner} {
			if more != "" {
				words = append(words, more)
			}
		}
	} else {
		words = append(words, differences(*c.Before, *i)...)
	}
	return printable(strings.Join(words, " "))
}

// differences names what differs between two states of an instance.
func differences(a, b registry.Instance) (all []string) {
	for _, d := range []struct{ what, before, now string }{
		{"health", string(a.Health), string(b.Health)},
		{"address", a.Addr, b.Addr},
		{"status address", a.StatusAddr, b.StatusAddr},
		{"version", a.Version, b.Version},
		{"tags", tagText(a.Tags), tagText(b.Tags)},
		{"owner", a.Owner, b.Owner},
		{"kinds", kindText(a.Kinds), kindText(b.Kinds)},
		{"started", a.Started.Format(time.RFC3339Nano), b.Started.Format(time.RFC3339Nano)},
	} {
		if d.before != d.now {
			all = append(all, fmt.Sprintf("%s %s -> %s", d.what, dash(d.before), dash(d.now)))
		}
	}
	return all
}
