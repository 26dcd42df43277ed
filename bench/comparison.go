package main

import (
	"cmp"
	"fmt"
)

// comparison is of a server with others.
type comparison struct {
	of         string
	against    []bound
	control    string   // the first of the others once more: how far figures differ by chance
	contenders []string // in the order of their turns: those that are compared closest are neighbours
}

// bound is how much a small unary call should cost at most, as a part of what it
// costs by another server. Where nothing is aimed at it is 0.
type bound struct {
	by  string
	cpu float64 // of the server, for 16 and 128 calls at a time
	aim float64 // better still; without a bound, what is reported beside it
	p50 float64 // of calls one by one
	p99 float64

	only   string // the security of calls for which cpu is a bound; for the others it is an aim
	on     string // what is on there, but for identity
	caller string // how who calls is known there, where callers present a token; nothing: not
}

// in is the bound for calls of a security.
func (b bound) in(security string) bound {
	if b.only != "" && b.only != security {
		b.cpu, b.aim = 0, b.cpu
	}
	return b
}

// sides says what is on at each side, where these are not the same.
func (b bound) sides(security string) string {
	switch {
	case b.on == "":
		return ""
	case security != mutual:
		return fmt.Sprintf(" (both without identity; here all else, 1 of 100 calls logged and 50 a second at most; there %s)", b.on)
	default:
		return fmt.Sprintf(" (here everything, a cached token, 1 of 100 calls logged and 50 a second at most; there %s, %s)", b.on, cmp.Or(b.caller, "no identity"))
	}
}

var (
	ofAll = comparison{
		of: ours, control: bareAgain,
		against:    []bound{{by: bare, cpu: 0.90, aim: 0.80, p50: 1.03, p99: 1.05}, {by: tuned, cpu: 1.03}, {by: roomy}, {by: nobody}, {by: serveHTTP, cpu: 0.35}},
		contenders: []string{roomy, nobody, ours, tuned, bare, bareAgain, serveHTTP},
	}
	ofMutual = comparison{
		of: ours, control: bareAgain,
		against:    []bound{{by: bare, cpu: 0.92, p50: 1.03, p99: 1.05}, {by: tuned}},
		contenders: []string{ours, tuned, bare, bareAgain},
	}
	ofSameToken = comparison{
		of: ours, control: tunedPresentedAgain,
		against:    []bound{{by: tunedPresented, cpu: 1.03}, {by: barePresented, cpu: 0.90, aim: 0.80}},
		contenders: []string{ours, tunedPresented, barePresented, tunedPresentedAgain},
	}
	ofManyTokens = comparison{
		of: ours, control: bareAgain,
		against:    []bound{{by: bare, aim: 0.90}, {by: barePresented}},
		contenders: []string{ours, bare, barePresented, bareAgain},
	}
	ofIdentity = comparison{
		of: identity, against: []bound{{by: nobody, cpu: 1.03}}, control: nobodyAgain,
		contenders: []string{identity, nobody, nobodyAgain},
	}
)

// aimed are the bounds that there are, and what they are of.
func (b bound) aimed(c *cell) (list []aimed) {
	if c.Kind != unary {
		return nil
	}
	for _, a := range []aimed{
		{"server CPU per call", ofCPU, b.cpu, b.aim, isGoal(c)},
		{"p50", ofP50, b.p50, 0, c.Concurrency == 1},
		{"p99", ofP99, b.p99, 0, true},
	} {
		if a.here && (a.atMost != 0 || a.aim != 0) {
			list = append(list, a)
		}
	}
	return list
}

type aimed struct {
	what   string
	of     measure
	atMost float64
	aim    float64
	here   bool // it is set for calls like these
}

// goals are those of small unary calls. Each has beside it what the control makes
// of the same figure.
func (k comparison) goals(cells []*cell) (list []goal) {
	for _, c := range cells {
		for _, b := range k.against {
			b = b.in(c.Security)
			for _, a := range b.aimed(c) {
				list = append(list, goal{
					What:   fmt.Sprintf("%s against %s%s: %s", a.what, b.by, b.sides(c.Security), c),
					Figure: c.ratio(k.of, b.by, a.of), AtMost: a.atMost, Aim: a.aim,
					Control: c.ratio(k.control, k.against[0].by, a.of), Processes: c.processes(k.of), Fault: c.failed(k.of, b.by),
				})
			}
		}
	}
	return list
}

