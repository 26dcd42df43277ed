package main

import (
	"fmt"
	"slices"
	"time"
)

// cell is what was measured of one workload.
type cell struct {
	workload
	Security string
	Figures  map[string]*figures // by variant; the same index is the same turn
	Without  map[string]string   `json:",omitempty"` // why there are no figures of a variant
}

// String names the workload of a cell.
func (c *cell) String() string { return c.workload.String() + ", " + c.Security }

// figures are those of one variant, a value for each turn.
type figures struct {
	CPU, RPS, P50, P99, P999, RSS []float64 // µs a call, calls a second, µs, µs, µs, MiB

	Process []int  `json:",omitempty"` // of each turn: which of the processes had it. P999 has a value for each of these
	Calls   int    `json:",omitempty"` // that were answered, in all turns
	Errors  int    `json:",omitempty"` // of calls in all turns, where turns go on after errors
	Err     string `json:",omitempty"` // the first of these
}

// note adds a turn.
func (f *figures) note(before, after usage, o outcome) {
	f.CPU = append(f.CPU, micros(after.CPU-before.CPU)/float64(o.Calls))
	f.RPS = append(f.RPS, float64(o.Calls)/o.Elapsed.Seconds())
	f.P50 = append(f.P50, micros(o.P50))
	f.P99 = append(f.P99, micros(o.P99))
	f.P999 = append(f.P999, micros(o.P999))
	f.RSS = append(f.RSS, mebi(after.RSS))
	f.Calls += o.Calls
	if f.Errors += o.Errors; f.Err == "" {
		f.Err = o.Err
	}
}

// inProcess notes of which process the last turn was. Its p99.9 is that of all turns
// of the process so far, so of each process only the last is kept.
func (f *figures) inProcess(n int) {
	if was := len(f.Process); was > 0 && f.Process[was-1] == n {
		last := len(f.P999) - 1
		f.P999 = append(f.P999[:last-1], f.P999[last])
	}
	f.Process = append(f.Process, n)
}

// processes are how many had turns.
func (f *figures) processes() int { return len(slices.Compact(slices.Clone(f.Process))) }

// processes are how many of a variant had turns.
func (c *cell) processes(name string) int {
	if f := c.Figures[name]; f != nil {
		return f.processes()
	}
	return 0
}

// failing is the part of calls that have failed, where that is so much that other
// figures say nothing: those of calls that were refused are not those of calls.
func (f *figures) failing() float64 {
	if part := float64(f.Errors) / float64(max(1, f.Calls+f.Errors)); part > failingAtMost {
		return part
	}
	return 0
}

const failingAtMost = 0.001

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func mebi(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// measure is one of the lists of figures.
type measure func(f *figures) []float64

func ofCPU(f *figures) []float64 { return f.CPU }
func ofRPS(f *figures) []float64 { return f.RPS }
func ofP50(f *figures) []float64 { return f.P50 }
func ofP99(f *figures) []float64 { return f.P99 }
func ofRSS(f *figures) []float64 { return f.RSS }

// tailCalls is of how many calls a p99.9 is at least: ten of them took longer.
const tailCalls = 10_000

// ofP999 has no values where they would be of too few calls.
func ofP999(f *figures) []float64 {
	if f.Calls < tailCalls*len(f.P999) {
		return nil
	}
	return f.P999
}

// ratio divides what was measured of two variants. Where one of them was not
// measured, or its calls have failed, there are no values.
func (c *cell) ratio(of, by string, m measure) spread {
	a, b := c.Figures[of], c.Figures[by]
	if a == nil || b == nil || a.failing() > 0 || b.failing() > 0 {
		return spread{}
	}
	return ratios(m(a), m(b))
}

// failed says whose calls have failed, or nothing.
func (c *cell) failed(names ...string) string {
	for _, name := range names {
		if f := c.Figures[name]; f != nil && f.failing() > 0 {
			return fmt.Sprintf("%s %% of the calls to %s failed", digits(100*f.failing()), name)
		}
	}
	return ""
}

// leaveOut notes why a variant is not measured any more. What was measured of it
// before is gone too, since it would not be of the same turns.
func (c *cell) leaveOut(name, why string) {
	if c.Without == nil {
		c.Without = map[string]string{}
	}
	c.Without[name] = why
	delete(c.Figures, name)
}

// callsOf returns the part that measures the calls of groups.
func callsOf(groups func(dir string) ([]group, error), into func(*report) *[]*cell) func(settings, *report) error {
	return func(s settings, r *report) error {
		list, err := groups(s.dir)
		if err != nil {
			return err
		}
		return measureGroups(s, list, into(r))
	}
}

// measureGroups measures the calls of groups, one group after the other.
func measureGroups(s settings, list []group, into *[]*cell) error {
	progress("calls: about %v", estimate(s, list).Round(time.Second))
	for _, g := range list {
		cells, err := g.measureWorkloads(s)
		*into = append(*into, cells...) // what was measured before an error, too
		if err != nil {
			return err
		}
	}
	return nil
}

// slices are how often the load generator calls for the length of a turn: in the
// turn, in the tenth before it, and when processes warm up.
func (g group) slices(s settings) float64 {
	turns := s.pairs * g.turnsPerPair
	processes := (turns + g.turnsPerProcess - 1) / g.turnsPerProcess
	return (1.1*float64(turns) + float64(processes)) * float64(len(g.contenders)*len(g.workloads))
}

// lag is how long the load generator waits, in all turns and before them, for the
// calls that are in flight at the end. A call is taken to need 50 µs of the
// machine, one with many messages four times that.
func (g group) lag(s settings) (all time.Duration) {
	for _, w := range g.workloads {
		each := 50 * time.Microsecond
		if w.Kind == serverStream {
			each *= 4
		}
		all += each * time.Duration(2*w.Concurrency*s.pairs*g.turnsPerPair*len(g.contenders))
	}
	return all
}

// estimate is how long all calls of groups take.
func estimate(s settings, list []group) (all time.Duration) {
	for _, g := range list {
		all += time.Duration(g.slices(s)*float64(s.slice)) + g.lag(s)
	}
	return all
}

// measureWorkloads measures all workloads.
func (g group) measureWorkloads(s settings) (cells []*cell, err error) {
	for _, w := range g.workloads {
		cells = append(cells, g.newCell(w))
	}
	for from, all := 0, s.pairs*g.turnsPerPair; from < all; from += g.turnsPerProcess {
		to := min(all, from+g.turnsPerProcess)
		progress("calls: %s, turns %d to %d of %d", g.security, from+1, to, all)
		if err := g.measureTurns(s, cells, from, to); err != nil {
			return cells, fmt.Errorf("%s: %w", g.security, err)
		}
	}
	return cells, nil
}

func (g group) newCell(w workload) *cell {
	c := &cell{workload: w, Security: g.security, Figures: map[string]*figures{}}
	for _, name := range g.contenders {
		if why := g.without[name]; why != "" {
			c.leaveOut(name, why)
			continue
		}
		c.Figures[name] = &figures{}
	}
	return c
}
