package port

import (
	"hash/maphash"
	"net"
	"sync/atomic"
)

// table finds connections by their addresses, for each call: without a lock, and in a third of the
// instructions that a sync.Map takes, which also is spread over more of the memory.
type table struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]atomic.Pointer[conn]] // a power of two, of which at most half are used

	// Guarded by port.mu.
	used int // slots, with those of connections that are gone
	n    int // connections
}

// gone is in the slots of connections that were taken out: who looks for others goes on there.
var gone conn

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	t.slots.Store(emptySlots(0))
	return t
}

// emptySlots has room for as many connections again.
func emptySlots(n int) *[]atomic.Pointer[conn] {
	size := 8
	for size < 4*n {
		size *= 2
	}
	slots := make([]atomic.Pointer[conn], size)
	return &slots
}

// find returns the connection of an address, which must be a pointer, or nil.
func (t *table) find(a net.Addr) *conn {
	_, c := t.slot(*t.slots.Load(), a)
	return c
}

// slot returns where the connection of an address is, or else the first free slot and nil.
func (t *table) slot(slots []atomic.Pointer[conn], a net.Addr) (*atomic.Pointer[conn], *conn) {
	mask := uint64(len(slots) - 1)
	for i := maphash.Comparable(t.seed, a) & mask; ; i = (i + 1) & mask {
		if c := slots[i].Load(); c == nil || c.addr == a {
			return &slots[i], c
		}
	}
}

// add puts a connection in, in place of another with the same address. The caller holds port.mu,
// as that of remove does.
func (t *table) add(c *conn) {
	slots := *t.slots.Load()
	if s, other := t.slot(slots, c.addr); other != nil {
		s.Store(c)
		return
	}
	if 2*(t.used+1) > len(slots) {
		slots = t.grow(slots)
	}
	s, _ := t.slot(slots, c.addr)
	s.Store(c)
	t.used++
	t.n++
}

// grow returns a copy without what is gone, which takes the place of slots.
func (t *table) grow(slots []atomic.Pointer[conn]) []atomic.Pointer[conn] {
	larger := emptySlots(t.n + 1)
	for i := range slots {
		if c := slots[i].Load(); c != nil && c != &gone {
			s, _ := t.slot(*larger, c.addr)
			s.Store(c)
		}
	}
	t.used = t.n
	t.slots.Store(larger)
	return *larger
}

// remove takes a connection out, if it is there.
func (t *table) remove(c *conn) {
	if s, found := t.slot(*t.slots.Load(), c.addr); found == c {
		s.Store(&gone)
		t.n--
	}
}
