package main

import (
	"maps"
	"time"

	"github.com/go-easyops/easyops/bench/chart"
)

// part is something that is measured, and all that is made of its figures. What was
// not measured has no rows, goals, ratios and bars.
type part struct {
	name    string
	measure func(s settings, r *report) error       // notes figures in the report
	takes   func(s settings) (time.Duration, error) // about, without what is built

	tables func(r *report) []*table
	goals  func(r *report) []goal
	// ratios tell whether something has become dearer: less is better. Their names are
	// fixed, since later reports are compared by them.
	ratios func(r *report) map[string]spread
	charts func(r *report) map[string]chart.Bars // by the end of their files' names
}

// parts are in the order in which they are measured and told.
var parts = []part{
	{
		name: "calls", measure: callsOf(callGroups, func(r *report) *[]*cell { return &r.Calls }), takes: callsTake(callGroups),
		tables: callTables((*report).callComparisons), goals: callGoals((*report).callComparisons),
		ratios: callRatios("", (*report).callComparisons), charts: (*report).callCharts,
	},
	{
		name: "identity", measure: callsOf(identityGroups, func(r *report) *[]*cell { return &r.Identity }), takes: callsTake(identityGroups),
		tables: callTables((*report).identityComparisons), goals: callGoals((*report).identityComparisons),
		ratios: callRatios("", (*report).identityComparisons),
	},
	{
		name: "peers", measure: measurePeers, takes: peersTake,
		tables: (*report).peerTables, goals: callGoals((*report).peerComparisons),
		ratios: callRatios("peers/", (*report).peerComparisons), charts: (*report).peerCharts,
	},
	{
		name: "start", measure: measureStart, takes: startTakes,
		tables: tablesOf((*report).startTable), goals: (*report).startGoals,
		ratios: (*report).startRatios,
	},
	{
		name: "weight", measure: measureWeight, takes: perPair(65 * time.Second),
		tables: tablesOf((*report).weightTable, (*report).programTable, (*report).weightFaults), goals: (*report).weightGoals,
		ratios: (*report).weightRatios, charts: (*report).weightCharts,
	},
	{
		name: "allocations", measure: measureAllocations, takes: allocationsTake,
		tables: tablesOf((*report).memoryTable), goals: (*report).memoryGoals,
		ratios: (*report).memoryRatios, charts: ratioCharts((*report).memoryRatios),
	},
	{
		name: "tables", measure: measureTables, takes: tablesTake,
		tables: tablesOf((*report).tableTable), goals: (*report).tableGoals,
	},
	{
		name: "plugin", measure: measurePlugin, takes: perPair(5 * time.Second),
		tables: tablesOf((*report).pluginTable), goals: (*report).pluginGoals,
		ratios: (*report).pluginRatios, charts: (*report).pluginChart,
	},
	{
		name: "discovery", measure: measureDiscovery, takes: perPair(25 * time.Second),
		tables: tablesOf((*report).discoveryTable), goals: (*report).discoveryGoals,
	},
	{
		name: "edge", measure: measureEdge, takes: edgeTakes,
		tables: tablesOf((*report).edgeRatios, (*report).edgeTable, (*report).transferTable), goals: (*report).transferGoals,
	},
	{
		name: "client", measure: measureClient, takes: clientTakes,
		tables: tablesOf((*report).clientTable, (*report).clientMemoryTable, (*report).picksTable), goals: (*report).clientGoals,
		ratios: (*report).clientRatios, charts: (*report).clientChart,
	},
	{
		name: "operation", measure: measureOperation, takes: operationTakes,
		tables: tablesOf((*report).operationTable), goals: (*report).operationGoals,
		ratios: (*report).operationRatios, charts: ratioCharts((*report).operationRatios),
	},
}

// partNames are those of parts.
func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// tablesOf makes one table after the other.
func tablesOf(of ...func(*report) *table) func(*report) []*table {
	return func(r *report) (tables []*table) {
		for _, f := range of {
			tables = append(tables, f(r))
		}
		return tables
	}
}

// collect takes what parts have of something.
func collect[T any](of func(part) func(*report) T, r *report, take func(T)) {
	for _, p := range parts {
		if f := of(p); f != nil {
			take(f(r))
		}
	}
}

// tables are those of all parts.
func (r *report) tables() (list []*table) {
	collect(func(p part) func(*report) []*table { return p.tables }, r, func(t []*table) { list = append(list, t...) })
	return list
}

// goals are those about which something was measured.
func (r *report) goals() (list []goal) {
	collect(func(p part) func(*report) []goal { return p.goals }, r, func(g []goal) { list = append(list, g...) })
	return list
}

// keyRatios are the ratios that tell whether something has become dearer, by what
// they are of, as
//
//	cpu/unary 100 B/16/plaintext/easyops:bare
//
// which is the CPU of a call: what of a server, the kind of call, how many at a
// time, security, and who is divided by whom. What was not measured is not there.
// Less is better for all of them.
func (r *report) keyRatios() map[string]spread {
	known := map[string]spread{}
	collect(func(p part) func(*report) map[string]spread { return p.ratios }, r, func(m map[string]spread) { maps.Copy(known, m) })
	maps.DeleteFunc(known, func(_ string, s spread) bool { return s.N == 0 })
	return known
}

// charts are those of all parts.
func (r *report) charts() map[string]chart.Bars {
	list := map[string]chart.Bars{}
	collect(func(p part) func(*report) map[string]chart.Bars { return p.charts }, r, func(m map[string]chart.Bars) { maps.Copy(list, m) })
	return list
}

// callTables, callGoals and callRatios are what comparisons of calls have.
func callTables(compared func(*report) []compared) func(*report) []*table {
	return func(r *report) (list []*table) {
		for _, k := range compared(r) {
			list = append(list, k.tables(k.cells)...)
		}
		return list
	}
}

func callGoals(compared func(*report) []compared) func(*report) []goal {
	return func(r *report) (list []goal) {
		for _, k := range compared(r) {
			list = append(list, k.goals(k.cells)...)
		}
		return list
	}
}

func callRatios(prefix string, compared func(*report) []compared) func(*report) map[string]spread {
	return func(r *report) map[string]spread {
		named := map[string]spread{}
		for _, k := range compared(r) {
			for name, s := range k.ratios(k.cells) {
				named[prefix+name] = s
			}
		}
		return named
	}
}
