package cache

import (
	"time"

	"github.com/maypok86/otter/v2/stats"
)

// Stats are the figures of a cache. The counts are of the time since it was
// made, clearings included.
type Stats struct {
	Entries   int
	Max       int           // 0 where there is no bound by number
	TTL       time.Duration // 0 where entries stay as long as there is room
	Hits      uint64
	Misses    uint64
	Evictions uint64 // entries that went for lack of room, or because their time was up
}

// Counts counts what happens to a cache, for caches that are not made by [New].
// Its methods may be called concurrently, and processors do not wait for each
// other's memory. Make one with [NewCounts].
type Counts struct{ counter *stats.Counter }

// NewCounts makes counts of zero.
func NewCounts() *Counts { return &Counts{stats.NewCounter()} }

// Hit counts a value that was found.
func (c *Counts) Hit() { c.counter.RecordHits(1) }

// Miss counts a value that was asked for and not found.
func (c *Counts) Miss() { c.counter.RecordMisses(1) }

// Evicted counts an entry that went for lack of room, or because its time was
// up.
func (c *Counts) Evicted() { c.counter.RecordEviction(1) }

// Stats returns the counts, and nothing of the entries.
func (c *Counts) Stats() Stats {
	s := c.counter.Snapshot()
	return Stats{Hits: s.Hits, Misses: s.Misses, Evictions: s.Evictions}
}
