package routing

import (
	"math"
	"time"
)

// The rules by which instances that fail are left out for a while. The idea is
// that of gRFC A50; the rules are our own.
const (
	maxRun         = 5 // failures in a row
	window         = 10 * time.Second
	slots          = 5  // that the window is kept in
	enough         = 20 // calls in the window, to compare rates
	firstEjection  = time.Second
	maxEjection    = 30 * time.Second
	trials         = 3                // calls that must succeed after it
	trialPatience  = 10 * time.Second // for one of them
	forgetEjection = time.Minute      // without failing again
	mild           = 0.2              // rate of failures of one that may come back for a worse one
	muchWorse      = 0.3              // by how much that is worse
	chance         = 1e-9             // that is no excuse any more
	oftenLate      = 0.1              // of the calls to others, so that a trial may be
	remembered     = 128              // calls to an instance, for how often they are late
)

// outcome is what a call says about its instance.
type outcome int

const (
	unknown outcome = iota // nothing: it was cancelled, or did not get there
	fine                   // it works, whatever the status
	faulty                 // something is wrong with the instance or with the call
	broken                 // it does not work
	late                   // a deadline ended there: it does not work, or the call takes longer anywhere
)

// rate is calls and how many of them failed.
type rate struct{ calls, failed int }

func (r rate) add(o rate) rate { return rate{r.calls + o.calls, r.failed + o.failed} }

func (r rate) value() float64 { return float64(r.failed) / float64(max(1, r.calls)) }

// farAbove reports whether a rate of failures is far above that of others.
func (r rate) farAbove(others rate) bool {
	return r.calls >= enough && others.calls >= enough && r.value() > 3*others.value()+0.1
}

// tally is the last calls, and how many of them were late. It is kept by number and
// not by time, because there may be one such call in an hour.
type tally struct{ calls, late int }

func (t tally) add(o tally) tally { return tally{t.calls + o.calls, t.late + o.late} }

// count takes in a call.
func (t *tally) count(o outcome) {
	if t.calls++; o == late {
		t.late++
	}
	if t.calls >= remembered {
		t.calls, t.late = t.calls/2, t.late/2
	}
}

// share returns how likely a call is late. What nobody has seen may be.
func (t tally) share() float64 { return (float64(t.late) + 0.5) / float64(t.calls+1) }

// record is what is held against one instance. It knows no clock: the times are
// given to it, and do not go back. Its methods are not called concurrently.
type record struct {
	run    int   // failures in a row
	late   int   // of these
	last   tally // calls
	recent [slots]rate
	slot   int64     // the last one of recent that is in use
	began  time.Time // the first slot

	ejections int       // one after the other, each longer
	severity  float64   // the rate of failures that led to it; 1 after a failed trial
	until     time.Time // of the ejection; after it the instance is on trial
	returned  time.Time // from the last one
	passed    int       // calls of the trial
	trying    time.Time // when the last one began; zero for none
	streaming bool      // that is a stream
}

// out reports whether the instance is ejected or on trial.
func (r *record) out() bool { return !r.until.IsZero() }

// count takes in what came of a call.
func (r *record) count(now time.Time, o outcome) {
	r.turn(now)
	r.last.count(o)
	c := &r.recent[r.slot%slots]
	c.calls++
	if o == fine {
		r.run, r.late = 0, 0
		return
	}
	c.failed++
	switch o {
	case late:
		r.late++
		r.run++
	case broken:
		r.run++
	}
}

// turn forgets what is older than the window.
func (r *record) turn(now time.Time) {
	if r.began.IsZero() {
		r.began = now
	}
	slot := int64(now.Sub(r.began) / (window / slots))
	for n := max(r.slot, slot-slots); n < slot; {
		n++
		r.recent[n%slots] = rate{}
	}
	r.slot = max(r.slot, slot)
}

// recently returns the calls in the window.
func (r *record) recently(now time.Time) (all rate) {
	r.turn(now)
	for _, c := range r.recent {
		all = all.add(c)
	}
	return all
}

// bad reports whether the instance should be ejected, for how the calls to others
// go of late, and went the last times.
func (r *record) bad(now time.Time, others rate, last tally) bool {
	return r.tooMany(last) || r.recently(now).farAbove(others)
}

// tooMany reports whether too many calls failed in a row. Where only deadlines make
// it as many, these may be too short for the calls: then it takes as many as cannot be
// by chance, for how often calls to the others are late.
func (r *record) tooMany(others tally) bool {
	if r.run-r.late >= maxRun {
		return true
	}
	return r.run >= maxRun && math.Pow(others.share(), float64(min(r.run, remembered))) <= chance
}

// postpone ends a trial of which one does not know how it went.
func (r *record) postpone(now time.Time) {
	r.until, r.trying = now.Add(firstEjection), time.Time{}
}

// eject ejects the instance, for longer than before if that is not long ago.
func (r *record) eject(now time.Time) time.Duration {
	if !r.returned.IsZero() && now.Sub(r.returned) > forgetEjection {
		r.ejections = 0
	}
	d := min(maxEjection, firstEjection<<min(r.ejections, 10))
	r.ejections++
	r.severity = r.recently(now).value()
	r.until, r.passed, r.trying = now.Add(d), 0, time.Time{}
	return d
}

// worse reports whether the instance should be out in the place of one that is,
// for a rate of failures.
func (r *record) worse(now time.Time, severity float64) bool {
	rate := r.recently(now)
	return severity <= mild && rate.calls >= enough && rate.value() >= severity+muchWorse
}

// admit reports whether a call may go to the instance, which is out: whether it
// is on trial and no other call is. Then the call must be told to tried, unless
// the instance is back.
func (r *record) admit(now time.Time, stream bool) bool {
	if now.Before(r.until) {
		return false
	}
	if !r.trying.IsZero() {
		if now.Sub(r.trying) < trialPatience {
			return false
		}
		if r.streaming { // it goes on, which is all that one can ask of a stream
			r.passed++
		}
	}
	r.trying, r.streaming = now, stream
	if r.passed >= trials {
		r.giveBack(now)
	}
	return true
}

// tried takes in what came of a call of the trial, and reports whether the
// instance is back.
func (r *record) tried(now time.Time, o outcome) (back bool) {
	r.trying = time.Time{}
	switch o {
	case fine:
		r.passed++
	case faulty, broken, late:
		r.eject(now)
		r.severity = 1
	}
	if r.passed < trials || o != fine {
		return false
	}
	r.giveBack(now)
	return true
}

// giveBack ends the ejection and what led to it.
func (r *record) giveBack(now time.Time) {
	*r = record{ejections: r.ejections, returned: now, slot: r.slot, began: r.began}
}

// allowed is how many of the connected instances of a class may be out.
func allowed(connected int) int { return connected / 2 }
