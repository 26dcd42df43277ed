package main

import (
	"fmt"
	"maps"
	"slices"
)

func (r *report) weightTable() *table {
	t := &table{
		title: fmt.Sprintf("RSS of a server that nobody calls: at rest with one connection, for each of %d connections more, and for each of %d streams by %d connections;"+
			" after the slash: divided by bare's", crowded.conns, crowded.streams, crowded.streamConns),
		columns: []string{"server", "idle MiB", "idle MiB, TLS", "KiB per connection", "KiB per connection, TLS", "KiB per stream", "runs"},
	}
	for _, name := range namesOf(r.Weight, weighed) {
		w, by := r.Weight[name], r.Weight[bare]
		t.add(
			name,
			against(w.Idle[inClear], by.Idle[inClear]),
			against(w.Idle[withTLS], by.Idle[withTLS]),
			against(w.Conn[inClear], by.Conn[inClear]),
			against(w.Conn[withTLS], by.Conn[withTLS]),
			against(w.Stream, by.Stream),
			len(w.Idle[inClear]),
		)
	}
	return t
}

// against shows values, and their ratio to others.
func against(of, by []float64) string {
	if len(of) == 0 {
		return "-"
	}
	return fmt.Sprintf("%v / %s", spreadOf(of), digits(ratios(of, by).Median))
}

// namesOf are the keys, those that are named in that order and the others after
// them.
func namesOf[V any](m map[string]V, first []string) []string {
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(name string) bool { return slices.Contains(first, name) })
	return slices.DeleteFunc(slices.Concat(first, others), func(name string) bool {
		_, ok := m[name]
		return !ok
	})
}

func (r *report) programTable() *table {
	t := &table{
		title:   "Programs: bare and " + ours + " are minimal servers; " + measured + " is bare that echoes and can be measured, as do and can the rows below it",
		columns: []string{"server", "stripped MiB", "against bare", "go build MiB", "against bare", "modules", "idle MiB", "against bare, MiB more"},
	}
	by := r.Programs[bare]
	for _, name := range namesOf(r.Programs, programNames()) {
		p := r.Programs[name]
		t.add(
			name,
			digits(mebi(p.Stripped)), digits(float64(p.Stripped)/float64(by.Stripped)),
			digits(mebi(p.Plain)), digits(float64(p.Plain)/float64(by.Plain)),
			p.Modules, spreadOf(p.Idle), differences(p.Idle, by.Idle),
		)
	}
	return t
}

func programNames() (names []string) {
	for _, st := range starters {
		names = append(names, st.name)
	}
	return names
}

// weightFaults tells why figures of peers are missing, or cannot be compared.
func (r *report) weightFaults() *table {
	t := &table{title: "What could not be weighed, or not by itself, or not at rest", columns: []string{"server", "why"}}
	for _, name := range namesOf(r.Weight, weighed) {
		for _, fault := range r.Weight[name].Faults {
			t.add(name, fault)
		}
		if n := r.Weight[name].Unsettled; n > 0 {
			t.add(name, restless(n))
		}
	}
	for _, name := range namesOf(r.Programs, programNames()) {
		if fault := r.Programs[name].Fault; fault != "" {
			t.add(name, fault)
		}
		if n := r.Programs[name].Unsettled; n > 0 {
			t.add(name, restless(n)+", alone")
		}
	}
	return t
}

// restless is said of figures that were taken too early.
func restless(n int) string {
	return fmt.Sprintf("%d figures were taken before its memory had come to rest, after %v", n, crowded.most)
}

// sixMB is what an idle server may have more than bare, in MiB.
const sixMB = 6e6 / (1 << 20)

// weightRatios are those of memory, size and start.
func (r *report) weightRatios() map[string]spread {
	all := map[string]spread{}
	note := func(what string, of, by []float64) { all[what+"/"+ours+":"+bare] = ratios(of, by) }
	if w, by := r.Weight[ours], r.Weight[bare]; w != nil && by != nil {
		for _, security := range []string{inClear, withTLS} {
			note("rss/idle/"+security, w.Idle[security], by.Idle[security])
			note("rss/connection/"+security, w.Conn[security], by.Conn[security])
		}
		note("rss/stream/"+inClear, w.Stream, by.Stream)
	}
	if p, by := r.Programs[ours], r.Programs[bare]; p != nil && by != nil {
		note("rss/minimal", p.Idle, by.Idle)
		note("size/stripped", []float64{float64(p.Stripped)}, []float64{float64(by.Stripped)})
		note("modules", []float64{float64(p.Modules)}, []float64{float64(by.Modules)})
	}
	return all
}

// weightGoals are those of what a server weighs, and of how soon it is there.
func (r *report) weightGoals() (list []goal) {
	if w, by, again := r.Weight[ours], r.Weight[bare], r.Weight[bareAgain]; w != nil && by != nil && again != nil {
		for _, security := range []string{inClear, withTLS} {
			list = append(list,
				goal{
					What: "RSS per idle connection against bare, " + security, AtMost: 1.05,
					Figure: ratios(w.Conn[security], by.Conn[security]), Control: ratios(again.Conn[security], by.Conn[security]),
				},
				goal{
					What: "RSS of the idle server, MiB more than bare, " + security, AtMost: sixMB, Difference: true,
					Figure: differences(w.Idle[security], by.Idle[security]), Control: differences(again.Idle[security], by.Idle[security]),
				})
		}
		list = append(list, goal{What: "RSS per idle stream against bare", AtMost: 1.1, Figure: ratios(w.Stream, by.Stream), Control: ratios(again.Stream, by.Stream)})
	}
	if p, by, again := r.Programs[ours], r.Programs[bare], r.Programs[bareAgain]; p != nil && by != nil && again != nil {
		one := func(v float64) spread { return spreadOf([]float64{v}) }
		list = append(list,
			goal{
				What: "RSS of the idle minimal server, MiB more than bare", AtMost: sixMB, Difference: true,
				Figure: differences(p.Idle, by.Idle), Control: differences(again.Idle, by.Idle),
			},
			goal{What: "minimal binary against bare, stripped", AtMost: 1.35, Exact: true, Figure: one(float64(p.Stripped) / float64(by.Stripped))},
			goal{What: "linked modules of the minimal server", AtMost: 20, Exact: true, Figure: one(float64(p.Modules))})
	}
	return list
}
