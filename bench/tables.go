package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// tables are the benchmarks of what a server notes of every call for its status
// pages: who calls which method, and by which connection. A server does nothing
// else for them on the way of a call, so what they take is what a call would be
// cheaper by without them.
var tables = []struct{ pkg, benchmark string }{
	{"./runtime/easyops", "Callers"},
	{"./runtime/port", "Use"},
}

// dearest are those of them that stand for a server with many callers and many
// connections.
var dearest = []string{"Callers/full", "Use/10000"}

// measureTables runs those benchmarks, in turns.
func measureTables(s settings, r *report) error {
	progress("tables: builds the benchmarks")
	programs := make([]string, len(tables))
	for i, t := range tables {
		programs[i] = filepath.Join(s.dir, strings.ToLower(t.benchmark)+".test")
		if out, err := exec.Command("go", "test", "-C", "..", "-c", "-o", programs[i], t.pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("go test -c %s: %w: %s", t.pkg, err, out)
		}
	}
	r.Tables = map[string]*memory{}
	runs := benchmarkRuns(s)
	progress("tables: %d runs", runs)
	for range runs {
		for i, t := range tables {
			cmd := exec.Command(programs[i], "-test.run=^$", "-test.bench=^Benchmark"+t.benchmark+"$", "-test.benchmem", "-test.benchtime="+s.slice.String())
			cmd.Dir = s.dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("the benchmark of %s: %w: %s", t.pkg, err, out)
			}
			if err := readBenchmarks(out, r.Tables); err != nil {
				return err
			}
		}
	}
	return nil
}

// nanosOfTables is what the tables take of a call, a value for each run.
func (r *report) nanosOfTables() (nanos []float64) {
	for _, name := range dearest {
		m := r.Tables[name]
		if m == nil {
			return nil
		}
		for i, ns := range m.Nanos {
			if i == len(nanos) {
				nanos = append(nanos, 0)
			}
			nanos[i] += ns
		}
	}
	return nanos
}

func (r *report) tableTable() *table {
	t := &table{
		title:   "What a server notes of each call for its status pages, by one processor and by all",
		columns: []string{"benchmark", "ns per call", "allocations per call", "runs"},
	}
	for _, of := range []string{"Callers/one", "Callers/hundred", "Callers/full", "Callers/no_room", "Use/one", "Use/10000"} {
		for _, name := range []string{of, of + "/parallel"} {
			if m := r.Tables[name]; m != nil {
				t.add(name, spreadOf(m.Nanos), spreadOf(m.Allocs), len(m.Nanos))
			}
		}
	}
	return t
}

// tableGoals are those of unary calls that are not one by one, where these were
// measured too.
func (r *report) tableGoals() (list []goal) {
	nanos := r.nanosOfTables()
	for _, c := range r.Calls {
		if len(nanos) == 0 || !isGoal(c) {
			continue
		}
		call := spreadOf(c.Figures[ours].CPU).Median * 1000
		shares := make([]float64, len(nanos))
		for i, ns := range nanos {
			shares[i] = ns / call
		}
		list = append(list, goal{What: fmt.Sprintf("callers and connections, as a part of the server's CPU per call: %s", c), Figure: spreadOf(shares), AtMost: 0.01})
	}
	return list
}
