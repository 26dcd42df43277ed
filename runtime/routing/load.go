package routing

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// memoryOfLatency is how fast an average without news is forgotten, and what
	// is old counts less: by a factor of e in this time. So an instance that was
	// slow is tried again now and then.
	memoryOfLatency = 5 * time.Second
	// fewest is how many calls must have ended until the average counts: the first
	// ones are slow on any instance.
	fewest = 16
	// most is how many calls the average is over, at most.
	most = 64
	// noise is a latency that says more about the network and the scheduler than
	// about an instance.
	noise = 5 * time.Millisecond
	// spike is how many times as long as the average a call may take to count in
	// full: a single one that met a pause says little.
	spike = 4
	// alike is by which factor latencies must differ to count at all.
	alike = 2
)

// average is a moving average of the latency of unary calls. Its methods are not
// called concurrently; the times do not go back.
type average struct {
	value time.Duration
	calls int
	at    time.Time // of the last call
}

// add takes in how long a call took.
func (a *average) add(now time.Time, took time.Duration) {
	a.calls++
	took = min(took, spike*(a.value+noise))
	weight := 1 / float64(min(a.calls, most))
	if since := now.Sub(a.at); since > memoryOfLatency/most { // else it is less anyway
		weight = max(weight, 1-decay(since))
	}
	a.value += time.Duration(weight * float64(took-a.value))
	a.at = now
}

// atLeast takes in a call that had no answer: how long one takes is not known,
// but that it takes longer.
func (a *average) atLeast(now time.Time, waited time.Duration) {
	if waited > a.value {
		a.add(now, waited)
	}
}

func decay(d time.Duration) float64 { return math.Exp(-float64(d) / float64(memoryOfLatency)) }

// workload is what a Conn has under way at an instance, and how long it takes there.
// All of it may be read at any time.
type workload struct {
	unary   atomic.Int64 // calls under way
	streams atomic.Int64
	latency atomic.Int64 // the average, in ns; 0 while it does not count
	at      atomic.Int64 // when that was, as ticks has it
	quiet   atomic.Int64 // since when no unary call has ended, or none was under way
}

var started = time.Now()

// ticks returns a time in ns, by a clock that does not go back when the one on the
// wall is set.
func ticks(t time.Time) int64 { return int64(t.Sub(started)) }

// clock returns the time by that clock alone, which is half the work of time.Now.
// What it says of the one on the wall is wrong once that was set.
func clock() time.Time { return started.Add(time.Since(started)) }

// set tells of a new average.
func (l *workload) set(a *average) {
	if a.calls >= fewest {
		l.at.Store(ticks(a.at))
		l.latency.Store(int64(a.value))
	}
}

// expected returns the latency that a call has to expect, in ns; 0 for not known.
// Where several calls wait and none ends, it is as long at least as that lasts: so
// a black hole is noticed before a call gives up.
func (l *workload) expected(now time.Time) float64 {
	latency, ns := float64(l.latency.Load()), ticks(now)
	if latency > float64(noise) { // others are not told from each other anyway
		latency *= decay(time.Duration(max(0, ns-l.at.Load())))
	}
	if l.unary.Load() >= 2 {
		if quiet := float64(ns - l.quiet.Load()); quiet > max(latency, float64(noise)) {
			latency = quiet
		}
	}
	if latency == 0 {
		return 0
	}
	return latency + float64(noise)
}

// under returns how many calls of a kind are under way.
func (l *workload) under(stream bool) int64 {
	if stream {
		return l.streams.Load()
	}
	return l.unary.Load()
}

// begin and end count a call.
func (l *workload) begin(stream bool, now time.Time) {
	if stream {
		l.streams.Add(1)
	} else if l.unary.Add(1) == 1 {
		l.quiet.Store(ticks(now))
	}
}

func (l *workload) end(stream bool, now time.Time) {
	if stream {
		l.streams.Add(-1)
	} else {
		l.unary.Add(-1)
		l.quiet.Store(ticks(now))
	}
}

// compare says which of two instances has less to do, by the calls under way,
// each weighed with what a call takes there: less than 0 for a, 0 for alike.
// Streams count apart from unary calls, because most of them wait.
func compare(a, b *workload, stream bool, now time.Time) int {
	costA, costB := float64(a.under(stream)+1), float64(b.under(stream)+1)
	if la, lb := a.expected(now), b.expected(now); la > 0 && lb > 0 && (la > alike*lb || lb > alike*la) {
		costA, costB = costA*la, costB*lb
	}
	switch {
	case costA < costB:
		return -1
	case costA > costB:
		return 1
	}
	return 0
}
