package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// memory is what go test -bench says of one benchmark, a value for each run.
type memory struct {
	Nanos, Bytes, Allocs []float64 // for each call, client and server together
}

// memoryKinds are the benchmarks, and memoryServers what each calls. A test keeps
// these in step.
var (
	memoryKinds   = []string{"Unary", "Stream", "Chat"}
	memoryServers = []string{bare, bareAgain, barePresented, tuned, ours, nobody, identity}
)

// measureAllocations runs the benchmarks of this package over memory in place
// of a network.
func measureAllocations(s settings, r *report) error {
	progress("allocations: builds the benchmarks")
	program := filepath.Join(s.dir, "bufconn.test")
	if out, err := exec.Command("go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c: %w: %s", err, out)
	}
	r.Memory = map[string]*memory{}
	runs := benchmarkRuns(s)
	progress("allocations: %d runs", runs)
	for range runs {
		out, err := exec.Command(program, "-test.run=^$", "-test.bench=.", "-test.benchmem", "-test.benchtime="+s.slice.String()).CombinedOutput()
		if err != nil {
			return fmt.Errorf("the benchmarks: %w: %s", err, out)
		}
		if err := readBenchmarks(out, r.Memory); err != nil {
			return err
		}
	}
	return nil
}

// benchmarkRuns are as many as there are pairs, or there would be too few values.
func benchmarkRuns(s settings) int { return max(2, s.pairs) }

// memoryOf is what was measured of a kind of calls and a server, or nil.
func (r *report) memoryOf(kind, server string) *memory {
	return r.Memory[kind+"/"+strings.ReplaceAll(server, " ", "_")] // which go test does
}

// memoryRatios are those of what calls allocate.
func (r *report) memoryRatios() map[string]spread {
	all := map[string]spread{}
	for _, kind := range memoryKinds {
		for _, of := range []struct{ of, by string }{{ours, bare}, {identity, nobody}} {
			m, by := r.memoryOf(kind, of.of), r.memoryOf(kind, of.by)
			if m == nil || by == nil {
				continue
			}
			all[fmt.Sprintf("allocations/%s/%s:%s", kind, of.of, of.by)] = ratios(m.Allocs, by.Allocs)
			all[fmt.Sprintf("bytes/%s/%s:%s", kind, of.of, of.by)] = ratios(m.Bytes, by.Bytes)
		}
	}
	return all
}

// readBenchmarks adds what go test -bench has written, such as
//
//	BenchmarkUnary/bare-2   38210   31402 ns/op   9345 B/op   143 allocs/op
func readBenchmarks(out []byte, into map[string]*memory) error {
	found := false
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) != 8 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := benchmarkName(f[0])
		if into[name] == nil {
			into[name] = &memory{}
		}
		m := into[name]
		for i, list := range []*[]float64{&m.Nanos, &m.Bytes, &m.Allocs} {
			v, err := strconv.ParseFloat(f[2+2*i], 64)
			if err != nil {
				return fmt.Errorf("the benchmarks: %q: %w", lines.Text(), err)
			}
			*list = append(*list, v)
		}
		found = true
	}
	if !found {
		return fmt.Errorf("the benchmarks: no figures in %q", out)
	}
	return nil
}

// benchmarkName is the name without what go test puts around it.
func benchmarkName(s string) string {
	s = strings.TrimPrefix(s, "Benchmark")
	if i := strings.LastIndexByte(s, '-'); i > 0 {
		s = s[:i]
	}
	return s
}

func (r *report) memoryTable() *table {
	t := &table{
		title:   "go test -bench over bufconn, client and server together; here easyops lets everyone in, and who has no token, and identity is easyops with a token",
		columns: []string{"benchmark", "server", "allocations per call", "bytes per call", "µs per call", "runs"},
	}
	for _, kind := range memoryKinds {
		for _, s := range memoryServers {
			m := r.memoryOf(kind, s)
			if m == nil {
				continue
			}
			us := make([]float64, len(m.Nanos))
			for i, ns := range m.Nanos {
				us[i] = ns / 1000
			}
			t.add(kind, s, spreadOf(m.Allocs), spreadOf(m.Bytes), spreadOf(us), len(m.Allocs))
		}
	}
	return t
}

// memoryGoals are about what small unary calls allocate. Where a token is looked
// at, it is by who gets one and does not.
func (r *report) memoryGoals() (list []goal) {
	for _, bound := range []struct {
		of, by, control string
		allocs          float64
		bytes           bool // not more
	}{{ours, bare, bareAgain, 2, true}, {identity, barePresented, "", 2, true}, {identity, nobody, "", 1, false}} {
		of, by, control := r.memoryOf("Unary", bound.of), r.memoryOf("Unary", bound.by), r.memoryOf("Unary", bound.control)
		if of == nil || by == nil {
			continue
		}
		if control == nil {
			control = &memory{}
		}
		what := fmt.Sprintf("of a unary call of %s, more than %s", bound.of, bound.by)
		list = append(list, goal{
			What: "allocations " + what, Figure: differences(of.Allocs, by.Allocs), AtMost: bound.allocs,
			Control: differences(control.Allocs, by.Allocs), Exact: true, Difference: true,
		})
		if bound.bytes {
			list = append(list, goal{
				What: "bytes " + what, Figure: differences(of.Bytes, by.Bytes),
				Control: differences(control.Bytes, by.Bytes), Difference: true,
			})
		}
	}
	return list
}
