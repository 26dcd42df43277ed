package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A ratio has moved when all of this is so:
//
//   - Its median has changed by more than leastMove. For what is counted rather than
//     timed, whose quartiles lie within exact of each other, leastCounted will do.
//   - It has changed by more than chance makes of two processes of the same program,
//     then or now: that is its control, of the same name but for what is after the
//     last slash, and the noise of the controls of all workloads.
//   - The quartiles of then and now do not overlap. Where they are of few values they
//     are widened, to where a median of so many may be.
//
// The last is stricter than what a test of medians from one run would ask for: what
// is measured again on another day, when the machine has other things to do, differs
// by more than the turns of one run do.
const (
	leastMove    = 0.05
	leastCounted = 0.01
	exact        = 0.002
)

// movement is what two sets of ratios differ in.
type movement struct {
	compared         int
	moved            []change           // the worst first
	unknown, missing []string           // that only one of both has; missing of parts that were measured
	noise            map[string]float64 // of figures where it is more than leastMove
}

type change struct {
	name    string
	was, is quartiles
}

// compare tells how ratios have moved since these.
func (r *ratiosFile) compare(now *ratiosFile) movement {
	m := movement{noise: map[string]float64{}}
	for _, name := range slices.Sorted(maps.Keys(now.Ratios)) {
		was, known := r.Ratios[name]
		if !known {
			m.unknown = append(m.unknown, name)
			continue
		}
		m.compared++
		if n := max(noise(r.Ratios, figureOf(name)), noise(now.Ratios, figureOf(name))); n > leastMove {
			m.noise[figureOf(name)] = n
		}
		row := change{name, was, now.Ratios[name]}
		if !isControl(name) && row.sure(max(chance(r.Ratios, name), chance(now.Ratios, name))) {
			m.moved = append(m.moved, row)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Ratios)) {
		if _, found := now.Ratios[name]; !found && now.wants(name) {
			m.missing = append(m.missing, name)
		}
	}
	slices.SortStableFunc(m.moved, func(a, b change) int { return cmp.Compare(b.by(), a.by()) })
	return m
}

// wants tells whether a ratio is one of those that were to be measured. A run that
// hurries leaves out how round_robin does with many instances.
func (r *ratiosFile) wants(name string) bool {
	part := partOf(name)
	hurried := r.Pairs < quickPairs && part == "client" && slices.Contains(strings.Split(name, "/"), fmt.Sprint(many))
	return slices.Contains(r.Parts, part) && !hurried
}

// partOf returns the part that has a ratio, or nothing.
func partOf(name string) string {
	_, pair := cutLast(name)
	of, _, _ := strings.Cut(pair, ":")
	switch first, _, _ := strings.Cut(name, "/"); first {
	case "cpu", "p50", "p99":
		if of == identity || of == nobodyAgain {
			return "identity"
		}
		return "calls"
	case "allocations", "bytes":
		return "allocations"
	case "rss", "size", "modules":
		return "weight"
	case "start", "plugin", "peers", "client", "operation":
		return first
	}
	return ""
}

func (m movement) worse() (n int) {
	for _, row := range m.moved {
		if row.by() > 0 {
			n++
		}
	}
	return n
}

// control returns how far the control of a ratio is from 1, and 0 where there is
// none. Of several it is the farthest.
func control(ratios map[string]quartiles, name string) (distance float64) {
	group, _ := cutLast(name)
	for other, q := range ratios {
		if of, _ := cutLast(other); of == group && isControl(other) {
			distance = max(distance, math.Abs(q.Median-1))
		}
	}
	return distance
}

// chance is how far two processes of the same program may differ in a ratio like
// this one.
func chance(ratios map[string]quartiles, name string) float64 {
	return max(control(ratios, name), noise(ratios, figureOf(name)))
}

// fewControls is below how many controls nothing is said of their noise. Start has a
// single one, and memory few: what is told of these is as sure as their quartiles and
// their own control, and no more.
const fewControls = 4

// noise is three standard deviations of what controls of a figure make of 1. It is
// taken from their median, since a single workload may have been disturbed.
func noise(ratios map[string]quartiles, figure string) float64 {
	var distances []float64
	for name, q := range ratios {
		if isControl(name) && figureOf(name) == figure {
			distances = append(distances, math.Abs(q.Median-1))
		}
	}
	if len(distances) < fewControls {
		return 0
	}
	return 3 * 1.48 * spreadOf(distances).Median
}

// figureOf is the first part of a name: what was measured. Where that is of
// something else than servers it has two.
func figureOf(name string) string {
	first, rest, _ := strings.Cut(name, "/")
	switch first {
	case "peers", "client", "operation", "plugin":
		second, _, _ := strings.Cut(rest, "/")
		return first + "/" + second
	}
	return first
}

// isControl tells whether a program is compared with a second process of itself.
func isControl(name string) bool {
	_, pair := cutLast(name)
	of, by, _ := strings.Cut(pair, ":")
	return of == by+" again"
}

// cutLast cuts at the last slash.
func cutLast(name string) (before, after string) {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)], name[i+1:]
}

// by is how much more it is now, as a part of what it was.
func (c change) by() float64 {
	if c.was.Median == 0 {
		return 0
	}
	return c.is.Median/c.was.Median - 1
}

// sure tells whether it has moved. slack is how far the control is from 1.
func (c change) sure(slack float64) bool {
	least := leastMove
	if c.was.counted() && c.is.counted() {
		least = leastCounted
	}
	wasLow, wasHigh := c.was.likely()
	low, high := c.is.likely()
	apart := low > wasHigh || high < wasLow
	return apart && math.Abs(c.by()) > max(least, slack)
}

// likely is where the median would be again: between the quartiles, and of few
// values farther away, as three times its standard error is.
func (q quartiles) likely() (low, high float64) {
	wider := max(0, 3/math.Sqrt(float64(max(q.N, 1)))-0.5) * (q.Q3 - q.Q1)
	return q.Q1 - wider, q.Q3 + wider
}

func (q quartiles) counted() bool { return q.Q3-q.Q1 <= exact*q.Median }

func (c change) verdict() string {
	word := "worse"
	if c.by() < 0 {
		word = "better"
	}
	return fmt.Sprintf("%s by %.1f %%", word, 100*math.Abs(c.by()))
}

// rounded has as many digits as a comparison needs.
func rounded(v float64) float64 { return math.Round(v*1e4) / 1e4 }
