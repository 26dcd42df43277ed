package status

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// section is the charts of a history.
func (h HistoryData) section() Section {
	step := time.Duration(h.Step)
	whole := lasting(step * historyPoints)
	chart := func(title string, least float64, format func(float64) string, lines ...Line) Chart {
		return Chart{Title: title, From: whole + " ago", To: "now", Span: historyPoints, Least: least, Format: format, Lines: lines}
	}
	body := Beside{
		chart("Calls per second", 1, nil, h.line("", Normal, h.perSecond(func(p HistoryPoint) uint64 { return p.Calls }))),
		chart("Errors per second", 1, nil, h.line("", Bad, h.perSecond(func(p HistoryPoint) uint64 { return p.Errors }))),
		chart("Latency", 0.001, secondsText,
			h.line("p50", Normal, latencyOf(func(p HistoryPoint) Seconds { return p.P50 })),
			h.line("p99", Normal, latencyOf(func(p HistoryPoint) Seconds { return p.P99 }))),
		chart("Calls in flight", 2, nil, h.line("", Normal, func(p HistoryPoint) float64 { return float64(p.InFlight) })),
		chart("Heap, MiB", 1, nil, h.line("", Normal, func(p HistoryPoint) float64 { return float64(p.HeapBytes) / (1 << 20) })),
		chart("Goroutines", 10, nil, h.line("", Normal, func(p HistoryPoint) float64 { return float64(p.Goroutines) })),
	}
	return Section{ID: "last-" + strings.ReplaceAll(whole, " ", ""), Title: "Last " + whole, Body: []Block{body}}
}

// tellsMore says whether there is something to draw that a finer history does not
// show as well.
func (h HistoryData) tellsMore() bool {
	return len(h.Points) > 5 || len(h.Points) > 0 && time.Duration(h.Step) < time.Minute
}

// historyPoints is how many points a history has at most.
const historyPoints = 60

func (h HistoryData) perSecond(of func(HistoryPoint) uint64) func(HistoryPoint) float64 {
	step := max(time.Duration(h.Step), time.Second).Seconds()
	return func(p HistoryPoint) float64 { return float64(of(p)) / step }
}

// latencyOf leaves a gap where no call has ended.
func latencyOf(of func(HistoryPoint) Seconds) func(HistoryPoint) float64 {
	return func(p HistoryPoint) float64 {
		if p.Calls == 0 {
			return math.NaN()
		}
		return time.Duration(of(p)).Seconds()
	}
}

func secondsText(v float64) string { return short(time.Duration(v * float64(time.Second))) }

func (h HistoryData) line(name string, tone Tone, value func(HistoryPoint) float64) Line {
	l := Line{Name: name, Tone: tone}
	for _, p := range h.Points {
		l.Values = append(l.Values, value(p))
	}
	return l
}

func (o *overviewPage) healthSection() Section {
	sec := Section{ID: "health", Title: "Health"}
	if o.Health.State != "" {
		sec.Badges = o.health.badges()
	}
	var checks KV
	for _, c := range o.Health.Checks {
		result := Cell{Text: "passes", Tone: Good}
		if !c.OK {
			result = Cell{Text: cmp.Or(c.Error, "fails"), Tone: Bad}
		}
		checks = append(checks, Pair{c.Name, result})
	}
	if len(checks) == 0 {
		sec.Body = []Block{Text("No checks are registered.")}
		return sec
	}
	sec.Body = []Block{checks}
	return sec
}

func (o *overviewPage) registrySection() Section {
	if o.registry == nil {
		return Section{ID: "registry", Title: "Registry", Body: []Block{Text("There is none.")}}
	}
	return Section{ID: "registry", Title: "Registry", Body: []Block{o.registry.pairs(o.Now)}}
}

func (o *overviewPage) processSection() Section {
	p := o.Process
	return Section{ID: "process", Title: "Process", Body: []Block{KV{
		{"Goroutines", Link("/internal/debug/goroutine", thousands(p.Goroutines))},
		{"Heap", Str(memory(p.HeapBytes))},
		{"From the system", Str(memory(p.SystemBytes))},
		{"Collections", Str(thousands(p.GCCycles))},
		{"Longest pause", Str(p.GCPause.orNone() + " in the last 5 min")},
		{"Processors", Str(fmt.Sprint(p.MaxProcs))},
	}}}
}

func (o *overviewPage) buildSection() Section {
	return Section{ID: "build", Title: "Build", Body: []Block{o.Build.pairs()}}
}

// errors are the last errors, the server's own faults before the others.
func (o *overviewPage) errors() Section {
	t := Table{Columns: []string{"Last", "Times", "Method", "Code", "Error", "Caller"}, Wide: 5, Wraps: true, Empty: "No call has failed since the start."}
	all := slices.Clone(o.RecentErrors)
	sort.SliceStable(all, func(i, j int) bool { return all[i].rank() < all[j].rank() })
	for _, e := range all[:min(len(all), overviewRecent)] {
		t.Rows = append(t.Rows, []Cell{
			Str(clock(e.Time, o.Now)), Str(thousands(e.Count)), {Text: e.Method, Tone: Mono, Link: methodLink(e.Method)}, e.code(), Str(e.Error), e.caller(),
		})
	}
	sec := Section{ID: "errors", Title: "Recent errors", Body: []Block{t}}
	if len(all) > 0 {
		sec.Body = append([]Block{Text("The server's own faults first, with the last caller of each.")}, sec.Body...)
		sec.Body = append(sec.Body, more("errors", len(all), len(t.Rows))...)
	}
	return sec
}

// rank puts the server's own faults first.
func (e RecentError) rank() int {
	if e.Fault {
		return 0
	}
	return 1
}

func (e RecentError) code() Cell {
	if e.Fault {
		return Cell{Text: e.Code, Tone: Bad}
	}
	return Cell{Text: e.Code, Tone: Neutral}
}

func (e RecentError) caller() Cell {
	who := e.User
	if e.Service != "" {
		who = strings.TrimPrefix(who+" by "+e.Service, " by ")
	}
	return Cell{Text: cmp.Or(who, e.Peer), Tone: Muted}
}

// isOld is how old a call is that is no stream and shown as one that may hang.
const isOld = Seconds(10 * time.Second)

// oldCalls are the methods with calls that take long.
func (o *overviewPage) oldCalls() Table {
	t := Table{Columns: []string{"Method", "Calls", "The oldest", "Handlers that go on after the end"}}
	for _, r := range o.Running {
		if r.Stream || r.Oldest <= isOld {
			continue
		}
		t.Rows = append(t.Rows, []Cell{
			{Text: r.Method, Tone: Mono, Link: methodLink(r.Method)}, Str(thousands(r.Calls)), Str(lasting(time.Duration(r.Oldest))), toned(uint64(r.Ignoring), Bad),
		})
	}
	return t
}
