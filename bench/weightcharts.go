package main

import (
	"maps"

	"github.com/go-easyops/easyops/bench/chart"
)

// againstBare compares others with bare grpc-go in what they have values of.
func againstBare(what string, names []string, of func(name string) []float64) chart.Group {
	g := chart.Group{Name: what}
	for _, name := range names {
		if name != bare {
			g.Bars = append(g.Bars, barOf(name, ratios(of(name), of(bare)))...)
		}
	}
	return g
}

// weightCharts are of memory, and of programs.
func (r *report) weightCharts() map[string]chart.Bars {
	charts := r.programChart()
	maps.Copy(charts, r.weightChart())
	return charts
}

// weightChart is of memory.
func (r *report) weightChart() map[string]chart.Bars {
	b := chart.Bars{Title: "Memory of servers that nobody calls", Axis: timesBare, Reference: 1}
	if r.Weight[bare] == nil {
		return nil
	}
	names := oursFirst(namesOf(r.Weight, weighed), bareAgain)
	add := func(what string, of func(*weight) []float64) {
		b.Groups = append(b.Groups, againstBare(what, names, func(name string) []float64 {
			if w := r.Weight[name]; w != nil {
				return of(w)
			}
			return nil
		}))
	}
	for _, security := range []string{inClear, withTLS} {
		add("at rest, "+security, func(w *weight) []float64 { return w.Idle[security] })
		add("for each connection, "+security, func(w *weight) []float64 { return w.Conn[security] })
	}
	add("for each stream", func(w *weight) []float64 { return w.Stream })
	return map[string]chart.Bars{"memory": b}
}

// programChart is of start, size and modules.
func (r *report) programChart() map[string]chart.Bars {
	names := oursFirst(namesOf(r.Start, programNames()), bareAgain)
	b := chart.Bars{Title: "Start of servers, and what they are made of", Axis: timesBare, Reference: 1, Groups: []chart.Group{
		againstBare("process start to first answered call", names, func(name string) []float64 { return r.Start[name] }),
	}}
	names = oursFirst(namesOf(r.Programs, programNames()), measured)
	add := func(what string, of func(*program) float64) {
		b.Groups = append(b.Groups, againstBare(what, names, func(name string) []float64 {
			if p := r.Programs[name]; p != nil {
				return []float64{of(p)}
			}
			return nil
		}))
	}
	add("size, stripped", func(p *program) float64 { return float64(p.Stripped) })
	add("modules that are linked", func(p *program) float64 { return float64(p.Modules) })
	return map[string]chart.Bars{"programs": b}
}
