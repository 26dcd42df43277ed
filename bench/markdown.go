package main

import (
	"fmt"
	"strings"
)

// markdown is the report for people: medians, quartiles in brackets.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, grpc-go %s, %s\n", r.Machine, r.Go, r.GRPC, r.Time.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "%d pairs, of calls %d turns of %v each; medians, and quartiles in brackets\n", r.Pairs, turnsPerPair, r.Slice)
	for _, t := range []*table{
		ofAll.ratioTable(r.Calls), ofAll.otherRatios(r.Calls), ofAll.callTable(r.Calls),
		ofIdentity.ratioTable(r.Identity), ofIdentity.otherRatios(r.Identity), ofIdentity.callTable(r.Identity),
		r.startTable(), r.memoryTable(), r.tableTable(), r.pluginTable(), r.discoveryTable(),
		r.edgeRatios(), r.edgeTable(), r.transferTable(), r.goalTable(),
	} {
		t.write(&b)
	}
	return b.String()
}

type table struct {
	title   string
	columns []string
	rows    [][]string
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

// write writes nothing where nothing was measured.
func (t *table) write(b *strings.Builder) {
	if len(t.rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n\n| %s |\n|%s\n", t.title, strings.Join(t.columns, " | "), strings.Repeat("---|", len(t.columns)))
	for _, row := range t.rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}

// String names the workload of a cell.
func (c *cell) String() string { return c.Workload + ", " + c.Security }

func (k comparison) ratioTable(cells []*cell) *table {
	first := k.against[0].by
	t := &table{
		title:   fmt.Sprintf("Server CPU per call: %s against the others, and %s against itself", k.of, first),
		columns: []string{"workload"},
	}
	for _, bound := range k.against {
		t.columns = append(t.columns, bound.by)
	}
	t.columns = append(t.columns, fmt.Sprintf("control: %s against %s", k.control, first))
	for _, c := range cells {
		cpu := func(of, by string) spread { return ratios(c.Figures[of].CPU, c.Figures[by].CPU) }
		row := []any{c}
		for _, bound := range k.against {
			row = append(row, cpu(k.of, bound.by))
		}
		t.add(append(row, cpu(k.control, first))...)
	}
	return t
}

func (k comparison) otherRatios(cells []*cell) *table {
	first := k.against[0].by
	t := &table{
		title:   fmt.Sprintf("What callers see, and memory: %s against %s; behind the stroke %s against %[2]s", k.of, first, k.control),
		columns: []string{"workload", "RPS", "p50", "p99", "RSS"},
	}
	for _, c := range cells {
		of, by, control := c.Figures[k.of], c.Figures[first], c.Figures[k.control]
		both := func(list func(*figures) []float64) string {
			return fmt.Sprintf("%v / %v", ratios(list(of), list(by)), ratios(list(control), list(by)))
		}
		t.add(
			c,
			both(func(f *figures) []float64 { return f.RPS }),
			both(func(f *figures) []float64 { return f.P50 }),
			both(func(f *figures) []float64 { return f.P99 }),
			both(func(f *figures) []float64 { return f.RSS }),
		)
	}
	return t
}

func (k comparison) callTable(cells []*cell) *table {
	t := &table{
		title:   fmt.Sprintf("Calls of %s and others", k.of),
		columns: []string{"workload", "server", "CPU µs per call", "RPS", "p50 µs", "p99 µs", "RSS MiB"},
	}
	for _, c := range cells {
		for _, name := range k.contenders {
			f := c.Figures[name]
			t.add(c, name, spreadOf(f.CPU), spreadOf(f.RPS), spreadOf(f.P50), spreadOf(f.P99), spreadOf(f.RSS))
		}
	}
	return t
}

func (r *report) startTable() *table {
	t := &table{
		title:   "Process start to first answered call",
		columns: []string{"server", "ms", "least", "most", "against bare", "starts"},
	}
	if len(r.Start) == 0 {
		return t
	}
	for _, st := range starters {
		s := spreadOf(r.Start[st.name])
		t.add(st.name, s, digits(s.Min), digits(s.Max), ratios(r.Start[st.name], r.Start[bare]), s.N)
	}
	return t
}

func (r *report) memoryTable() *table {
	t := &table{
		title:   "go test -bench over bufconn, client and server together",
		columns: []string{"benchmark", "server", "allocations per call", "bytes per call", "µs per call", "runs"},
	}
	for _, kind := range []string{"Unary", "Stream"} {
		for _, s := range []string{bare, tuned, ours, nobody, identity} {
			m := r.Memory[kind+"/"+s]
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

func (r *report) pluginTable() *table {
	t := &table{
		title:   fmt.Sprintf("Plugins, on a request of %d services in %d files", packages, files),
		columns: []string{"plugin", "wall s", "CPU s", "peak MiB", "wall against the other", "peak against the other", "runs"},
	}
	if e, by := r.Plugin[ourPlugin], r.Plugin[grpcsOwn]; e != nil && by != nil {
		t.add(ourPlugin, spreadOf(e.Wall), spreadOf(e.CPU), spreadOf(e.Peak), ratios(e.Wall, by.Wall), ratios(e.Peak, by.Peak), len(e.Wall))
		t.add(grpcsOwn, spreadOf(by.Wall), spreadOf(by.CPU), spreadOf(by.Peak), "1", "1", len(by.Wall))
	}
	return t
}

func (r *report) goalTable() *table {
	t := &table{title: "Goals", columns: []string{"goal", "at most", "measured", "holds"}}
	for _, g := range r.Goals {
		f := g.Figure // with more digits than elsewhere, since it is compared
		t.add(g.What, digits(g.AtMost), fmt.Sprintf("%.4g (%.4g..%.4g)", f.Median, f.Q1, f.Q3), g.holds())
	}
	return t
}
