package main

import (
	"fmt"
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
	for _, c := range r.Calls {
		if strings.HasPrefix(c.Workload, "stream") || strings.HasSuffix(c.Workload, " 1") {
			continue
		}
		cpu := func(name string) []float64 { return c.Figures[name].CPU }
		for _, bound := range []struct {
			by   string
			most float64
		}{{bare, 0.95}, {tuned, 1.05}, {serveHTTP, 0.35}} {
			what := fmt.Sprintf("server CPU per call against %s: %s", bound.by, c)
			list = append(list, goal{what, ratios(cpu(ours), cpu(bound.by)), bound.most})
		}
	}
	if m, by := r.Memory["Unary/"+ours], r.Memory["Unary/"+bare]; m != nil && by != nil {
		list = append(list, goal{"allocations of a unary call, more than bare", differences(m.Allocs, by.Allocs), 2})
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
	return list
}
