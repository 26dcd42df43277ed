package main

import (
	"slices"
	"strings"
	"testing"
)

func of(n int, values ...float64) spread { return spreadOf(slices.Repeat(values, n/len(values))) }

// A bound is kept only by enough values, farther from it than chance goes.
func TestHolds(t *testing.T) {
	for _, c := range []struct {
		name string
		goal goal
		want string
	}{
		{"nothing", goal{AtMost: 1}, "not measured"},
		{"one value", goal{AtMost: 0.9, Figure: of(1, 0.5)}, "too few: 1 values of 20"},
		{"one value too much", goal{AtMost: 0.9, Figure: of(1, 2)}, "too few: 1 values of 20"},
		{"19 values", goal{AtMost: 0.9, Figure: of(19, 0.5)}, "too few: 19 values of 20"},
		{"one that is counted", goal{AtMost: 20, Figure: of(1, 20), Exact: true}, "yes"},
		{"one too many that is counted", goal{AtMost: 20, Figure: of(1, 21), Exact: true}, "no"},
		{"20 values", goal{AtMost: 0.9, Figure: of(20, 0.9)}, "yes"},
		{"more", goal{AtMost: 0.9, Figure: of(20, 0.91)}, "no"},
		{"the two in the middle", goal{AtMost: 0.9, Figure: of(20, 0.89, 0.93)}, "no"},
		{"not all", goal{AtMost: 0.9, Figure: of(20, 0.8, 0.95, 0.8, 0.8)}, "yes"},
		{"not each quarter", goal{AtMost: 0.9, Figure: of(30, 0.8, 0.8, 0.95)}, "yes, not in each quarter"},
		{"a control that is sure", goal{AtMost: 0.9, Figure: of(20, 0.8), Control: of(20, 1.05)}, "yes"},
		{"a control that is not", goal{AtMost: 0.9, Figure: of(20, 0.89), Control: of(20, 1.3)}, "yes, within chance"},
		{"nor for more", goal{AtMost: 0.9, Figure: of(20, 0.91), Control: of(20, 0.97)}, "no, within chance"},
		{"a difference", goal{AtMost: 6, Figure: of(20, 5.5), Control: of(20, 0.1), Difference: true}, "yes"},
		{"a difference by chance", goal{AtMost: 6, Figure: of(20, 5.5), Control: of(20, -0.8), Difference: true}, "yes, within chance"},
		{"an aim alone", goal{Aim: 1, Figure: of(20, 1.24)}, "reported, above the aim"},
		{"an aim that is reached", goal{Aim: 1, Figure: of(20, 0.9)}, "reported, within the aim"},
		{"an aim of few values", goal{Aim: 1, Figure: of(2, 0.9)}, "too few: 2 values of 20"},
		{"not more", goal{Figure: of(20, 0)}, "yes"},
		{"calls that failed", goal{AtMost: 1, Figure: of(20, 0.5), Fault: "5 % of the calls to x failed"}, "not measured: 5 % of the calls to x failed"},
	} {
		if got := c.goal.holds(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What peers are compared by is a goal with everything on, and reported without.
// Who fails calls is not compared.
func TestPeerGoals(t *testing.T) {
	f := func(cpu float64, calls, errors int) *figures {
		return &figures{CPU: slices.Repeat([]float64{cpu}, leastValues), Process: []int{1, 2, 3}, Calls: calls, Errors: errors}
	}
	var cells []*cell
	for _, security := range []string{"plaintext", mutual} {
		cells = append(cells, &cell{workload{unary, 16}, security, map[string]*figures{
			ours: f(8, 1e6, 0), bare: f(10, 1e6, 0), bareAgain: f(10, 1e6, 0),
			"middleware": f(20, 1e6, 0), "middleware quiet": f(10, 1e6, 0), "kitex": f(6, 1e6, 0),
			"kratos": f(20, 999_000, 1_000), "gozero": f(20, 998_000, 2_000),
		}, nil})
	}
	holds := map[string]string{}
	for _, g := range ofPeers.goals(cells) {
		by, _, _ := strings.Cut(strings.TrimPrefix(g.What, "server CPU per call against "), " (")
		security := "plaintext"
		if strings.HasSuffix(g.What, mutual) {
			security = mutual
		}
		holds[by+", "+security] = g.holds()
		if g.Processes != 3 {
			t.Errorf("%s: it is of %d processes", g.What, g.Processes)
		}
		if known := strings.Contains(g.What, "a cached token"); known != (security == mutual) {
			t.Errorf("who calls is known: %v, in %q", known, g.What)
		}
	}
	for name, want := range map[string]string{
		"middleware, " + mutual: "yes", "middleware, plaintext": "reported, within the aim",
		"middleware quiet, " + mutual: "reported, above the aim", "kitex, plaintext": "reported, above the aim",
		"kratos, " + mutual: "yes", "connect, " + mutual: "not measured",
		"gozero, " + mutual: "not measured: 0.20 % of the calls to gozero failed",
	} {
		if holds[name] != want {
			t.Errorf("%s: %q, want %q", name, holds[name], want)
		}
	}
}
