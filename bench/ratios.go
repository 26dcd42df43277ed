package main

import "maps"

// ratioSources are what ratios of a report come from. Each part that has some
// adds its own. The names of ratios are fixed, since later reports are compared
// by them.
var ratioSources = []func(r *report) map[string]spread{
	(*report).callRatios,
	(*report).memoryRatios,
	(*report).clientRatios,
	(*report).operationRatios,
	(*report).weightRatios,
	(*report).pluginRatios,
}

// keyRatios are the ratios that tell whether something has become dearer, by what
// they are of, as
//
//	cpu/unary 100 B/16/plaintext/easyops:bare
//
// which is the CPU of a call: what of a server, the kind of call, how many at a
// time, security, and who is divided by whom. What was not measured is not there.
// Less is better for all of them.
func (r *report) keyRatios() map[string]spread {
	all := map[string]spread{}
	for _, of := range ratioSources {
		for name, s := range of(r) {
			if s.N > 0 {
				all[name] = s
			}
		}
	}
	return all
}

// callRatios are those of what calls cost. The names of those that peers have
// begin with peers/.
func (r *report) callRatios() map[string]spread {
	all := map[string]spread{}
	for _, k := range r.compared() {
		maps.Copy(all, k.comparison.ratios(k.cells))
	}
	for name, s := range ofPeers.ratios(r.Peers) {
		all["peers/"+name] = s
	}
	return all
}
