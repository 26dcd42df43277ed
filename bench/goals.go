package main

import (
	"fmt"
	"slices"
)

// goal is a bound that a figure should keep.
type goal struct {
	What    string
	Figure  spread
	AtMost  float64
	Aim     float64 `json:",omitempty"` // what would be better still; 0: nothing
	Control spread  `json:",omitzero"`  // the same figure of a server and itself: what chance makes of it
}

// holds tells whether the median keeps the bound.
func (g goal) holds() string {
	switch {
	case g.Figure.N == 0:
		return "not measured"
	case g.Figure.Median > g.AtMost:
		return "no"
	case g.Figure.Q3 > g.AtMost:
		return "yes, not in each quarter"
	default:
		return "yes"
	}
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
		list = append(list, goal{What: "allocations " + what, Figure: differences(of.Allocs, by.Allocs), AtMost: bound.allocs, Control: differences(control.Allocs, by.Allocs)})
		if bound.bytes {
			list = append(list, goal{What: "bytes " + what, Figure: differences(of.Bytes, by.Bytes), Control: differences(control.Bytes, by.Bytes)})
		}
	}
	return list
}

// isGoal tells whether bounds of CPU are set for a workload.
func isGoal(c *cell) bool {
	return c.Kind == unary && (c.Concurrency == 16 || c.Concurrency == 128)
}
