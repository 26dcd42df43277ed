package easyops

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/auth"
)

const (
	maxCallers  = 1024             // rows that name a caller
	maxCallerID = 256              // bytes of an ID that a row keeps
	callerIdle  = 10 * time.Minute // after its last call a row may be given away
	maxDropped  = 64               // rows a second
	maxBusy     = 64               // rows that are counted in parts
	busySample  = 128              // one call in so many is counted to find those
	busyFrom    = 8                // of these, in a second
)

// callers counts calls by method and caller: by the service that calls, else by the
// user, else as those of nobody. There are 1,024 rows at most. Who comes when
// there is no room is counted in one row more for each method, and a row whose last
// call was 10 minutes ago may then be given away, by a sweep each second.
//
// On the way of a call there is neither a lock nor an allocation where its caller
// is known. A row is counted in one place, in which processors meet, until it is
// busy; then in one for each part of the calls. So a row takes 1 KB at most times,
// and all of them less than 4 MB with 16 parts.
type callers struct {
	seed  maphash.Seed
	parts int         // at most 256
	full  atomic.Bool // there is no room for a new row
	short atomic.Bool // somebody had none since the last sweep

	mu   sync.Mutex // held by the first call of a caller, by the sweep and by pages
	rows []*callerRow
	rest []*callerRow // of kind byOthers
	busy int
}

func newCallers(parts int) *callers { return &callers{seed: maphash.MakeSeed(), parts: parts} }

// callerKind is what kind of caller a row is of.
type callerKind uint8

const (
	byNobody callerKind = iota
	byUser
	byService
	byOthers // all for whom there was no room
)

func (k callerKind) String() string {
	return [...]string{byNobody: "nobody", byUser: "user", byService: "service", byOthers: "other"}[k]
}

// callerKey is who calls a method.
type callerKey struct {
	kind callerKind
	id   string
	hash uint64
}

func (cs *callers) key(id auth.Identity) callerKey {
	k := callerKey{}
	switch {
	case id.Service != nil:
		k.kind, k.id = byService, id.Service.ID
	case id.User != nil:
		k.kind, k.id = byUser, id.User.ID
	}
	k.hash = maphash.String(cs.seed, k.id) + uint64(k.kind)
	return k
}

// callersOf is what a method knows of its callers. Its zero value is ready for use.
type callersOf struct {
	known  atomic.Pointer[callerTable]
	others atomic.Pointer[callerRow]
}

// callerTable is a hash table of a method's rows, at most half full. It grows by
// being replaced.
type callerTable struct {
	slots []atomic.Pointer[callerRow] // a power of two
	used  int                         // guarded by callers.mu
}

// find returns the row of a caller, or nil.
func (t *callerTable) find(k callerKey) *callerRow {
	if t == nil {
		return nil
	}
	mask := uint64(len(t.slots) - 1)
	for i := k.hash & mask; ; i = (i + 1) & mask {
		if r := t.slots[i].Load(); r == nil || r.is(k) {
			return r
		}
	}
}

func (t *callerTable) put(r *callerRow) {
	mask := uint64(len(t.slots) - 1)
	i := r.hash & mask
	for t.slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	t.slots[i].Store(r)
	t.used++
}

// callerRow is the calls of one caller to one method.
type callerRow struct {
	method *method
	kind   callerKind
	id     string // its beginning, where it is long
	size   int    // of the whole
	hash   uint64
	parts  atomic.Pointer[[]callerCount] // those of the calls but for the first, once the row is busy
	sample atomic.Uint32                 // calls since the last sweep, one in busySample
	count  callerCount                   // of all parts, until the row is busy; here, as that is nearer

	busy bool          // guarded by callers.mu, as what follows
	lost bool          // it was given away
	gone *callerTotals // of rows that were given away; of kind byOthers only
}

// is tells whether a row is of a caller. Two IDs of the same length are one where their
// hashes are, which nobody can bring about.
func (r *callerRow) is(k callerKey) bool {
	return r.hash == k.hash && r.kind == k.kind && r.size == len(k.id)
}

