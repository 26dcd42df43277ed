package main

import (
	"fmt"
	"maps"
	"slices"
)

// controls are what two processes of the same program differ by.
func (r *report) controls() map[string]spread {
	all := map[string]spread{}
	note := func(prefix string, k comparison, cells []*cell) {
		first := k.against[0].by
		for _, c := range cells {
			for what, of := range map[string]measure{"cpu": ofCPU, "p50": ofP50, "p99": ofP99} {
				if s := c.ratio(k.control, first, of); s.N > 0 {
					all[fmt.Sprintf("%s%s/%s/%d/%s/%s:%s", prefix, what, c.Kind, c.Concurrency, c.Security, k.control, first)] = s
				}
			}
		}
	}
	for _, k := range r.compared() {
		note("", k.comparison, k.cells)
	}
	note("peers/", ofPeers, r.Peers)
	for _, f := range r.Client {
		for _, n := range slices.Sorted(maps.Keys(f.Calls)) {
			if s := r.against(roundRobinAgain, roundRobin, f.Instances, n, cpuOfCalls); s.N > 0 {
				all[fmt.Sprintf("client/cpu/%s/%d/%d/%s:%s", unary, n, f.Instances, roundRobinAgain, roundRobin)] = s
			}
		}
	}
	for _, o := range r.Operation {
		if s := ratios(o.CPU[undisturbedAgain], o.CPU[undisturbed]); s.N > 0 {
			all[fmt.Sprintf("operation/cpu/%s/%s:%s", o.load(), undisturbedAgain, undisturbed)] = s
		}
	}
	for name, s := range r.weightOfControl() {
		if group, pair := cutLast(name); pair == ours+":"+bare && s.N > 0 {
			all[group+"/"+bareAgain+":"+bare] = s
		}
	}
	return all
}

// weightOfControl are the ratios of weight with the control in our place.
func (r *report) weightOfControl() map[string]spread {
	c := &report{Start: map[string][]float64{}, Weight: map[string]*weight{}}
	if start := r.Start[bareAgain]; start != nil {
		c.Start[ours], c.Start[bare] = start, r.Start[bare]
	}
	if w := r.Weight[bareAgain]; w != nil {
		c.Weight[ours], c.Weight[bare] = w, r.Weight[bare]
	}
	all := c.weightRatios()
	maps.Copy(all, c.startRatios())
	return all
}
