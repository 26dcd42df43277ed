package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMoved(t *testing.T) {
	at := func(v float64) quartiles { return quartiles{0.97 * v, v, 1.03 * v, 40} }
	wide := func(v float64) quartiles { return quartiles{0.85 * v, v, 1.15 * v, 40} }
	few := func(v float64) quartiles { return quartiles{0.97 * v, v, 1.03 * v, 4} }
	counted := func(v float64) quartiles { return quartiles{v, v, v, 10} }
	for _, c := range []struct {
		name          string
		was, is       quartiles
		before, after quartiles // of the control
		verdict       string
	}{
		{"the same", at(0.7), at(0.7), at(1), at(1), ""},
		{"less than leastMove", counted(1), at(1.045), at(1), at(1), ""},
		{"worse", at(0.7), at(0.8), at(1), at(1), "worse by 14.3 %"},
		{"better", at(0.8), at(0.7), at(1), at(1), "better by 12.5 %"},
		{"wide before", wide(0.7), at(0.8), at(1), at(1), ""},
		{"wide now", at(0.7), wide(0.8), at(1), at(1), ""},
		{"wide, and far away", wide(0.7), wide(1), at(1), at(1), "worse by 42.9 %"},
		{"the control was as far from 1", at(0.7), at(0.8), at(1.15), at(1), ""},
		{"the control is as far from 1", at(0.7), at(0.8), at(1), at(0.85), ""},
		{"the control is nearer", at(0.7), at(0.8), at(1.05), at(0.95), "worse by 14.3 %"},
		{"worse, of few values", few(0.7), few(0.8), at(1), at(1), ""},
		{"far worse, of few values", few(0.7), few(1), at(1), at(1), "worse by 42.9 %"},
		{"counted, and two more of 150", counted(1), counted(1.0133), at(1), at(1), "worse by 1.3 %"},
		{"counted, and one more of 150", counted(1), counted(1.0067), at(1), at(1), ""},
	} {
		const name, beside = "cpu/unary 100 B/16/plaintext/easyops:bare", "cpu/unary 100 B/16/plaintext/bare again:bare"
		kept := &ratiosFile{Ratios: map[string]quartiles{name: c.was, beside: c.before}}
		m := kept.compare(&ratiosFile{Ratios: map[string]quartiles{name: c.is, beside: c.after}})
		verdict := ""
		for _, row := range m.moved {
			verdict += row.verdict()
		}
		if m.compared != 2 || verdict != c.verdict {
			t.Errorf("%s: %d compared, %q, want %q", c.name, m.compared, verdict, c.verdict)
		}
	}
}

// Runs of the same differ by chance, which is told of one in 400 at most; that the
// code needs a sixth more is told of all others.
func TestMovedByChance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	run := func(median, spread float64) *ratiosFile {
		var of, control []float64
		for range 32 {
			of = append(of, median*(1+spread*random.NormFloat64()))
			control = append(control, 1+spread*random.NormFloat64())
		}
		q := func(values []float64) quartiles { s := spreadOf(values); return quartiles{s.Q1, s.Median, s.Q3, s.N} }
		return &ratiosFile{Ratios: map[string]quartiles{"a/easyops:bare": q(of), "a/bare again:bare": q(control)}}
	}
	const runs = 2_000
	for _, c := range []struct {
		now         float64
		least, most int
	}{{0.7, 0, runs / 400}, {0.7 * 7 / 6, runs - runs/400, runs}} {
		moved := 0
		for range runs {
			moved += len(run(0.7, 0.06).compare(run(c.now, 0.06)).moved)
		}
		if moved < c.least || moved > c.most {
			t.Errorf("from 0.7 to %.2f, %d of %d runs have moved", c.now, moved, runs)
		}
	}
}

// Where the controls of many workloads are far from 1, so may a ratio be whose own
// control is not.
func TestNoise(t *testing.T) {
	const cpu, peers = "cpu/1/easyops:bare", "peers/cpu/1/easyops:bare"
	of := func(ratio, control float64) *ratiosFile {
		r := &ratiosFile{Ratios: map[string]quartiles{
			cpu: {ratio, ratio, ratio, 40}, "cpu/1/bare again:bare": {1, 1, 1, 40},
			peers: {ratio, ratio, ratio, 40}, "peers/cpu/1/bare again:bare": {1, 1, 1, 40},
		}}
		for i := range 8 {
			v := 1 + control*float64(1-i%2*2)
			r.Ratios[fmt.Sprintf("cpu/more %d/bare again:bare", i)] = quartiles{v, v, v, 40}
		}
		return r
	}
	for _, c := range []struct {
		before, after float64
		moved         []string
	}{{0.01, 0.01, []string{cpu, peers}}, {0.1, 0.01, []string{peers}}, {0.01, 0.1, []string{peers}}} {
		m := of(0.7, c.before).compare(of(0.8, c.after))
		var names []string
		for _, row := range m.moved {
			names = append(names, row.name)
		}
		slices.Sort(names)
		if !slices.Equal(names, c.moved) {
			t.Errorf("controls %v and %v from 1: %q have moved, want %q", c.before, c.after, names, c.moved)
		}
		if noisy := len(m.noise) > 0; noisy != (c.before+c.after > 0.1) {
			t.Errorf("controls %v and %v from 1: the noise is %v", c.before, c.after, m.noise)
		}
	}
}

