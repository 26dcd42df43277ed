package status

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/cache/caches"
)

const cachesPath = "/internal/clearcache"

// clearTimeout is for how long the function of a cache that clears it may run
// before an answer is given.
const clearTimeout = 5 * time.Second

// cachePages are the pages of caches.
type cachePages struct {
	group   *caches.Group
	timeout time.Duration
}

// HandleCaches registers /internal/clearcache, which lists the caches of a group
// and clears them all, and /internal/clearcache/{name} for one of them.
func (p *Pages) HandleCaches(group *caches.Group) error {
	return p.handleAll(cachePages{group, clearTimeout}.pages())
}

func (c cachePages) pages() []Page {
	return []Page{
		{
			Path: cachesPath, Group: "Actions", Title: "Caches", Access: Operator, Get: c.getAll, Post: c.clearAll,
			Help: "The caches of this server: how full they are, how often they help, and who cleared them last. A POST clears all of them.",
		},
		{
			Path: cachesPath + "/{name}", Group: "Actions", Title: "Cache", Access: Operator, Get: c.getOne, Post: c.clearOne,
			Help: "One cache. A POST clears it.",
		},
	}
}

// clearAll clears all caches at the same time: one that takes long, or fails,
// keeps no other.
func (c cachePages) clearAll(r *Request) (View, error) {
	all := c.group.List()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, one := range all {
		wg.Go(func() { errs[i] = c.clear(r, one) })
	}
	wg.Wait()
	cleared := []string{}
	for i, one := range all {
		noteCleared(r, one, errs[i])
		if errs[i] == nil {
			cleared = append(cleared, one.Name)
		}
	}
	if failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil }); len(failed) > 0 {
		why := errors.Join(failed[:min(len(failed), maxNames)]...).Error()
		return View{}, Errorf(http.StatusInternalServerError, "%d of %d caches are clear; the others may not be: %s",
			len(cleared), len(all), strings.ReplaceAll(why, "\n", "; "))
	}
	return c.clearedView(cleared), nil
}

func (c cachePages) clearedView(cleared []string) View {
	plain := "cleared: " + firstOf(cleared)
	if len(cleared) == 0 {
		plain = "there are no caches to clear"
	}
	now := c.data()
	return View{
		Title: "Caches are clear", Plain: plain,
		Data: CachesData{Listed: Listed{Total: len(now), Matched: len(now), Sort: "name"}, Caches: now[:min(len(now), listDefault)], Cleared: cleared[:min(len(cleared), listMost)]},
		Body: []Block{Text(sentence(plain)), Links{Text: "Further:", Links: []Cell{Link(cachesPath, "all caches")}}},
	}
}

// data are the caches, sorted by name.
func (c cachePages) data() []Cache {
	all := []Cache{}
	for _, one := range c.group.List() {
		all = append(all, cacheData(one))
	}
	return all
}

func (c cachePages) clear(r *Request, one caches.Info) error {
	ctx, cancel := context.WithTimeout(r.Context(), c.timeout)
	defer cancel()
	return c.group.Clear(ctx, one.Name, r.Who)
}

// noteCleared notes for the log how a cache was, and what has become of it.
func noteCleared(r *Request, one caches.Info, err error) {
	from, to := "", "cleared"
	if one.Counted {
		from, to = count(one.Entries, "entries"), "0"
	}
	if err != nil {
		to = "not cleared"
	}
	r.Changed("cache "+one.Name, from, to)
}

func (c cachePages) getOne(r *Request) (View, error) {
	one, err := c.find(r)
	if err != nil {
		return View{}, err
	}
	return oneView(one, nil), nil
}

func (c cachePages) clearOne(r *Request) (View, error) {
	one, err := c.find(r)
	if err != nil {
		noteCleared(r, caches.Info{Name: r.PathValue("name")}, err)
		return View{}, err
	}
	err = c.clear(r, one)
	noteCleared(r, one, err)
	if err != nil {
		return View{}, Errorf(http.StatusInternalServerError, "%v", err)
	}
	if now, err := c.find(r); err == nil {
		one = now
	}
	return oneView(one, []string{one.Name}), nil
}

// find finds the cache that the path names. A name is compared with those that
// there are, and used for nothing else.
func (c cachePages) find(r *Request) (caches.Info, error) {
	name := r.PathValue("name")
	if one, ok := c.group.Get(name); ok {
		return one, nil
	}
	return caches.Info{}, Errorf(http.StatusNotFound, "there is no cache %.64q here: %s", name, c.names())
}

// maxNames is how many caches a sentence names, and of how many it tells why
// they are not clear.
const maxNames = 50

func (c cachePages) names() string {
	all := c.group.List()
	if len(all) == 0 {
		return "this server has none"
	}
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = one.Name
	}
	text := "there are " + firstOf(names)
	if len(all) > maxNames {
		text += ", which GET " + cachesPath + " lists"
	}
	return text
}

