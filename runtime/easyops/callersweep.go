package easyops

import (
	"slices"
	"sort"
	"time"
)

// sweep makes room where there was none, and gives busy rows a place for each
// part. It is called once a second.
func (cs *callers) sweep(now time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.short.Swap(false) {
		cs.drop(cs.idle(now))
	}
	for _, rows := range [][]*callerRow{cs.rows, cs.rest} {
		for _, r := range rows {
			if n := r.sample.Load(); n > 0 {
				r.sample.Store(0)
				cs.spread(r, n)
			}
		}
	}
}

// spread gives a row that is busy a place for each part.
func (cs *callers) spread(r *callerRow, sample uint32) {
	if r.busy || sample < busyFrom || cs.busy == maxBusy || cs.parts == 1 {
		return
	}
	r.busy = true
	cs.busy++
	parts := make([]callerCount, cs.parts-1)
	r.parts.Store(&parts)
}

// idle returns the rows without a call for 10 minutes, as many as may be given
// away at a time, those first whose last call is longest ago.
func (cs *callers) idle(now time.Duration) []*callerRow {
	type lastOf struct {
		row  *callerRow
		last time.Duration
	}
	var all []lastOf
	for _, r := range cs.rows {
		if last := r.last(); now-last >= callerIdle {
			all = append(all, lastOf{r, last})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].last < all[j].last })
	var idle []*callerRow
	for _, l := range all[:min(len(all), maxDropped)] {
		idle = append(idle, l.row)
	}
	return idle
}

// drop takes rows away. What they have counted goes on in the row of the others; a
// call that ends at this moment may be missing there.
func (cs *callers) drop(idle []*callerRow) {
	if len(idle) == 0 {
		return
	}
	byMethod := map[*method]map[*callerRow]bool{}
	for _, r := range idle {
		if byMethod[r.method] == nil {
			byMethod[r.method] = map[*callerRow]bool{}
		}
		byMethod[r.method][r] = true
	}
	for m, gone := range byMethod {
		m.callers.remove(gone)
		others := cs.othersOf(m)
		if others.gone == nil {
			others.gone = &callerTotals{}
		}
		for r := range gone {
			r.addTo(others.gone)
			r.lost = true
			if r.busy {
				cs.busy--
			}
		}
	}
	cs.rows = slices.DeleteFunc(cs.rows, func(r *callerRow) bool { return byMethod[r.method][r] })
	cs.full.Store(false)
}
