package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/bench/chart"
)

// saveCharts writes NAME-*.svg. What was not measured has no bars, and a chart without
// bars no file.
func (r *report) saveCharts(name string) error {
	for end, b := range r.charts() {
		if b.Groups = slices.DeleteFunc(b.Groups, func(g chart.Group) bool { return len(g.Bars) == 0 }); len(b.Groups) == 0 {
			continue
		}
		b.Description = described(b)
		if err := os.WriteFile(name+"-"+end+".svg", b.SVG(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// described says in words what bars show.
func described(b chart.Bars) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Medians, %s.", b.Axis)
	for _, g := range b.Groups {
		var bars []string
		for _, bar := range g.Bars {
			bars = append(bars, bar.Series+" "+digits(bar.Median))
		}
		fmt.Fprintf(&text, " %s: %s.", g.Name, strings.Join(bars, ", "))
	}
	return text.String()
}

const (
	timesBare   = "times bare grpc-go, median and quartiles; less is better"
	timesCommon = "ratio, median and quartiles; less is better"
)

// barOf is a bar, or none where nothing was measured.
func barOf(series string, s spread) []chart.Bar {
	if s.N == 0 {
		return nil
	}
	return []chart.Bar{{Series: series, Median: s.Median, Q1: s.Q1, Q3: s.Q3}}
}

// callChart compares servers with the first of them, which is not shown.
func callChart(title string, cells []*cell, of measure, names []string, by string, shown func(*cell) bool) chart.Bars {
	b := chart.Bars{Title: title, Axis: timesBare, Reference: 1}
	for _, c := range cells {
		if !shown(c) {
			continue
		}
		g := chart.Group{Name: c.String()}
		for _, name := range names {
			if name != by {
				g.Bars = append(g.Bars, barOf(name, c.ratio(name, by, of))...)
			}
		}
		b.Groups = append(b.Groups, g)
	}
	return b
}

// oursFirst has the servers in the order in which they are read.
func oursFirst(contenders []string, control string) []string {
	names := []string{ours, control}
	for _, name := range contenders {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (r *report) callCharts() map[string]chart.Bars {
	names := append(oursFirst(ofAll.contenders, ofAll.control), barePresented)
	return map[string]chart.Bars{
		"calls-cpu":     callChart("Server CPU per unary call", r.Calls, ofCPU, names, bare, isGoal),
		"calls-streams": callChart("Server CPU per stream of 100, and per round trip", r.Calls, ofCPU, names, bare, func(c *cell) bool { return c.Kind != unary }),
	}
}

// peerCharts show of the many workloads those that most servers have.
func (r *report) peerCharts() map[string]chart.Bars {
	names := oursFirst(ofPeers.contenders, ofPeers.control)
	of := func(kinds []kind, concurrency ...int) func(*cell) bool {
		return func(c *cell) bool {
			return slices.Contains(kinds, c.Kind) && slices.Contains(concurrency, c.Concurrency) && c.Security != "TLS"
		}
	}
	return map[string]chart.Bars{
		"peers-cpu":     callChart("Server CPU per unary call", r.Peers, ofCPU, names, bare, of([]kind{unary}, 16, 128)),
		"peers-streams": callChart("Server CPU per stream of 100, and per round trip", r.Peers, ofCPU, names, bare, of([]kind{serverStream, pingPong}, 128)),
		"peers-p99":     callChart("p99 of unary calls", r.Peers, ofP99, names, bare, of([]kind{unary}, 16, 128)),
	}
}

// ratioCharts show ratios in a chart for each first part of their names.
func ratioCharts(of func(*report) map[string]spread) func(*report) map[string]chart.Bars {
	return func(r *report) map[string]chart.Bars {
		all, charts := of(r), map[string]chart.Bars{}
		for _, name := range slices.Sorted(maps.Keys(all)) {
			group, pair := cutLast(name)
			first, rest, _ := strings.Cut(group, "/")
			rest = strings.ReplaceAll(rest, "/", ", ")
			if isControl(name) {
				continue
			}
			b, known := charts[first]
			if !known {
				b = chart.Bars{Title: strings.ToUpper(first[:1]) + first[1:], Axis: timesCommon, Reference: 1}
			}
			if n := len(b.Groups); n == 0 || b.Groups[n-1].Name != rest {
				b.Groups = append(b.Groups, chart.Group{Name: rest})
			}
			g := &b.Groups[len(b.Groups)-1]
			g.Bars = append(g.Bars, barOf(strings.Replace(pair, ":", " : ", 1), all[name])...)
			charts[first] = b
		}
		return charts
	}
}