// ratios are those of CPU by all, and of what callers see by the first.
func (k comparison) ratios(cells []*cell) map[string]spread {
	all := map[string]spread{}
	for _, c := range cells {
		note := func(what, by string, of measure) {
			all[fmt.Sprintf("%s/%s/%d/%s/%s:%s", what, c.Kind, c.Concurrency, c.Security, k.of, by)] = c.ratio(k.of, by, of)
		}
		for _, b := range k.against {
			note("cpu", b.by, ofCPU)
		}
		note("p50", k.against[0].by, ofP50)
		note("p99", k.against[0].by, ofP99)
	}
	return all
}

// compared is what was measured for a comparison.
type compared struct {
	comparison
	cells []*cell
}

// callComparisons are those of calls. Calls with a certificate and a token are
// compared by themselves, and so are those where others are called with a token, too.
func (r *report) callComparisons() []compared {
	list := []compared{{ofAll, nil}, {ofMutual, nil}, {ofSameToken, nil}, {ofManyTokens, nil}}
	place := map[string]int{mutual: 1, sameToken: 2, manyTokens: 3}
	for _, c := range r.Calls {
		k := &list[place[c.Security]]
		k.cells = append(k.cells, c)
	}
	return list
}

func (r *report) identityComparisons() []compared { return []compared{{ofIdentity, r.Identity}} }

func (r *report) peerComparisons() []compared { return []compared{{ofPeers, r.Peers}} }

// compared are the comparisons of calls, but for those of peers.
func (r *report) compared() []compared {
	return append(r.callComparisons(), r.identityComparisons()...)
}

// tables are those of what was measured, or none.
func (k comparison) tables(cells []*cell) []*table {
	return []*table{k.ratioTable(cells), k.otherRatios(cells), k.callTable(cells)}
}

func (k comparison) ratioTable(cells []*cell) *table {
	first := k.against[0].by
	t := &table{
		title:   fmt.Sprintf("Server CPU per call: %s against the others, and %s against itself", k.of, first),
		columns: []string{"workload"},
	}
	for _, b := range k.against {
		t.columns = append(t.columns, b.by)
	}
	t.columns = append(t.columns, fmt.Sprintf("control: %s against %s", k.control, first))
	for _, c := range cells {
		row := []any{c}
		for _, b := range k.against {
			row = append(row, c.ratio(k.of, b.by, ofCPU))
		}
		t.add(append(row, c.ratio(k.control, first, ofCPU))...)
	}
	return t
}

func (k comparison) otherRatios(cells []*cell) *table {
	first := k.against[0].by
	t := &table{
		title: fmt.Sprintf("What callers see, and memory: %s divided by %s; after the slash %s divided by %[2]s. "+
			"Callers call again as soon as they have an answer: durations follow from how many calls there are, and are not those at a given rate", k.of, first, k.control),
		columns: []string{"workload", "RPS", "p50", "p99", "p99.9", "RSS"},
	}
	for _, c := range cells {
		row := []any{c}
		for _, m := range []measure{ofRPS, ofP50, ofP99, ofP999, ofRSS} {
			row = append(row, fmt.Sprintf("%v / %v", c.ratio(k.of, first, m), c.ratio(k.control, first, m)))
		}
		t.add(row...)
	}
	return t
}

func (k comparison) callTable(cells []*cell) *table {
	t := &table{
		title:   fmt.Sprintf("Calls of %s and others; p99.9 is of all turns of a process, where it is of %d calls or more; †: so many calls have failed that the others say nothing", k.of, tailCalls),
		columns: []string{"workload", "server", "CPU µs per call", "RPS", "p50 µs", "p99 µs", "p99.9 µs", "RSS MiB"},
	}
	for _, c := range cells {
		for _, name := range k.contenders {
			if f := c.Figures[name]; f != nil {
				if f.failing() > 0 {
					name += " †"
				}
				t.add(c, name, spreadOf(f.CPU), spreadOf(f.RPS), spreadOf(f.P50), spreadOf(f.P99), spreadOf(ofP999(f)), spreadOf(f.RSS))
			}
		}
	}
	return t
}