func TestTellMoved(t *testing.T) {
	q := quartiles{0.5, 0.5, 0.5, 10}
	one, other := map[string]quartiles{"start/a:b": q}, map[string]quartiles{"start/a:b": {1, 1, 1, 10}}
	more, fresh := map[string]quartiles{"start/a:b": q, "start/gone:b": q}, map[string]quartiles{"start/a:b": q, "start/new:b": q}
	both := map[string]quartiles{"start/a:b": q, "peers/cpu/x/a:b": q, "client/cpu/16/10000/a:b": q}
	for _, test := range []struct {
		was, is map[string]quartiles
		wants   []string
		fault   string
	}{
		{more, more, []string{"Nothing moved, of 2 ratios."}, ""},
		{one, fresh, []string{"New, and not kept yet:\n  start/new:b\n", "Nothing moved, of 1 ratios."}, ""},
		{more, fresh, []string{"Kept, and not found by what was measured now:\n  start/gone:b\n"}, "1 that are kept were to be measured, and are missing"},
		{more, other, []string{"worse by 100.0 %"}, "of 1 ratios 1 are worse\n1 that are kept were to be measured, and are missing"},
		{one, other, []string{"| start/a:b | 0.5 (0.5..0.5) | 1 (1..1) | worse by 100.0 % |"}, "of 1 ratios 1 are worse"},
		{other, one, []string{"| start/a:b | 1 (1..1) | 0.5 (0.5..0.5) | better by 50.0 % |"}, ""},
		{both, one, []string{"Nothing moved, of 1 ratios."}, ""}, // of parts that were not measured, or not with so many
		{more, nil, nil, "no ratio that is kept was measured"},
	} {
		var out strings.Builder
		err := (&ratiosFile{Ratios: test.was}).compare(&ratiosFile{Ratios: test.is, Pairs: 3, Parts: []string{"start", "client"}}).tell(&out)
		if fault := fmt.Sprint(err); err == nil && test.fault != "" || err != nil && fault != test.fault {
			t.Errorf("error %v, want %q", err, test.fault)
		}
		for _, want := range test.wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("there is no %q in %s", want, out.String())
			}
		}
	}
}

// A client of many instances is missed by a run that has the time for it.
func TestWants(t *testing.T) {
	for _, c := range []struct {
		name  string
		pairs int
		wants bool
	}{
		{"client/cpu/unary 100 B/16/10000/easyops:round_robin", quickPairs, true},
		{"client/cpu/unary 100 B/16/10000/easyops:round_robin", quickPairs - 1, false},
		{"client/cpu/unary 100 B/16/1000/easyops:round_robin", quickPairs - 1, true},
		{"cpu/unary 100 B/16/plaintext/easyops:bare", 3, false},
		{"no such part/easyops:bare", 3, false},
	} {
		if r := (&ratiosFile{Pairs: c.pairs, Parts: []string{"client"}}); r.wants(c.name) != c.wants {
			t.Errorf("with %d pairs %q is wanted: %v", c.pairs, c.name, !c.wants)
		}
	}
}

