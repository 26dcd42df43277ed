package main

import "fmt"

// edgeRatios compares the edge with nginx, where that was measured too, and what
// callers see with calls that go direct.
func (r *report) edgeRatios() *table {
	t := &table{
		title:   "Calls by the edge against nginx's grpc_pass and against direct calls",
		columns: []string{"workload", "CPU against nginx", "p50 against nginx", "p99 against nginx", "RPS against nginx", "p50 against direct", "RPS against direct", "p50 µs more than direct"},
	}
	for _, c := range r.Edge {
		of, by, none := c.Figures[edge], c.Figures[nginxGRPC], c.Figures[direct]
		if by == nil {
			by = &figures{}
		}
		t.add(
			c, ratios(of.CPU, by.CPU), ratios(of.P50, by.P50), ratios(of.P99, by.P99), ratios(of.RPS, by.RPS),
			ratios(of.P50, none.P50), ratios(of.RPS, none.RPS), differences(of.P50, none.P50),
		)
	}
	return t
}

func (r *report) edgeTable() *table {
	t := &table{
		title:   "Calls by the edge and by others",
		columns: []string{"workload", "by", "CPU µs per call of what is in between (direct: of the server)", "RPS", "p50 µs", "p99 µs", "RSS MiB"},
	}
	for _, c := range r.Edge {
		for _, name := range []string{edge, nginxGRPC, direct} {
			if f := c.Figures[name]; f != nil {
				t.add(fmt.Sprint(c), name, spreadOf(f.CPU), spreadOf(f.RPS), spreadOf(f.P50), spreadOf(f.P99), spreadOf(f.RSS))
			}
		}
	}
	return t
}
