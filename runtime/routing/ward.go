package routing

import (
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// ward applies the rules about instances that fail to the connected ones of a
// class.
type ward struct {
	class  class
	roster *roster

	mu      sync.Mutex // taken before those of the members
	members []*member
}

// connected makes these the members. Where one is gone, others may have to come
// back, so that never more are out than may be.
func (w *ward) connected(members []*member, now time.Time) (news []notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members = members
	for w.outLocked() > w.roster.allowed(len(w.members)) {
		news = append(news, w.pardonLocked(w.mildestLocked(), now)...)
	}
	return news
}

// outLocked returns how many are out.
func (w *ward) outLocked() (n int) {
	for _, m := range w.members {
		if m.out.Load() {
			n++
		}
	}
	return n
}

// mildestLocked returns the one that is out for the least, or nil.
func (w *ward) mildestLocked() (mildest *member) {
	least := 0.0
	for _, m := range w.members {
		if severity, out := m.severity(); out && (mildest == nil || severity < least) {
			mildest, least = m, severity
		}
	}
	return mildest
}

func (m *member) severity() (severity float64, out bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.record.severity, m.record.out()
}

// pardonLocked takes an instance back, unless it is back already.
func (w *ward) pardonLocked(m *member, now time.Time) []notice {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.record.out() {
		return nil
	}
	m.record.giveBack(now)
	return []notice{w.backLocked(m)}
}

// backLocked is called with the lock of the member.
func (w *ward) backLocked(m *member) notice {
	m.out.Store(false)
	m.average = average{} // what it was before says nothing
	m.load.latency.Store(0)
	return notice{instance: m.instance.ID, peer: m.instance.Addr, class: w.class}
}

// admit asks whether a call may go to an instance that is out.
func (w *ward) admit(m *member, now time.Time, stream bool) bool {
	ok, news := m.admit(w, now, stream)
	w.roster.told.tell(news...)
	return ok
}

func (m *member) admit(w *ward, now time.Time, stream bool) (ok bool, news []notice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.record.out() || !m.record.admit(now, stream) {
		return false, nil
	}
	if !m.record.out() {
		news = append(news, w.backLocked(m))
	}
	return true, news
}

// done takes in what came of a call.
func (w *ward) done(m *member, now time.Time, r result) {
	r.excused = r.trial && r.outcome == late && w.oftenLate(m, now)
	bad, news := m.done(w, now, r)
	if bad {
		news = w.judge(m, now, r.err)
	}
	w.roster.told.tell(news...)
}

// done reports whether something is wrong with the instance that was not known.
func (m *member) done(w *ward, now time.Time, r result) (bad bool, news []notice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.lost {
		r.outcome = m.lose(now, r.took)
	}
	m.note(now, r)
	switch {
	case m.record.out() && r.trial && r.excused:
		m.record.postpone(now)
	case m.record.out() && r.trial:
		if m.record.tried(now, r.outcome) {
			news = append(news, w.backLocked(m))
		}
	case m.record.out(): // it began before the ejection
	case m.instance.Health == registry.Stopping: // it ends its streams, and goes by itself
	case r.outcome != unknown:
		m.record.count(now, r.outcome)
		bad = r.outcome != fine
	}
	return bad, news
}

// lose says what it says of the instance that a call was lost. Those that were under
// way together may be so by one event, such as the end of a process, which is one
// failure.
func (m *member) lose(now time.Time, took time.Duration) outcome {
	if now.Add(-took).Before(m.lost) {
		return unknown
	}
	m.lost = now
	return broken
}

// judge ejects the instance if it is bad and may be spared: if not too many are
// out, or it is much worse than one that is. A pause of this process, say, can look
// like failures of any.
func (w *ward) judge(m *member, now time.Time, err error) []notice {
	w.mu.Lock()
	defer w.mu.Unlock()
	most := w.roster.allowed(len(w.members))
	if most == 0 {
		return nil
	}
	var instead *member
	if w.outLocked() >= most {
		if instead = w.mildestLocked(); instead == nil {
			return nil // it is back just now
		}
	}
	news := m.eject(w, now, instead, err)
	if news != nil {
		news = append(news, w.pardonLocked(instead, now)...)
	}
	return news
}

// eject ejects the instance if it is bad, and much worse than the one in whose
// place, if any. It is called with the lock of the ward.
func (m *member) eject(w *ward, now time.Time, instead *member, err error) []notice {
	others, last := w.othersLocked(m, now)
	severity := 0.0
	if instead != nil {
		severity, _ = instead.severity()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.record.out() || !m.record.bad(now, others, last) || instead != nil && !m.record.worse(now, severity) {
		return nil
	}
	d := m.record.eject(now)
	m.out.Store(true)
	m.ejections++
	w.roster.ejections.Add(1)
	return []notice{{instance: m.instance.ID, peer: m.instance.Addr, class: w.class, err: err, duration: d}}
}

// othersLocked returns how the calls to the others go of late and went the last
// times, but for those that are out.
func (w *ward) othersLocked(but *member, now time.Time) (others rate, last tally) {
	for _, m := range w.members {
		if m != but && !m.out.Load() {
			m.mu.Lock()
			others, last = others.add(m.record.recently(now)), last.add(m.record.last)
			m.mu.Unlock()
		}
	}
	return others, last
}

// oftenLate reports whether calls to the others often are.
func (w *ward) oftenLate(but *member, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, last := w.othersLocked(but, now)
	return last.share() >= oftenLate
}

// fastest returns the lowest average latency of the members, 0 for not known.
func (w *ward) fastest() (low time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		if d := time.Duration(m.load.latency.Load()); d > 0 && (low == 0 || d < low) {
			low = d
		}
	}
	return low
}
