package main

import (
	"fmt"
	"slices"
	"strings"
)

// goal is a bound that a figure should keep.
type goal struct {
	What   string
	Figure spread
	AtMost float64
}

// holds tells whether the median keeps the bound.
func (g goal) holds() string {
	switch {
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
	list = append(ofAll.goals(r.Calls), ofIdentity.goals(r.Identity)...)
	for _, bound := range []struct {
		of, by string
		most   float64
	}{{ours, bare, 2}, {identity, nobody, 1}} {
		if m, by := r.Memory["Unary/"+bound.of], r.Memory["Unary/"+bound.by]; m != nil && by != nil {
			what := fmt.Sprintf("allocations of a unary call of %s, more than %s", bound.of, bound.by)
			list = append(list, goal{what, differences(m.Allocs, by.Allocs), bound.most})
		}
	}
	if len(r.Start) > 0 {
		list = append(list, goal{"start to first answer against bare", ratios(r.Start[ours], r.Start[bare]), 1.5})
	}
	if e, by := r.Plugin[ourPlugin], r.Plugin[grpcsOwn]; e != nil && by != nil {
		list = append(
			list,
			goal{"plugin's wall time against " + grpcsOwn, ratios(e.Wall, by.Wall), 0.85},
			goal{"plugin's peak memory against " + grpcsOwn, ratios(e.Peak, by.Peak), 1},
		)
	}
	return slices.Concat(list, r.tableGoals(), r.discoveryGoals(), r.transferGoals())
}

// goals are those of unary calls that are not one by one.
func (k comparison) goals(cells []*cell) (list []goal) {
	for _, c := range cells {
		if !isGoal(c) {
			continue
		}
		for _, bound := range k.against {
			if bound.atMost == 0 {
				continue
			}
			what := fmt.Sprintf("server CPU per call against %s: %s", bound.by, c)
			list = append(list, goal{what, ratios(c.Figures[k.of].CPU, c.Figures[bound.by].CPU), bound.atMost})
		}
	}
	return list
}

// isGoal tells whether bounds are set for a workload.
func isGoal(c *cell) bool {
	return !strings.HasPrefix(c.Workload, "stream") && !strings.HasSuffix(c.Workload, " 1")
}
