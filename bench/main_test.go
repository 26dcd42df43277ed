package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/pluginpb"
)

// TestMain is main for the processes that tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == measuring || subcommands[os.Args[1]] != nil) {
		main()
		return
	}
	os.Exit(m.Run())
}

// The options of "tuned" are those of easyops, in the same words.
func TestTransportOptions(t *testing.T) {
	theirs := optionsIn(t, "../runtime/easyops/limits.go", "func transportDefaults(")
	theirs = strings.NewReplacer("l.OpenTimeout", "openTimeout", "l.StreamWindow", "streamWindow").Replace(theirs)
	if here := optionsIn(t, "grpcgo/grpcgo.go", "func Options("); here != theirs {
		t.Errorf("grpcgo.Options has\n%s\nbut easyops has\n%s", here, theirs)
	}
	for constant, files := range map[string][]string{
		"streamWorkers = 32":     {"limits.go", "grpcgo/grpcgo.go"},
		"streamsPerConn = 250":   {"limits.go", "grpcgo/grpcgo.go"},
		"streamWindow = 1 << 20": {"limits.go", "grpcgo/grpcgo.go"},
		"heapReserve = 4 << 20":  {"heap.go", "variants.go"},
	} {
		for _, file := range []string{"../runtime/easyops/" + files[0], files[1]} {
			if text, _ := os.ReadFile(file); !strings.Contains(string(text), "const "+constant+"\n") {
				t.Errorf("%s has no %q", file, constant)
			}
		}
	}
}

// optionsIn returns the body of a function.
func optionsIn(t *testing.T, file, function string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, body, ok := strings.Cut(string(text), function)
	if !ok {
		t.Fatalf("%s has no %s", file, function)
	}
	_, body, _ = strings.Cut(body, "\n")
	body, _, _ = strings.Cut(body, "\n}\n")
	return body
}

// Each variant answers each workload of each group, in a process of its own.
func TestCalls(t *testing.T) {
	for _, c := range []struct {
		part      string
		cells     func(*report) []*cell
		workloads int
		of        string
		profiles  int // one of each server
	}{
		{"calls", func(r *report) []*cell { return r.Calls }, 3*5 + 2*2, ours, 2*len(ofAll.contenders) + len(ofMutual.contenders) + len(ofSameToken.contenders) + len(ofManyTokens.contenders)},
		{"identity", func(r *report) []*cell { return r.Identity }, 2 * 2, identity, 2 * len(ofIdentity.contenders)},
	} {
		t.Run(c.part, func(t *testing.T) {
			s := settings{pairs: 1, slice: time.Millisecond, dir: t.TempDir(), profiles: t.TempDir()}
			r := newReport(s)
			if err := partNamed(t, c.part).measure(s, r); err != nil {
				t.Fatal(err)
			}
			if cells := c.cells(r); len(cells) != c.workloads || len(r.Calls)+len(r.Identity) != c.workloads {
				t.Errorf("there are %d workloads", len(cells))
			}
			for _, k := range r.compared() {
				for _, cell := range k.cells {
					checkFigures(t, cell, k.contenders, turnsPerPair)
				}
			}
			if log, _ := os.ReadFile(filepath.Join(s.dir, c.of+".log")); !strings.Contains(string(log), "registered") {
				t.Errorf("%s is not in a registry: %s", c.of, log)
			}
			if files, _ := os.ReadDir(s.profiles); len(files) != c.profiles {
				t.Errorf("there are %d profiles, want %d", len(files), c.profiles)
			}
		})
	}
}

func partNamed(t *testing.T, name string) part {
	t.Helper()
	i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
	if i < 0 {
		t.Fatalf("there is no part %q", name)
	}
	return parts[i]
}