// firstOf are the first of names, and how many more there are.
func firstOf(names []string) string {
	text := strings.Join(names[:min(len(names), maxNames)], ", ")
	if more := len(names) - maxNames; more > 0 {
		text += " and " + thousands(more) + " more"
	}
	return text
}

func (c cachePages) getAll(r *Request) (View, error) {
	list := cachesListing(time.Now())
	all := c.data()
	s, err := list.show(r.Request, all)
	if err != nil {
		return View{}, err
	}
	v := View{Data: CachesData{Listed: s.Listed, Caches: append([]Cache{}, s.Rows...)}, Body: s.Blocks, Live: len(all) > 0}
	if len(all) > 0 {
		v.Body = append(v.Body, Action{Path: cachesPath, Label: "Clear all caches", Help: "What was in them is got anew, which is dear for a while. Each can be cleared alone on its own page."})
	}
	return v, nil
}

func cachesListing(now time.Time) listing[Cache] {
	figure := func(f func(Cache) string) func(Cache) Cell {
		return func(c Cache) Cell {
			if !c.Counted {
				return Cell{Text: none, Tone: Muted}
			}
			return Str(f(c))
		}
	}
	return listing[Cache]{
		Noun: "caches", Sort: "name", Wide: 1,
		Empty: "There are no caches: those that are made by cache.New, or registered by cache.Register, are listed here.",
		Columns: []column[Cache]{
			{"name", "Cache", func(c Cache) Cell { return Cell{Text: c.Name, Link: cachesPath + "/" + c.Name, Tone: Mono} }, by(func(c Cache) string { return c.Name })},
			{"entries", "Entries", figure(Cache.entries), by(func(c Cache) int { return c.Entries })},
			{"ttl", "Kept for", figure(Cache.keptFor), by(func(c Cache) Seconds { return c.TTL })},
			{"hits", "Hits", figure(func(c Cache) string { return thousands(c.Hits) }), by(func(c Cache) uint64 { return c.Hits })},
			{"misses", "Misses", figure(func(c Cache) string { return thousands(c.Misses) }), by(func(c Cache) uint64 { return c.Misses })},
			{"rate", "Hit rate", figure(Cache.rate), by(Cache.share)},
			{"evictions", "Evictions", figure(func(c Cache) string { return thousands(c.Evictions) }), by(func(c Cache) uint64 { return c.Evictions })},
			{"cleared", "Last cleared", func(c Cache) Cell { return c.lastCleared(now) }, byTime(func(c Cache) time.Time { return c.ClearedAt })},
		},
	}
}

// oneView shows one cache, with the columns of the list.
func oneView(one caches.Info, cleared []string) View {
	c := cacheData(one)
	var kv KV
	for _, column := range cachesListing(time.Now()).Columns[1:] {
		if cell := column.Cell(c); cell.Text != none {
			kv = append(kv, Pair{column.Name, cell})
		}
	}
	v := View{Title: "Cache " + c.Name, Data: CachesData{Listed: Listed{Total: 1, Matched: 1}, Caches: []Cache{c}, Cleared: cleared}, Body: []Block{kv}}
	if cleared != nil {
		v.Plain = "cleared: " + c.Name
		v.Body = append([]Block{Text(sentence(v.Plain))}, v.Body...)
	} else {
		v.Body = append(v.Body, Action{Path: cachesPath + "/" + c.Name, Label: "Clear this cache", Help: "What was in it is got anew."})
		v.Live = true
	}
	v.Body = append(v.Body, Links{Text: "Further:", Links: []Cell{Link(cachesPath, "all caches")}})
	return v
}

func cacheData(one caches.Info) Cache {
	return Cache{
		Name: one.Name, Counted: one.Counted, Entries: one.Entries, Max: one.Max, TTL: Seconds(one.TTL),
		Hits: one.Hits, Misses: one.Misses, Evictions: one.Evictions, ClearedAt: one.ClearedAt.UTC(), ClearedBy: one.ClearedBy,
	}
}

func (c Cache) entries() string {
	text := thousands(c.Entries)
	if c.Max > 0 {
		text += " of " + thousands(c.Max)
	}
	return text
}

func (c Cache) keptFor() string {
	if c.TTL == 0 {
		return "as long as there is room"
	}
	return lasting(time.Duration(c.TTL))
}

// share is the part of what was asked for that was there; -1 where nothing was
// asked for.
func (c Cache) share() float64 {
	if c.Hits+c.Misses == 0 {
		return -1
	}
	return float64(c.Hits) / float64(c.Hits+c.Misses)
}

func (c Cache) rate() string {
	if c.share() < 0 {
		return none
	}
	return percent(c.Hits, c.Hits+c.Misses)
}

func (c Cache) lastCleared(now time.Time) Cell {
	if c.ClearedAt.IsZero() {
		return Cell{Text: "never", Tone: Muted}
	}
	return Str(since(c.ClearedAt, now) + " by " + c.ClearedBy)
}
