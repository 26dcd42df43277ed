package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A process is flat in a quantity when the middle of the last third of its samples
// exceeds that of the first third by no more than allowed. The middle is the mean of
// the middle half: a process has more of most things while a server is replaced, and
// a median could be with that in one third, and without in the other. What was sampled
// in the first fifth of the run is left out: caches, pools and tables fill then.
const (
	warmUp       = 0.2
	leastSamples = 15 // that are not left out
	mostUnread   = 10 // seconds between two scrapes of the server
)

// quantity is one of which a process must not need more and more.
type quantity struct {
	name          string
	of            func(state) float64
	factor, fixed float64 // how much more is allowed: a part of the first, and this
}

var quantities = []quantity{
	{"RSS, MiB", func(s state) float64 { return s.RSS }, 0.10, 4},
	{"goroutines", func(s state) float64 { return s.Goroutines }, 0.05, 5},
	{"file descriptors", func(s state) float64 { return s.Descriptors }, 0.05, 3},
}

// processes are those that live long.
var processes = []struct {
	name string
	of   func(sample) state
}{
	{"server", func(s sample) state { return s.Server }},
	{"client", func(s sample) state { return s.Client }},
}

// trend is how a quantity of a process has changed.
type trend struct {
	Process, Quantity   string
	First, Last, AtMost float64
}

func (t trend) flat() bool { return t.Last <= t.AtMost }

func (t trend) String() string {
	return fmt.Sprintf("%s, %s: %.4g at first, %.4g at last, at most %.4g", t.Process, t.Quantity, t.First, t.Last, t.AtMost)
}

// judge finds out what grew and what else is wrong.
func (r *result) judge() {
	r.Trends, r.Wrong, r.slow = nil, nil, 0
	for _, reason := range slices.Sorted(maps.Keys(r.Failures)) {
		note := r.wrong
		if isLate(reason) {
			note = r.tooSlow
		}
		note("failed %d times: %s", r.Failures[reason], reason)
	}
	if due := float64(r.Rate) * r.Time.Seconds(); float64(r.Calls.sum()) < due/2 {
		r.tooSlow("there were %d calls, less than half of %.0f: the machine is too slow for the rate", r.Calls.sum(), due)
	}
	r.judgeAllDone()
	steady := afterWarmUp(r.Samples)
	if len(steady) < leastSamples {
		r.tooSlow("there are %d samples after the warm-up, less than %d: nothing can be said of them", len(steady), leastSamples)
		return
	}
	r.judgeTrends(steady)
}

// judgeAllDone finds out whether all has happened that had to.
func (r *result) judgeAllDone() {
	for _, kind := range kindNames() {
		if r.Calls[kind] == 0 {
			r.wrong("there was no call of the kind %q", kind)
		}
	}
	for _, what := range operationNames {
		if r.Operations[what] == 0 {
			r.wrong("there was no operation %q", what)
		}
	}
	if len(r.Restarts) == 0 {
		r.wrong("no server was restarted")
	}
}

func (r *result) judgeTrends(steady []sample) {
	unread := slices.MaxFunc(steady, func(a, b sample) int { return cmp.Compare(a.Unread, b.Unread) })
	if unread.Unread > mostUnread {
		r.tooSlow("after %.0f s the metrics of the server had not been read for %.0f s", unread.Seconds, unread.Unread)
	}
	for _, p := range processes {
		for _, q := range quantities {
			var values []float64
			for _, s := range steady {
				values = append(values, q.of(p.of(s)))
			}
			if slices.Min(values) <= 0 {
				r.wrong("%s, %s: there are none", p.name, q.name)
			}
			t := q.trend(values)
			t.Process = p.name
			if r.Trends = append(r.Trends, t); !t.flat() {
				r.wrong("grew: %v", t)
			}
		}
	}
}

func (r *result) wrong(format string, args ...any) {
	r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...))
}

// tooSlow notes what is wrong, but may be so because the machine was busy.
func (r *result) tooSlow(format string, args ...any) {
	r.wrong(format, args...)
	r.slow++
}

// isLate tells whether something has failed by its deadline alone.
func isLate(reason string) bool {
	return slices.ContainsFunc([]string{"DeadlineExceeded", "deadline exceeded", "Client.Timeout exceeded", "did not end in"}, func(late string) bool {
		return strings.Contains(reason, late)
	})
}

func afterWarmUp(samples []sample) []sample {
	if len(samples) == 0 {
		return nil
	}
	begin := warmUp * samples[len(samples)-1].Seconds
	i, _ := slices.BinarySearchFunc(samples, begin, func(s sample, at float64) int {
		if s.Seconds < at {
			return -1
		}
		return 1
	})
	return samples[i:]
}

// trend compares thirds of the values.
func (q quantity) trend(values []float64) trend {
	third := len(values) / 3
	first, last := middle(values[:third]), middle(values[len(values)-third:])
	return trend{Quantity: q.name, First: first, Last: last, AtMost: first*(1+q.factor) + q.fixed}
}

// middle is the mean of the middle half of the values.
func middle(values []float64) (mean float64) {
	v := slices.Sorted(slices.Values(values))
	v = v[len(v)/4 : len(v)-len(v)/4]
	for _, value := range v {
		mean += value / float64(len(v))
	}
	return mean
}
