package main

import (
	"fmt"
	"maps"
	"slices"

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

func (r *report) pluginChart() map[string]chart.Bars {
	b := chart.Bars{Title: "Plugins of protoc", Axis: "times " + grpcsOwn + ", median and quartiles; less is better", Reference: 1}
	by := r.Plugin[grpcsOwn]
	if by == nil {
		return nil
	}
	for _, what := range []struct {
		name string
		of   func(*effort) []float64
	}{
		{"wall time", func(e *effort) []float64 { return e.Wall }},
		{"CPU", func(e *effort) []float64 { return e.CPU }},
		{"peak memory", func(e *effort) []float64 { return e.Peak }},
	} {
		g := chart.Group{Name: what.name}
		for _, name := range oursFirst(slices.Sorted(maps.Keys(r.Plugin)), ourPlugin) {
			if e := r.Plugin[name]; e != nil && name != grpcsOwn {
				g.Bars = append(g.Bars, barOf(name, ratios(what.of(e), what.of(by)))...)
			}
		}
		b.Groups = append(b.Groups, g)
	}
	return map[string]chart.Bars{"plugin": b}
}

// clientChart compares clients with round_robin, for each list.
func (r *report) clientChart() map[string]chart.Bars {
	b := chart.Bars{Title: "Clients: CPU per call, and memory", Axis: "times " + roundRobin + ", median and quartiles; less is better", Reference: 1}
	var names []string
	for _, f := range r.Client {
		if !slices.Contains(names, f.Client) && f.Client != roundRobin {
			names = append(names, f.Client)
		}
	}
	names = oursFirst(names, roundRobinAgain)
	r.eachClient(func(f *clientFigures, n int) {
		if f.Client != roundRobin {
			return
		}
		g := chart.Group{Name: fmt.Sprintf("%s, concurrency %d, %d instances", unary, n, f.Instances)}
		for _, name := range names {
			g.Bars = append(g.Bars, barOf(name, r.against(name, roundRobin, f.Instances, n, cpuOfCalls))...)
		}
		b.Groups = append(b.Groups, g)
	})
	for _, by := range r.Client {
		if by.Client != roundRobin {
			continue
		}
		g := chart.Group{Name: fmt.Sprintf("RSS, %d instances", by.Instances)}
		for _, name := range names {
			if f := r.clientOf(name, by.Instances); f != nil {
				g.Bars = append(g.Bars, barOf(name, ratios(f.RSS, by.RSS))...)
			}
		}
		b.Groups = append(b.Groups, g)
	}
	return map[string]chart.Bars{"client": b}
}
