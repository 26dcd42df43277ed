package caches

import (
	"sync"
	"sync/atomic"
	"time"
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

// Counts counts what happens to a cache. Its methods may be called concurrently,
// and processors do not wait for each other's memory. The zero value is zero
// counts; it must not be copied once it is in use.
type Counts struct {
	places [16]place
	next   atomic.Uint32
	own    sync.Pool // of *place: one that the processor has used before
}

// place is what is counted in one place, in a cache line of its own.
type place struct {
	hits, misses, evictions atomic.Uint64
	_                       [40]byte
}

// count lets f count in a place that no other processor is likely to use.
func (c *Counts) count(f func(*place)) {
	p, ok := c.own.Get().(*place)
	if !ok {
		p = &c.places[c.next.Add(1)%uint32(len(c.places))]
	}
	f(p)
	c.own.Put(p)
}

// Hit counts a value that was found.
func (c *Counts) Hit() { c.count(func(p *place) { p.hits.Add(1) }) }

// Miss counts a value that was asked for and not found.
func (c *Counts) Miss() { c.count(func(p *place) { p.misses.Add(1) }) }

// Evicted counts an entry that went for lack of room, or because its time was
// up.
func (c *Counts) Evicted() { c.count(func(p *place) { p.evictions.Add(1) }) }

// Stats returns the counts, and nothing of the entries.
func (c *Counts) Stats() (s Stats) {
	for i := range c.places {
		p := &c.places[i]
		s.Hits += p.hits.Load()
		s.Misses += p.misses.Load()
		s.Evictions += p.evictions.Load()
	}
	return s
}
