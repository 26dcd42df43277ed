package cache

import (
	"cmp"
	"log/slog"
	"sync"
	"time"
	"weak"

	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"

	"github.com/go-easyops/easyops/runtime/cache/caches"
)

// defaultMaxEntries is the bound of a cache whose options name none.
const defaultMaxEntries = 10_000

// Options are the settings of a cache. The zero value is of use.
type Options struct {
	// MaxEntries is how many entries there may be; less than 1 means 10,000.
	// Beyond, those go that are least likely to be asked for again, by how
	// often and how lately they were. A cache may be over it by a few for a
	// moment.
	MaxEntries int
	// TTL is for how long an entry may be used after it was put or loaded; 0
	// or less is for ever, as long as there is room.
	TTL time.Duration
	// Logger gets what no caller is there to be told; nil means
	// slog.Default().
	Logger *slog.Logger
}

// Cache is a cache of values by their keys. Its methods may be called
// concurrently. Make one with [New].
//
// Values are shared by all who get them and must not be changed by them.
type Cache[K comparable, V any] struct {
	entries *otter.Cache[K, V]
	counts  *stats.Counter
	options Options
	listed  caches.Listed

	mu      sync.Mutex       // what is stored is stored under it, so that nothing older follows
	flights map[K]*flight[V] // the loads whose values are wanted
}

// New makes a cache that the pages of all servers of the process list under
// name. It cannot fail: a name that cannot be is changed as the package's
// description says.
func New[K comparable, V any](name string, o Options) *Cache[K, V] {
	if o.MaxEntries < 1 {
		o.MaxEntries = defaultMaxEntries
	}
	o.TTL = max(o.TTL, 0)
	c := &Cache[K, V]{counts: stats.NewCounter(), options: o, flights: map[K]*flight[V]{}}
	c.entries = newEntries[K, V](o, c.counts)
	c.listed = caches.List(name, weakly(weak.Make(c)), c.log())
	return c
}

// newEntries makes the cache underneath. It gets no goroutines: maintenance is
// done by who writes and by who reads the figures.
func newEntries[K comparable, V any](o Options, counts *stats.Counter) *otter.Cache[K, V] {
	settings := &otter.Options[K, V]{
		MaximumSize:   o.MaxEntries,
		StatsRecorder: counts,
		Executor:      func(f func()) { f() },
	}
	if o.TTL > 0 {
		settings.ExpiryCalculator = otter.ExpiryWriting[K, V](o.TTL)
	}
	entries := otter.Must(settings) // these settings are never refused
	entries.StopAllGoroutines()
	return entries
}

// weakly is how the list knows a cache, without keeping it alive.
func weakly[K comparable, V any](w weak.Pointer[Cache[K, V]]) func() caches.Source {
	return func() caches.Source {
		if c := w.Value(); c != nil {
			return operated[K, V]{c}
		}
		return nil
	}
}

// operated is a cache that is cleared by others than the program.
type operated[K comparable, V any] struct{ *Cache[K, V] }

// Clear implements [caches.Source].
func (o operated[K, V]) Clear() { o.empty() }

func (c *Cache[K, V]) log() *slog.Logger { return cmp.Or(c.options.Logger, slog.Default()) }

// Name is the name under which the cache is listed.
func (c *Cache[K, V]) Name() string { return c.listed.Name() }

// Get returns the value of key, where there is one.
func (c *Cache[K, V]) Get(key K) (V, bool) { return c.entries.GetIfPresent(key) }

// Put stores a value. A load of the key that is in flight is not stored any
// more: what was put is newer.
func (c *Cache[K, V]) Put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, key)
	c.entries.Set(key, value)
}

// Delete removes the value of key, where there is one. A load of the key that
// is in flight is not stored any more.
func (c *Cache[K, V]) Delete(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, key)
	c.entries.Invalidate(key)
}

// Clear removes all values. Loads that are in flight are not stored any more;
// callers that wait for one still get its value, and those that come from now
// on do not.
func (c *Cache[K, V]) Clear() {
	c.empty()
	c.listed.Cleared()
}

func (c *Cache[K, V]) empty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flights = map[K]*flight[V]{}
	c.entries.InvalidateAll()
}

// Stats returns the figures of the cache. What has expired is removed before
// the entries are counted.
func (c *Cache[K, V]) Stats() Stats {
	c.entries.CleanUp()
	n := c.counts.Snapshot()
	return Stats{
		Entries: c.entries.EstimatedSize(), Max: c.options.MaxEntries, TTL: c.options.TTL,
		Hits: n.Hits, Misses: n.Misses, Evictions: n.Evictions,
	}
}
