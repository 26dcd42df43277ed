package main

import (
	"fmt"
	"strings"
	"time"
)

// markdown is the report for people: medians, quartiles in brackets.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, grpc-go %s, %s\n", r.Machine, r.Go, r.GRPC, r.Time.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "%d pairs, of calls %d turns of %v each%s; medians, and quartiles in brackets\n", r.Pairs, turnsPerPair, r.Slice, r.peerTurns())
	fmt.Fprintf(&b, "Whose turn it is changes by chance, of the seed %d. Turns of one process are not independent of each other: "+
		"processes are started anew after %d turns, of peers after %d.\n", orderSeed, turnsPerProcess, peerTurnsPerProcess)
	for _, t := range append(r.tables(), r.missingTable(), r.goalTable()) {
		t.write(&b)
	}
	return b.String()
}

// peerTurns says how long the turns of peers are, where they were measured.
func (r *report) peerTurns() string {
	if r.PeerSlice == 0 {
		return ""
	}
	return fmt.Sprintf(", of peers 1 turn of %v", r.PeerSlice.Round(time.Millisecond))
}

type table struct {
	title   string
	columns []string
	rows    [][]string
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

// write writes nothing where nothing was measured.
func (t *table) write(b *strings.Builder) {
	if len(t.rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n\n| %s |\n|%s\n", t.title, strings.Join(t.columns, " | "), strings.Repeat("---|", len(t.columns)))
	for _, row := range t.rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}

func (r *report) goalTable() *table {
	t := &table{title: "Goals", columns: []string{"goal", "at most", "measured", "holds", "control", "values"}}
	for _, g := range r.Goals {
		atMost := digits(g.AtMost)
		switch {
		case g.reported():
			atMost = "-, aimed at " + digits(g.Aim)
		case g.Aim != 0:
			atMost += ", better " + digits(g.Aim)
		}
		t.add(g.What, atMost, closer(g.Figure), cellText(g.holds()), closer(g.Control), g.values())
	}
	return t
}

// values says of how many the figure is.
func (g goal) values() string {
	if g.Processes == 0 {
		return fmt.Sprint(g.Figure.N)
	}
	return fmt.Sprintf("%d, of %d processes", g.Figure.N, g.Processes)
}

// closer has more digits than other figures, since it is compared.
func closer(s spread) string {
	if s.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%.4g (%.4g..%.4g)", s.Median, s.Q1, s.Q3)
}

// cellText is a text that may have lines and vertical bars in it, for a cell of a table.
func cellText(s string) string {
	s = strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "/")
	return s[:min(len(s), 200)]
}
