package main

import (
	"fmt"
	"math"
	"slices"
)

// leastValues is of how many values a figure is at least, to keep a bound or not.
const leastValues = 20

// goal is a bound that a figure should keep. Where there is an aim alone, the
// figure is reported.
type goal struct {
	What      string
	Figure    spread
	AtMost    float64
	Aim       float64 `json:",omitempty"` // what would be better still; 0: nothing
	Control   spread  `json:",omitzero"`  // the same figure of a server and itself: what chance makes of it
	Processes int     `json:",omitempty"` // of which the values are, where they are of turns
	Fault     string  `json:",omitempty"` // why nothing can be said
	Exact     bool    `json:",omitempty"` // it is counted, and the same each time: few values will do

	Difference bool `json:",omitempty"` // it is a difference: that of a server and itself is 0, not 1
}

// reported tells whether there is no bound, but an aim.
func (g goal) reported() bool { return g.AtMost == 0 && g.Aim != 0 }

// holds tells whether the median keeps the bound.
func (g goal) holds() string {
	switch {
	case g.Fault != "":
		return "not measured: " + g.Fault
	case g.Figure.N == 0:
		return "not measured"
	case g.Figure.N < leastValues && !g.Exact:
		return fmt.Sprintf("too few: %d values of %d", g.Figure.N, leastValues)
	case g.reported() && g.Figure.Median > g.Aim:
		return "reported, above the aim"
	case g.reported():
		return "reported, within the aim"
	case g.Figure.Median > g.AtMost && g.byChance():
		return "no, within chance"
	case g.Figure.Median > g.AtMost:
		return "no"
	case g.byChance():
		return "yes, within chance"
	case g.Figure.Q3 > g.AtMost:
		return "yes, not in each quarter"
	default:
		return "yes"
	}
}

// byChance tells whether the figure is closer to the bound than the control is to
// what it would be without chance.
func (g goal) byChance() bool {
	if g.Control.N == 0 || g.Exact {
		return false
	}
	same := 1.0
	if g.Difference {
		same = 0
	}
	return math.Abs(g.Figure.Median-g.AtMost) < math.Abs(g.Control.Median-same)
}

// goals are those about which something was measured.
func (r *report) goals() (list []goal) {
	for _, k := range r.compared() {
		list = append(list, k.comparison.goals(k.cells)...)
	}
	return slices.Concat(list, ofPeers.goals(r.Peers), r.memoryGoals(), r.weightGoals(), r.pluginGoals(), r.tableGoals(), r.discoveryGoals(), r.transferGoals(), r.clientGoals(), r.operationGoals())
}

// memoryGoals are about what small unary calls allocate. Where a token is looked
// at, it is by who gets one and does not.
func (r *report) memoryGoals() (list []goal) {
	for _, bound := range []struct {
		of, by, control string
		allocs          float64
		bytes           bool // not more
	}{{ours, bare, bareAgain, 2, true}, {identity, barePresented, "", 2, true}, {identity, nobody, "", 1, false}} {
		of, by, control := r.memoryOf("Unary", bound.of), r.memoryOf("Unary", bound.by), r.memoryOf("Unary", bound.control)
		if of == nil || by == nil {
			continue
		}
		if control == nil {
			control = &memory{}
		}
		what := fmt.Sprintf("of a unary call of %s, more than %s", bound.of, bound.by)
		list = append(list, goal{
			What: "allocations " + what, Figure: differences(of.Allocs, by.Allocs), AtMost: bound.allocs,
			Control: differences(control.Allocs, by.Allocs), Exact: true, Difference: true,
		})
		if bound.bytes {
			list = append(list, goal{
				What: "bytes " + what, Figure: differences(of.Bytes, by.Bytes),
				Control: differences(control.Bytes, by.Bytes), Difference: true,
			})
		}
	}
	return list
}

// isGoal tells whether bounds of CPU are set for a workload.
func isGoal(c *cell) bool {
	return c.Kind == unary && (c.Concurrency == 16 || c.Concurrency == 128)
}
