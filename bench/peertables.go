package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/bench/serving"
)

// featuresOfVariants are those of the servers that are no programs of their own.
var featuresOfVariants = []serving.Description{
	{Name: ours, Module: "github.com/go-easyops/easyops", Features: map[string]string{
		serving.Recovery: "its own", serving.Metrics: "its own, by client_golang", serving.AccessLog: "its own, 1 of 100 calls that ended well and all that failed, at most 50 lines a second of its own faults, and of the rest",
		serving.Identity: "its own, tokens and certificates, cached; as that of all others on in \"" + mutual + "\" alone", serving.Limits: "sizes, streams, timeouts, overload", serving.Discovery: "its own, a directory",
	}},
	{Name: bare, Module: "google.golang.org/grpc"},
	{Name: tuned, Module: "google.golang.org/grpc", Features: map[string]string{serving.Limits: "sizes, streams"}},
	{Name: serveHTTP, Module: "google.golang.org/grpc, net/http"},
}

func (r *report) featureTable() *table {
	t := &table{title: "What is on", columns: slices.Concat([]string{"server", "of", "version"}, serving.Features(), []string{"notes"})}
	if len(r.Peers) == 0 {
		return t
	}
	for _, d := range slices.Concat(featuresOfVariants, r.Descriptions) {
		row := []any{d.Name, d.Module, cmp.Or(d.Version, "-")}
		for _, f := range serving.Features() {
			row = append(row, cmp.Or(d.Features[f], "-"))
		}
		t.add(append(row, cmp.Or(d.Notes, "-"))...)
	}
	return t
}

// againstBare has a row for each workload, and a column for each server.
func (r *report) againstBare(what string, of measure) *table {
	t := &table{title: what + " divided by that of bare grpc-go", columns: []string{"workload"}}
	names := slices.DeleteFunc(slices.Clone(ofPeers.contenders), func(name string) bool { return name == bare })
	t.columns = append(t.columns, names...)
	for _, c := range r.Peers {
		row := []any{c}
		for _, name := range names {
			row = append(row, c.ratio(name, bare, of))
		}
		t.add(row...)
	}
	return t
}

// peerTables are all of peers.
func (r *report) peerTables() []*table {
	list := []*table{r.featureTable()}
	for _, m := range []struct {
		what string
		of   measure
	}{{"Server CPU per call", ofCPU}, {"RPS", ofRPS}, {"p50", ofP50}, {"p99", ofP99}, {"p99.9", ofP999}, {"RSS", ofRSS}} {
		list = append(list, r.againstBare(m.what, m.of))
	}
	return append(list, ofPeers.ratioTable(r.Peers), ofPeers.callTable(r.Peers), r.faultTable())
}

// faultTable says who could not be measured and why, and whose calls have failed.
func (r *report) faultTable() *table {
	t := &table{title: "What is missing, and calls that have failed", columns: []string{"server", "security", "workloads", "what"}}
	type missing struct{ server, security, what string }
	var order []missing
	of, all := map[missing][]string{}, map[string]int{}
	for _, c := range r.Peers {
		all[c.Security]++
		for _, name := range ofPeers.contenders {
			f := missing{name, c.Security, cellText(c.faultOf(name))}
			if f.what == "" {
				continue
			}
			if of[f] == nil {
				order = append(order, f)
			}
			of[f] = append(of[f], c.workload.String())
		}
	}
	for _, f := range order {
		where := strings.Join(of[f], "; ")
		if len(of[f]) == all[f.security] {
			where = "all"
		}
		t.add(f.server, f.security, where, f.what)
	}
	return t
}

// faultOf is what is wrong with the figures of a server, or nothing.
func (c *cell) faultOf(name string) string {
	if why := c.Without[name]; why != "" {
		return "not measured: " + why
	}
	if f := c.Figures[name]; f != nil && f.Errors > 0 {
		return strings.TrimPrefix(fmt.Sprintf("%s: %d calls failed, as with: %s", c.failed(name), f.Errors, f.Err), ": ")
	}
	return ""
}
