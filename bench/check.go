package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// checkArgs are what a check measures unless it is told otherwise: a quarter of an
// hour of what changes of the code move most.
var checkArgs = []string{"-pairs=8", "-slice=100ms", "-only=" + checkParts, "-out=bench-check"}

const checkParts = "start,weight,allocations,plugin,calls,identity,client,operation"

// longParts take long for each pair. A check has shortPairs of them.
var longParts = []string{"weight", "client", "operation"}

const shortPairs = 3

// of are the settings for a part.
func (s settings) of(part string) settings {
	if s.short && slices.Contains(longParts, part) {
		s.pairs = min(s.pairs, shortPairs)
	}
	return s
}

// ratiosFile is what later runs are compared with: ratios of two programs that ran
// side by side, which other machines see too, where times are those of one.
type ratiosFile struct {
	Time    time.Time
	Machine string
	Go      string
	GRPC    string
	Pairs   int
	Parts   []string
	Ratios  map[string]quartiles
}

// quartiles are what a ratio is compared by.
type quartiles struct {
	Q1, Median, Q3 float64
	N              int // of values
}

// check measures, or reads what was measured, and tells which ratios have moved
// since those that are kept. It is an error that some are worse, or missing of the
// parts that were measured.
func check(args []string) error {
	fs := flag.NewFlagSet("check", flag.ExitOnError)
	file := fs.String("ratios", "ratios.json", "the `file` of the ratios that are kept")
	result := fs.String("result", "", "the .json of a run to compare, instead of measuring anew")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "usage: bench check [options] [-- options of bench]\nMeasured is with %s\nunless options of bench tell otherwise.\n", strings.Join(checkArgs, " "))
		fs.PrintDefaults()
	}
	_ = fs.Parse(args) // it exits
	was, err := readRatios(*file)
	if err != nil {
		return err
	}
	r, err := resultOf(*result, fs.Args())
	if r == nil {
		return err
	}
	return errors.Join(err, was.compare(r.ratios()).tell(os.Stdout))
}

// resultOf reads a result, or measures where none is named.
func resultOf(file string, args []string) (*report, error) {
	if file != "" {
		return readReport(file)
	}
	s, err := parseSettings(slices.Concat(checkArgs, args))
	if err != nil {
		return nil, err
	}
	s.short = true
	return measureAll(s)
}

// store keeps the ratios of a result, for later checks.
func store(args []string) error {
	fs := flag.NewFlagSet("store", flag.ExitOnError)
	to := fs.String("ratios", "ratios.json", "the `file` to keep the ratios in")
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage: bench store [options] RESULT.json")
		fs.PrintDefaults()
	}
	_ = fs.Parse(args) // it exits
	if fs.NArg() != 1 {
		fs.Usage()
		return fmt.Errorf("there are %d results, want the .json of one", fs.NArg())
	}
	r, err := readReport(fs.Arg(0))
	if err != nil {
		return err
	}
	ratios := r.ratios()
	if len(ratios.Ratios) == 0 {
		return fmt.Errorf("%s has no ratios", fs.Arg(0))
	}
	b, err := json.MarshalIndent(ratios, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*to, append(b, '\n'), 0o600)
}

func readReport(file string) (*report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

func readRatios(file string) (*ratiosFile, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: \"bench store\" writes it from the result of a run", err)
	}
	r := &ratiosFile{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// ratios are those of a report that are compared.
func (r *report) ratios() *ratiosFile {
	f := &ratiosFile{Time: r.Time, Machine: r.Machine, Go: r.Go, GRPC: r.GRPC, Pairs: r.Pairs, Parts: r.Parts, Ratios: map[string]quartiles{}}
	all := r.keyRatios()
	maps.Copy(all, r.controls())
	for name, s := range all {
		f.Ratios[name] = quartiles{rounded(s.Q1), rounded(s.Median), rounded(s.Q3), s.N}
	}
	return f
}

// MarshalJSON has them on a line, for those who read what has changed.
func (q quartiles) MarshalJSON() ([]byte, error) {
	return json.Marshal(fmt.Sprintf("%v %v %v %d", q.Q1, q.Median, q.Q3, q.N))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (q *quartiles) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	if _, err := fmt.Sscan(text, &q.Q1, &q.Median, &q.Q3, &q.N); err != nil {
		return fmt.Errorf("%q is not a quartile, the median, a quartile and how many values there were: %w", text, err)
	}
	return nil
}

func (q quartiles) String() string {
	return fmt.Sprintf("%.4g (%.4g..%.4g)", q.Median, q.Q1, q.Q3)
}

// tell says what has moved. It is an error that something is worse, or missing.
func (m movement) tell(w io.Writer) error {
	var b strings.Builder
	list(&b, "New, and not kept yet", m.unknown)
	list(&b, "Kept, and not found by what was measured now", m.missing)
	t := &table{title: "Moved, where less is better", columns: []string{"ratio", "kept", "now", "what"}}
	for _, row := range m.moved {
		t.add(row.name, row.was, row.is, row.verdict())
	}
	t.write(&b)
	if len(m.moved) == 0 && m.compared > 0 {
		fmt.Fprintf(&b, "\nNothing moved, of %d ratios.\n", m.compared)
	}
	for _, figure := range slices.Sorted(maps.Keys(m.noise)) {
		fmt.Fprintf(&b, "By chance %s may differ by %.0f %%: what has changed by less is not told.\n", figure, 100*m.noise[figure])
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if m.compared == 0 {
		return errors.New("no ratio that is kept was measured")
	}
	var errs []error
	if n := m.worse(); n > 0 {
		errs = append(errs, fmt.Errorf("of %d ratios %d are worse", m.compared, n))
	}
	if n := len(m.missing); n > 0 {
		errs = append(errs, fmt.Errorf("%d that are kept were to be measured, and are missing", n))
	}
	return errors.Join(errs...)
}

func list(b *strings.Builder, title string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(b, "\n%s:\n  %s\n", title, strings.Join(names, "\n  "))
	}
}
