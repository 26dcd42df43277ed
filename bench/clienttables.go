package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-easyops/easyops/bench/chart"
)

// clientCPU is how much of the client's CPU a call by easyops should cost at most,
// as a part of what it costs by round_robin with as many connections.
const clientCPU = 1.1

// clientOf returns the figures of a client, or nil.
func (r *report) clientOf(name string, instances int) *clientFigures {
	for _, f := range r.Client {
		if f.Client == name && f.Instances == instances {
			return f
		}
	}
	return nil
}

// against returns how two clients compare by a figure of their calls. Where one of
// them was not measured, it has no values.
func (r *report) against(of, by string, instances, concurrency int, figure func(*clientCalls) []float64) spread {
	a, b := r.clientOf(of, instances), r.clientOf(by, instances)
	if a == nil || b == nil || a.Calls[concurrency] == nil || b.Calls[concurrency] == nil {
		return spread{}
	}
	return ratios(figure(a.Calls[concurrency]), figure(b.Calls[concurrency]))
}

func cpuOfCalls(c *clientCalls) []float64    { return c.CPU }
func allocsOfCalls(c *clientCalls) []float64 { return c.Allocs }
func bytesOfCalls(c *clientCalls) []float64  { return c.Bytes }

// eachClient calls f for each client, list and number of calls in flight.
func (r *report) eachClient(f func(c *clientFigures, concurrency int)) {
	for _, c := range r.Client {
		for _, n := range slices.Sorted(maps.Keys(c.Calls)) {
			f(c, n)
		}
	}
}

func (r *report) clientTable() *table {
	t := &table{
		title: fmt.Sprintf("Clients: what a call costs the client, %s, plaintext, with as many connections as each keeps of its own accord", unary),
		columns: []string{
			"client", "instances", "in flight", "CPU µs per call", "against " + roundRobin,
			"allocations", "bytes", "calls a second",
		},
	}
	r.eachClient(func(f *clientFigures, n int) {
		c := f.Calls[n]
		t.add(
			f.Client, f.Instances, n, spreadOf(c.CPU), r.against(f.Client, roundRobin, f.Instances, n, cpuOfCalls),
			spreadOf(c.Allocs), spreadOf(c.Bytes), spreadOf(c.RPS),
		)
	})
	return t
}

func (r *report) clientMemoryTable() *table {
	t := &table{
		title:   "Clients at rest, with as many connections as each keeps",
		columns: []string{"client", "instances", "RSS MiB", "heap MiB", "CPU ms until at rest", "processes"},
	}
	for _, f := range r.Client {
		settling := spreadOf(f.Settling).String()
		if f.Unsettled > 0 {
			settling += fmt.Sprintf(", not at rest in %d of %d", f.Unsettled, len(f.RSS))
		}
		t.add(f.Client, f.Instances, spreadOf(f.RSS), spreadOf(f.Heap), settling, len(f.RSS))
	}
	return t
}

func (r *report) picksTable() *table {
	t := &table{
		title:   "Pickers alone: choosing an instance, and the end of the call",
		columns: []string{"client", "instances", "connected", "CPU ns each", "where all processors choose", "a second, of one processor", "allocations", "runs"},
	}
	for _, f := range r.Picks {
		t.add(f.Client, f.Instances, f.Connected, spreadOf(f.Alone), spreadOf(f.Together), spreadOf(f.PerSecond), spreadOf(f.Mallocs), len(f.Alone))
	}
	return t
}

// clientGoals are about easyops beside round_robin, with connections to as many.
func (r *report) clientGoals() (list []goal) {
	const instances = 10
	f := r.clientOf(ours, instances)
	if f == nil {
		return nil
	}
	for _, n := range slices.Sorted(maps.Keys(f.Calls)) {
		list = append(list, goal{
			What:   fmt.Sprintf("client CPU per call against %s: %s, concurrency %d, %d instances", roundRobin, unary, n, instances),
			Figure: r.against(ours, roundRobin, instances, n, cpuOfCalls), AtMost: clientCPU,
			Control: r.against(roundRobinAgain, roundRobin, instances, n, cpuOfCalls),
		})
	}
	return list
}

// clientRatios are named such as client/cpu/unary 100 B/16/10/easyops:round_robin,
// where 10 is how many instances there are.
func (r *report) clientRatios() map[string]spread {
	all := map[string]spread{}
	r.eachClient(func(f *clientFigures, n int) {
		if f.Client != ours {
			return
		}
		for what, figure := range map[string]func(*clientCalls) []float64{"cpu": cpuOfCalls, "allocations": allocsOfCalls, "bytes": bytesOfCalls} {
			name := fmt.Sprintf("client/%s/%s/%d/%d/%s:%s", what, unary, n, f.Instances, ours, roundRobin)
			all[name] = r.against(ours, roundRobin, f.Instances, n, figure)
		}
	})
	for _, f := range r.Client {
		if by := r.clientOf(roundRobin, f.Instances); f.Client == ours && by != nil {
			all[fmt.Sprintf("client/RSS/%d/%s:%s", f.Instances, ours, roundRobin)] = ratios(f.RSS, by.RSS)
		}
	}
	return all
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