// What store keeps, check compares with.
func TestStoreAndCheck(t *testing.T) {
	dir := t.TempDir()
	result, kept := filepath.Join(dir, "result"), filepath.Join(dir, "ratios.json")
	save := func(ms float64) {
		t.Helper()
		r := newReport(settings{pairs: 3, only: []string{"start"}})
		r.Start = map[string][]float64{ours: {ms, ms, ms}, bare: {10, 10, 10}}
		if err := r.save(result); err != nil {
			t.Fatal(err)
		}
	}
	save(7)
	if names := newReport(settings{}).keyRatios(); len(names) != 0 {
		t.Errorf("a report of nothing has ratios: %v", names)
	}
	if err := check([]string{"-ratios=" + kept, "-result=" + result + ".json"}); err == nil || !strings.Contains(err.Error(), "bench store") {
		t.Errorf("without kept ratios: %v", err)
	}
	if err := store([]string{"-ratios=" + kept, result + ".json"}); err != nil {
		t.Fatal(err)
	}
	if err := check([]string{"-ratios=" + kept, "-result=" + result + ".json"}); err != nil {
		t.Errorf("compared with itself: %v", err)
	}
	save(9)
	if err := check([]string{"-ratios=" + kept, "-result=" + result + ".json"}); err == nil || !strings.Contains(err.Error(), "worse") {
		t.Errorf("where it takes longer: %v", err)
	}
	text, err := os.ReadFile(kept)
	if err != nil || strings.Count(string(text), `"start/easyops:bare": "0.7 0.7 0.7 3"`) != 1 || !strings.Contains(string(text), `"start"`) {
		t.Errorf("kept is %s, error %v", text, err)
	}
	if err := os.WriteFile(kept, []byte(strings.Replace(string(text), `"0.7 0.7 0.7 3"`, `"0.7 x"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check([]string{"-ratios=" + kept, "-result=" + result + ".json"}); err == nil {
		t.Error("what is no ratio is read as one")
	}
}

// A check measures parts that there are.
func TestCheckArgs(t *testing.T) {
	s, err := parseSettings(append(slices.Clone(checkArgs), "-out="+filepath.Join(t.TempDir(), "x")))
	if err != nil || strings.Join(s.only, ",") != checkParts {
		t.Errorf("it measures %v, error %v", s.only, err)
	}
	if s.startsPeers() != true {
		t.Error("whoever weighs does not start peers")
	}
	if s.short = true; s.startsPeers() {
		t.Error("it starts peers")
	}
	if of := s.of("weight"); of.pairs != shortPairs || s.of("calls").pairs != s.pairs || s.pairs <= shortPairs {
		t.Errorf("of %d pairs there are %d of what takes long", s.pairs, of.pairs)
	}
	s.pairs = 1
	if of := s.of("weight"); of.pairs != 1 {
		t.Errorf("of 1 pair there are %d", of.pairs)
	}
	for _, name := range longParts {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			t.Errorf("there is no part %q", name)
		}
	}
}

// The file that is kept names only what there is.
func TestKeptRatios(t *testing.T) {
	kept, err := readRatios("ratios.json")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("nothing is kept yet")
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(kept.Ratios) == 0 {
		t.Error("it has no ratios")
	}
	for name, q := range kept.Ratios {
		if !slices.Contains(partNames(), partOf(name)) {
			t.Errorf("%q is of no part", name)
		}
		if q.N < 1 || q.Median <= 0 || q.Q1 > q.Median || q.Q3 < q.Median {
			t.Errorf("%q is %v", name, q)
		}
	}
}

// Each ratio that calls have has its control.
func TestControls(t *testing.T) {
	f := func(v float64) *figures { l := []float64{v, v}; return &figures{CPU: l, P50: l, P99: l} }
	r := newReport(settings{})
	wants := map[string]int{"calls": 3, "identity": 3, "peers": 4, "start": 1, "weight": 1, "client": 1, "operation": 1}
	r.Calls = []*cell{{workload{unary, 16}, "TLS", map[string]*figures{ours: f(7), bare: f(10), bareAgain: f(12)}, nil}}
	r.Identity = []*cell{{workload{unary, 16}, "token", map[string]*figures{identity: f(7), nobody: f(10), nobodyAgain: f(8)}, nil}}
	r.Peers = []*cell{{workload{unary, 1000}, "TLS", map[string]*figures{ours: f(7), bare: f(10), bareAgain: f(11), "kratos": f(20)}, nil}}
	r.Start = map[string][]float64{ours: {6}, bare: {5}, bareAgain: {6}}
	w := func(v float64) *weight { return &weight{Idle: map[string][]float64{inClear: {v}}} }
	r.Weight = map[string]*weight{ours: w(13), bare: w(10), bareAgain: w(8)}
	cf := func(name string, v float64) *clientFigures {
		return &clientFigures{Client: name, Instances: 10, Calls: map[int]*clientCalls{16: {CPU: []float64{v}}}}
	}
	r.Client = []*clientFigures{cf(roundRobin, 10), cf(roundRobinAgain, 12), cf(ours, 12)}
	r.Operation = []*operated{{PerSecond: 1000, CPU: map[string][]float64{undisturbed: {10}, undisturbedAgain: {12}, allTogether: {11}}}}
	kept, key := r.ratios().Ratios, r.keyRatios()
	for of, want := range wants {
		if got := countParts(key)[of]; got != want {
			t.Errorf("%s has %d ratios, want %d: %v", of, got, want, slices.Sorted(maps.Keys(key)))
		}
	}
	if n := countParts(key)[""]; n != 0 || len(countParts(key)) != len(wants) {
		t.Errorf("%d ratios are of no part", n)
	}
	for name := range key {
		want := 0.2
		if strings.HasPrefix(name, "peers/") {
			want = 0.1
		}
		if got := control(kept, name); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: the control is %.2f from 1, want %.1f", name, got, want)
		}
	}
}

// countParts says how many ratios are of which part.
func countParts(ratios map[string]spread) map[string]int {
	n := map[string]int{}
	for name := range ratios {
		n[partOf(name)]++
	}
	return n
}
