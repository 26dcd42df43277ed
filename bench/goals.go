package main

import (
	"fmt"
	"math"
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

// isGoal tells whether bounds of CPU are set for a workload.
func isGoal(c *cell) bool {
	return c.Kind == unary && (c.Concurrency == 16 || c.Concurrency == 128)
}