// place is where the calls of a part are counted.
func (r *callerRow) place(part uint8) *callerCount {
	if parts := r.parts.Load(); parts != nil && part > 0 {
		return &(*parts)[part-1]
	}
	return &r.count
}

func (cs *callers) newRow(m *method, k callerKey) *callerRow {
	r := &callerRow{method: m, kind: k.kind, size: len(k.id), hash: k.hash}
	r.id = strings.Clone(k.id[:min(len(k.id), maxCallerID)])
	return r
}

// ended counts a call that has ended.
func (cs *callers) ended(c *call, code codes.Code, elapsed time.Duration) {
	k := cs.key(c.caller.Identity)
	r := c.method.callers.known.Load().find(k)
	if r == nil {
		r = cs.enter(c.method, k)
	}
	if c.dice%busySample == 0 {
		r.sample.Add(1)
	}
	r.place(c.part).add(code, elapsed, c.begun+elapsed)
}

// enter returns the row of a caller that was not known.
func (cs *callers) enter(m *method, k callerKey) *callerRow {
	if cs.full.Load() {
		if !cs.short.Load() {
			cs.short.Store(true)
		}
		if r := m.callers.others.Load(); r != nil {
			return r
		}
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if r := m.callers.known.Load().find(k); r != nil {
		return r
	}
	if len(cs.rows) == maxCallers {
		cs.full.Store(true)
		return cs.othersOf(m)
	}
	r := cs.newRow(m, k)
	cs.rows = append(cs.rows, r)
	m.callers.add(r)
	return r
}

// othersOf returns the row of those for whom there is no room. The caller holds the
// lock.
func (cs *callers) othersOf(m *method) *callerRow {
	r := m.callers.others.Load()
	if r == nil {
		r = cs.newRow(m, callerKey{kind: byOthers})
		cs.rest = append(cs.rest, r)
		m.callers.others.Store(r)
	}
	return r
}

// add puts a row in the table. The caller holds callers.mu, as that of remove does.
func (of *callersOf) add(r *callerRow) {
	t := of.known.Load()
	if t == nil || 2*t.used >= len(t.slots) {
		t = t.with(nil)
	}
	t.put(r)
	of.known.Store(t)
}

// remove takes rows out of the table.
func (of *callersOf) remove(gone map[*callerRow]bool) { of.known.Store(of.known.Load().with(gone)) }

// with returns a larger copy without some rows.
func (t *callerTable) with(gone map[*callerRow]bool) *callerTable {
	if t == nil {
		return &callerTable{slots: make([]atomic.Pointer[callerRow], 4)}
	}
	copied := &callerTable{slots: make([]atomic.Pointer[callerRow], max(4, sizeFor(t.used-len(gone))))}
	for i := range t.slots {
		if r := t.slots[i].Load(); r != nil && !gone[r] {
			copied.put(r)
		}
	}
	return copied
}

// sizeFor returns for how many slots a table has room for as many rows again.
func sizeFor(rows int) int {
	n := 4
	for n < 4*rows {
		n *= 2
	}
	return n
}

// each calls f for each row, in no order, with what it has counted. Calls of new
// callers do not wait for f. The rows of the others come last: what is given away
// meanwhile is in them, and only there unless it was shown just before.
func (cs *callers) each(f func(*callerRow, *callerTotals)) {
	for _, list := range []*[]*callerRow{&cs.rows, &cs.rest} {
		cs.mu.Lock()
		rows := slices.Clone(*list)
		cs.mu.Unlock()
		for _, r := range rows {
			if t, ok := cs.totalsOf(r); ok {
				f(r, t)
			}
		}
	}
}

// totalsOf adds up what a row has counted, unless that went on in another.
func (cs *callers) totalsOf(r *callerRow) (t *callerTotals, ok bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if r.lost {
		return nil, false
	}
	t = &callerTotals{}
	r.addTo(t)
	return t, true
}
