package main

import (
	"fmt"
	"maps"
	"slices"
)

// A process is flat in a quantity when the median of the last third of its samples
// exceeds that of the first third by no more than allowed. What was sampled in the
// first fifth of the run is left out: caches, pools and tables fill then.
const (
	warmUp       = 0.2
	leastSamples = 15 // that are not left out
)

// quantity is one of which a process must not need more and more.
type quantity struct {
	name          string
	of            func(state) float64
	factor, fixed float64 // how much more is allowed: a part of the first, and this
}

var quantities = []quantity{
	{"RSS, MiB", func(s state) float64 { return s.RSS }, 0.10, 4},
	{"goroutines", func(s state) float64 { return s.Goroutines }, 0.05, 10},
	{"file descriptors", func(s state) float64 { return s.Descriptors }, 0.05, 10},
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
	r.Trends, r.Wrong = nil, nil
	for _, reason := range slices.Sorted(maps.Keys(r.Failures)) {
		r.wrong("failed %d times: %s", r.Failures[reason], reason)
	}
	for _, kind := range kindNames() {
		if r.Calls[kind] == 0 {
			r.wrong("there was no call of the kind %q", kind)
		}
	}
	if due := float64(r.Rate) * r.Time.Seconds(); float64(r.Calls.sum()) < due/2 {
		r.wrong("there were %d calls, less than half of %.0f: the machine is too slow for the rate", r.Calls.sum(), due)
	}
	if len(r.Restarts) == 0 {
		r.wrong("no server was restarted")
	}
	steady := afterWarmUp(r.Samples)
	if len(steady) < leastSamples {
		r.wrong("there are %d samples after the warm-up, less than %d: nothing can be said of them", len(steady), leastSamples)
		return
	}
	for _, p := range processes {
		for _, q := range quantities {
			var values []float64
			for _, s := range steady {
				values = append(values, q.of(p.of(s)))
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
	first, last := median(values[:third]), median(values[len(values)-third:])
	return trend{Quantity: q.name, First: first, Last: last, AtMost: first*(1+q.factor) + q.fixed}
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return v[len(v)/2]
}
