package easyops

import (
	"time"

	"github.com/go-easyops/easyops/runtime/metrics"
	"github.com/go-easyops/easyops/runtime/status"
)

// methodHistory is how a method has been: once a minute all that is counted, and
// each few seconds of the last minute the calls.
type methodHistory struct {
	moments []moment
	tallies []tally
}

// tally is the calls of a method that had ended at a time.
type tally struct {
	at     time.Time
	counts counts
}

// moment is what had been counted of a method at a time.
type moment struct {
	at     time.Time
	totals *metrics.Totals // shared while no call ends
}

// noteMethod returns what keeps the history of a method; those without calls have
// nothing to keep.
func (h *history) noteMethod(now time.Time) func(*metrics.Method, *metrics.Totals) {
	if h.methods == nil {
		h.methods = map[*metrics.Method]*methodHistory{}
	}
	return func(m *metrics.Method, t *metrics.Totals) {
		if t.Calls == 0 {
			return
		}
		of := h.methods[m]
		if of == nil { // it had no calls a step ago
			before := now.Add(-fineStep)
			of = &methodHistory{[]moment{{before, &metrics.Totals{}}}, []tally{{before, counts{}}}}
			h.methods[m] = of
		}
		of.tallies = keep(of.tallies, tally{now, countsOf(m, t)}, perCoarse+1)
		of.note(now, t)
	}
}

// note keeps the totals of a method once a minute.
func (h *methodHistory) note(now time.Time, t *metrics.Totals) {
	last := h.moments[len(h.moments)-1]
	if len(h.moments) > 1 && now.Sub(last.at) < methodStep-fineStep/2 {
		return
	}
	if last.totals.Calls == t.Calls {
		t = last.totals
	} else {
		own := *t
		t = &own
	}
	h.moments = keep(h.moments, moment{now, t}, methodKept)
}

// method is what calls of a method were like in the last five minutes.
func (h *history) method(now time.Time, m *metrics.Method, t *metrics.Totals) status.MethodTraffic {
	from := h.methodAgo(now, m)
	l := t.Latencies
	l.Sub(&from.totals.Latencies)
	return status.MethodTraffic{
		Method:      m.Name(),
		TrafficData: traffic(now.Sub(from.at), countsOf(m, t).sub(countsOf(m, from.totals)), &l),
		LastMinute:  h.methodMinute(now, m, t),
	}
}

// methodMinute are the calls of a method in the last minute, which is as long as its
// tallies go back.
func (h *history) methodMinute(now time.Time, m *metrics.Method, t *metrics.Totals) status.CallCounts {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := tally{at: now.Add(-min(lastMinute, now.Sub(h.server.started)))}
	if of := h.methods[m]; of != nil && (of.tallies[0].counts.calls > 0 || now.Sub(of.tallies[0].at) >= lastMinute) {
		from = of.tallies[0]
	}
	return callCounts(now.Sub(from.at), countsOf(m, t).sub(from.counts))
}

// methodAgo is what had been counted of a method five minutes ago.
func (h *history) methodAgo(now time.Time, m *metrics.Method) moment {
	h.mu.Lock()
	defer h.mu.Unlock()
	nothing := moment{now.Add(-min(methodSpan, now.Sub(h.server.started))), &metrics.Totals{}}
	var kept []moment
	if of := h.methods[m]; of != nil {
		kept = of.moments
	}
	if len(kept) == 0 || kept[0].totals.Calls == 0 && now.Sub(kept[0].at) < methodSpan {
		return nothing // all its calls are of the last minutes
	}
	for _, k := range kept {
		if now.Sub(k.at) < methodSpan+methodSlack {
			return k
		}
	}
	return kept[len(kept)-1]
}