func checkFigures(t *testing.T, c *cell, names []string, turns int) {
	t.Helper()
	for _, name := range names {
		f := c.Figures[name]
		if f == nil || len(f.CPU) != turns || len(f.RPS) != turns {
			t.Errorf("%s, %s: %+v, want %d turns", c, name, f, turns)
			continue
		}
		if f.RPS[0] <= 0 || f.P50[0] <= 0 || f.P99[0] < f.P50[0] || f.P999[0] < f.P99[0] || f.RSS[0] <= 0 || f.Errors > 0 {
			t.Errorf("%s, %s: %+v", c, name, f)
		}
	}
}

// Who presents nothing is refused where it is measured to know who calls, and
// nowhere else: both do what their figures are of.
func TestIdentityIsKnown(t *testing.T) {
	for _, c := range []struct {
		groups func(dir string) ([]group, error)
		knows  string
	}{{callGroups, ours}, {identityGroups, identity}} {
		s := settings{dir: t.TempDir()}
		groups, err := c.groups(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			checkIdentity(t, newRig(s, g), c.knows, g.against[0].by)
		}
	}
}

func checkIdentity(t *testing.T, r *rig, knows, lets string) {
	t.Helper()
	w := workload{unary, 1}
	if err := r.start([]*cell{r.newCell(w)}, 1); err != nil {
		t.Fatal(err)
	}
	if err := r.warmUp(knows, w, 1); err != nil {
		t.Errorf("%s, %s: %v", r.security, knows, err)
	}
	r.presenting = nil
	if err := r.warmUp(lets, w, 1); err != nil {
		t.Errorf("%s, %s: %v", r.security, lets, err)
	}
	if err := r.warmUp(knows, w, 1); err == nil || !refused(err) {
		t.Errorf("%s, %s: error %v, want that it refuses", r.security, knows, err)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// refused tells whether a call was refused for want of a token, or a connection
// for want of a certificate.
func refused(err error) bool {
	return strings.Contains(err.Error(), "Unauthenticated") || strings.Contains(err.Error(), "certificate required")
}

// A server that cannot start says why.
func TestChildFails(t *testing.T) {
	c, err := startChild(t.TempDir(), "no such", "serve", "-variant=none")
	if err != nil {
		t.Fatal(err)
	}
	var addr string
	if err := c.read(&addr); err == nil {
		t.Errorf("it has an address: %s", addr)
	}
	if err := c.stop(); err == nil || !strings.Contains(err.Error(), `no variant "none"`) {
		t.Errorf("stop: %v", err)
	}
}

func TestSpread(t *testing.T) {
	s := spreadOf([]float64{5, 1, 4, 2, 3})
	if want := (spread{Median: 3, Q1: 2, Q3: 4, Min: 1, Max: 5, N: 5}); s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	// Of an even number the median is between the two in the middle.
	s = spreadOf([]float64{.93, .89})
	if want := (spread{Median: .91, Q1: .9, Q3: .92, Min: .89, Max: .93, N: 2}); math.Abs(s.Median-want.Median) > 1e-9 ||
		math.Abs(s.Q1-want.Q1) > 1e-9 || math.Abs(s.Q3-want.Q3) > 1e-9 || s.Min != want.Min || s.Max != want.Max || s.N != want.N {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if s := spreadOf([]float64{4, 1, 3, 2}); s.Median != 2.5 || s.Q1 != 1.75 || s.Q3 != 3.25 {
		t.Errorf("of four: %+v", s)
	}
	if s := spreadOf([]float64{7}); s.Median != 7 || s.Q1 != 7 || s.Max != 7 {
		t.Errorf("of one: %+v", s)
	}
	if s := spreadOf(nil); s.N != 0 || s.String() != "-" {
		t.Errorf("of nothing: %+v, %v", s, s)
	}
	if r := ratios([]float64{2, 6, 1}, []float64{1, 2, 0}); r.N != 2 || r.Min != 2 || r.Max != 3 {
		t.Errorf("ratios: %+v", r)
	}
	if d := differences([]float64{2, 6}, []float64{1, 2}); d.Min != 1 || d.Max != 4 {
		t.Errorf("differences: %+v", d)
	}
}

func TestDigits(t *testing.T) {
	for v, want := range map[float64]string{0.346: "0.35", 12.34: "12.3", 123.4: "123", 150: "150", 2: "2", -1.5: "-1.50"} {
		if got := digits(v); got != want {
			t.Errorf("digits(%v) = %s, want %s", v, got, want)
		}
	}
}

// In the long run each name has each place equally often.
func TestOrder(t *testing.T) {
	names := []string{"a", "b", "c"}
	sum := map[string]int{}
	for round := range 2 * len(names) {
		order := orderOf(names, round)
		for place, name := range order {
			sum[name] += place
		}
		slices.Sort(order)
		if !slices.Equal(order, names) {
			t.Errorf("round %d has %v", round, order)
		}
	}
	if sum["a"] != sum["b"] || sum["b"] != sum["c"] {
		t.Errorf("the sums of places are %v", sum)
	}
}

func TestReadBenchmarks(t *testing.T) {
	const out = "goos: linux\nBenchmarkUnary/bare-2   38210   31402 ns/op   9345 B/op   143 allocs/op\nPASS\n"
	got := map[string]*memory{}
	if err := readBenchmarks([]byte(out), got); err != nil {
		t.Fatal(err)
	}
	m := got["Unary/bare"]
	if m == nil || m.Nanos[0] != 31402 || m.Bytes[0] != 9345 || m.Allocs[0] != 143 {
		t.Errorf("got %+v", got)
	}
	if err := readBenchmarks([]byte("PASS\n"), got); err == nil {
		t.Error("output without figures is taken")
	}
}

func TestSettings(t *testing.T) {
	out := "-out=" + filepath.Join(t.TempDir(), "x", "r")
	for _, c := range []struct {
		args  []string
		slice time.Duration
		wrong bool
	}{
		{[]string{out}, 250 * time.Millisecond, false},
		{[]string{out, "-pairs=3"}, 100 * time.Millisecond, false},
		{[]string{out, "-pairs=3", "-slice=2s"}, 2 * time.Second, false},
		{[]string{out, "-pairs=0"}, 0, true},
		{[]string{out, "-slice=-1s"}, 0, true},
		{[]string{out, "-only=cals"}, 0, true},
		{[]string{out, "more"}, 0, true},
	} {
		s, err := parseSettings(c.args)
		if (err != nil) != c.wrong || !c.wrong && s.slice != c.slice {
			t.Errorf("%v: slice %v, error %v", c.args, s.slice, err)
		}
	}
}

// The request is one that plugins accept, and of the size that is promised.
func TestRequest(t *testing.T) {
	req := largeRequest(20, 70)
	gen, err := protogen.Options{}.New(req)
	if err != nil {
		t.Fatal(err)
	}
	services, comments := 0, 0
	for _, f := range gen.Files {
		for _, s := range f.Services {
			services++
			if s.Comments.Leading != "" && s.Methods[methods-1].Comments.Leading != "" {
				comments++
			}
		}
	}
	if len(gen.Files) != 70 || services != 20 || comments != 20 {
		t.Errorf("%d files, %d services, %d of them with comments", len(gen.Files), services, comments)
	}
	if err := checkAnswer(&pluginpb.CodeGeneratorResponse{}, 20); err == nil {
		t.Error("an answer without files is taken")
	}
}

func TestMarkdown(t *testing.T) {
	f := func(v float64) *figures {
		list := slices.Repeat([]float64{v}, leastValues)
		return &figures{CPU: list, RPS: list, P50: list, P99: list, P999: list, RSS: list}
	}
	r := newReport(settings{pairs: 3, slice: time.Second})
	r.Calls = []*cell{
		{workload{unary, 16}, "TLS", map[string]*figures{ours: f(9), bare: f(10), bareAgain: f(10), tuned: f(8), roomy: f(10), nobody: f(9), serveHTTP: f(36)}, nil},
		{workload{unary, 1}, mutual, map[string]*figures{ours: f(11), bare: f(10), bareAgain: f(9), tuned: f(8)}, nil},
		{workload{unary, 16}, mutual, map[string]*figures{ours: f(9), bare: f(10), bareAgain: f(10), tuned: f(8)}, nil},
	}
	r.Identity = []*cell{{workload{unary, 16}, "token", map[string]*figures{identity: f(26), nobody: f(25), nobodyAgain: f(25)}, nil}}
	r.Memory = map[string]*memory{
		"Unary/" + identity: {f(1).CPU, f(1010).CPU, f(152).CPU}, "Unary/" + nobody: {f(1).CPU, f(1000).CPU, f(151).CPU},
		"Unary/bare_with_a_token": {f(1).CPU, f(1009).CPU, f(150).CPU},
	}
	r.Tables = map[string]*memory{"Callers/full": {f(35).CPU, f(0).CPU, f(0).CPU}, "Use/10000": {f(46).CPU, f(0).CPU, f(0).CPU}}
	r.Goals = r.goals()
	text := r.markdown()
	for _, want := range []string{
		"| unary 100 B, concurrency 16, TLS | 0.90 (0.90..0.90) | 1.12 (1.12..1.12) | 0.90 (0.90..0.90) | 1 (1..1) | 0.25 (0.25..0.25) | 1 (1..1) |",
		"| unary 100 B, concurrency 16, mTLS, token | 0.90 (0.90..0.90) | 1.12 (1.12..1.12) | 1 (1..1) |",
		"| server CPU per call against bare: unary 100 B, concurrency 16, TLS | 0.90, better 0.80 | 0.9 (0.9..0.9) | yes | 1 (1..1) |",
		"| server CPU per call against tuned: unary 100 B, concurrency 16, TLS | 1.03 | 1.125 (1.125..1.125) | no | 1 (1..1) |",
		"| server CPU per call against bare: unary 100 B, concurrency 16, mTLS, token | 0.92 | 0.9 (0.9..0.9) | yes | 1 (1..1) |",
		"| p50 against bare: unary 100 B, concurrency 1, mTLS, token | 1.03 | 1.1 (1.1..1.1) | no, within chance | 0.9 (0.9..0.9) | 20 |",
		"| p99 against bare: unary 100 B, concurrency 16, TLS | 1.05 | 0.9 (0.9..0.9) | yes | 1 (1..1) |",
		"| unary 100 B, concurrency 16, token | 1.04 (1.04..1.04) | 1 (1..1) |",
		"| server CPU per call against insecure-none: unary 100 B, concurrency 16, token | 1.03 | 1.04 (1.04..1.04) | no |",
		"| allocations of a unary call of identity, more than insecure-none | 1 | 1 (1..1) | yes |",
		"| allocations of a unary call of identity, more than bare with a token | 2 | 2 (2..2) | yes |",
		"| bytes of a unary call of identity, more than bare with a token | 0 | 1 (1..1) | no |",
		"| Unary | identity | 152 (152..152) |",
		"| Callers/full | 35 (35..35) | 0 (0..0) | 20 |",
		"| callers and connections, as a part of the server's CPU per call: unary 100 B, concurrency 16, TLS | 0.01 | 0.009 (0.009..0.009) | yes |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	for _, no := range []string{
		"against roomy:", // nothing is aimed at
		"against tuned: unary 100 B, concurrency 16, mTLS",   // nor there
		"per call against bare: unary 100 B, concurrency 1,", // one by one it is p50
		"p50 against bare: unary 100 B, concurrency 16",
		"Plugins", "gozero", // not measured
	} {
		if strings.Contains(text, no) {
			t.Errorf("%q is in\n%s", no, text)
		}
	}
	if q := quantile([]float64{}, 0.5); q != 0 || math.IsNaN(q) {
		t.Errorf("the quantile of nothing is %v", q)
	}
}
