package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const overviewPath = "/internal/"

// How many rows of the overview's lists are for people. The JSON form has all.
const (
	overviewMethods = 15
	overviewRecent  = 15
)

// HandleOverview registers /internal/, which shows what overview gives. What the
// pages know themselves they add: name, build, health, registry and the actions of
// operators. overview may be called concurrently.
func (p *Pages) HandleOverview(overview func() OverviewData) error {
	page := Page{
		Path: overviewPath, Group: "This server", Title: "Overview", Access: Operator,
		Help: "How the server does now: what is wrong, calls, errors, latencies, memory, and who changed something.",
		Get:  func(r *Request) (View, error) { return p.overviewView(r, overview()), nil },
	}
	bare := page
	bare.Path, bare.Hidden = strings.TrimSuffix(overviewPath, "/"), true
	return p.handleAll([]Page{page, bare})
}

// overviewView adds what the pages know. What is wrong stands first.
func (p *Pages) overviewView(r *Request, d OverviewData) View {
	o := overviewPage{OverviewData: d, health: p.healthNow(r.Request)}
	o.Name, o.Health = p.cfg.Name, o.health.forOperators()
	o.RecentActions = p.recentActions()
	if info := p.info.Load(); info != nil {
		o.Build = info.data(readBuild(), d.Now)
		o.Instance = info.Instance
	}
	if p.cfg.Registry != nil {
		now := p.cfg.Registry()
		o.registry, o.Registry = &now, now.data()
	}
	if p.cfg.Identity != nil {
		now := p.cfg.Identity()
		o.identity = &now
	}
	slices.SortStableFunc(o.Methods, func(a, b MethodTraffic) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Method, b.Method))
	})
	return View{Data: o.OverviewData, Body: o.body(), Live: true, Whole: true}
}

// overviewPage is what the page is made of.
type overviewPage struct {
	OverviewData
	health   Health
	registry *Registry
	identity *Identity
}

func (o *overviewPage) body() []Block {
	body := []Block{o.problems(), o.tiles(), o.trafficTable()}
	for _, h := range o.History {
		if h.tellsMore() {
			body = append(body, h.section())
		}
	}
	body = append(body, o.methods(), o.errors(), o.actions())
	return append(body, Beside{o.healthSection(), o.registrySection()}, Beside{o.processSection(), o.buildSection()})
}

// last is the traffic of a stretch of time, by its place in OverviewData.
func (o *overviewPage) last(i int) TrafficData {
	if i < len(o.Traffic) {
		return o.Traffic[i]
	}
	return TrafficData{}
}

func (o *overviewPage) tiles() Tiles {
	minute, five := o.last(0), o.last(1)
	return Tiles{
		{"Calls", Str(digits(minute.Rate) + "/s"), "in the last " + minute.span()},
		{"Errors", minute.errorCell(), percent(five.Errors, five.Calls) + " in " + five.span()},
		{"p99", Str(minute.duration(minute.P99)), minute.duration(five.P99) + " in " + five.span()},
		{"In flight", Str(thousands(o.InFlight)), "calls"},
		{"Connections", Str(thousands(o.Connections)), "open"},
		{"Heap", Str(memory(o.Process.HeapBytes)), bytesText(o.Process.SystemBytes) + " from the system"},
		{"Goroutines", Str(thousands(o.Process.Goroutines)), fmt.Sprintf("on %d processors", o.Process.MaxProcs)},
		{"Up for", Str(roughly(time.Duration(o.Build.UptimeSeconds) * time.Second)), "since " + o.Build.Started.UTC().Format("Jan 2 15:04")},
	}
}

func (o *overviewPage) trafficTable() Section {
	t := Table{Columns: append([]string{"In the last"}, trafficColumns...)}
	for i, w := range o.Traffic {
		if i > 0 && w == o.Traffic[i-1] { // the server is younger than both
			continue
		}
		t.Rows = append(t.Rows, append([]Cell{Str(w.span())}, w.cells()...))
	}
	return Section{ID: "traffic", Title: "Calls", Body: []Block{t}}
}

// trafficColumns are the columns of TrafficData.cells.
var trafficColumns = []string{"Calls", "Per second", "Errors", "Own faults", "p50", "p99", "Average"}

func (d TrafficData) cells() []Cell {
	return []Cell{
		Str(thousands(d.Calls)), Str(digits(d.Rate)), toned(d.Errors, Warn), toned(d.Faults, Bad),
		Str(d.duration(d.P50)), Str(d.duration(d.P99)), Str(d.duration(d.Average)),
	}
}

// toned is a count of what should not be.
func toned(n uint64, tone Tone) Cell {
	if n == 0 {
		return Cell{Text: "0", Tone: Muted}
	}
	return Cell{Text: thousands(n), Tone: tone}
}

// errorCell is the share of the calls that failed.
func (d TrafficData) errorCell() Cell {
	c := Str(percent(d.Errors, d.Calls))
	if d.Faults > 0 {
		c.Tone = Bad
	} else if d.Errors > 0 {
		c.Tone = Warn
	}
	return c
}

// duration is a duration of calls, of which there may be none.
func (d TrafficData) duration(s Seconds) string {
	if s == 0 {
		return none
	}
	return short(time.Duration(s))
}

// span is how long the stretch of time is, such as "5 min". It may be off by a
// tenth: the history has no more points.
func (d TrafficData) span() string {
	window := time.Duration(d.Window)
	for _, whole := range []time.Duration{time.Minute, 5 * time.Minute, time.Hour} {
		if (window - whole).Abs() <= whole/10 {
			return lasting(whole)
		}
	}
	return lasting(window.Round(time.Second))
}

// methods are the busiest methods.
func (o *overviewPage) methods() Section {
	t := Table{Columns: append([]string{"Method"}, trafficColumns...), Empty: "No method was called in the last 5 min."}
	for _, m := range o.Methods[:min(len(o.Methods), overviewMethods)] {
		t.Rows = append(t.Rows, append([]Cell{{Text: m.Method, Tone: Mono, Link: methodLink(m.Method)}}, m.cells()...))
	}
	sec := Section{ID: "methods", Title: "Busiest methods", Body: []Block{Text("In the last 5 min."), t}}
	if more := len(o.Methods) - len(t.Rows); more > 0 {
		sec.Body = append(sec.Body, Links{Text: fmt.Sprintf("%d more were called.", more), Links: []Cell{Link(apiPath, "All methods")}})
	}
	return sec
}

// methodLink leads to a method on the API page. What is not registered, and
// handlers of HTTP, have no such name.
func methodLink(name string) string {
	service, method, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(service, " ") {
		return ""
	}
	return describedAt(service, method)
}

// errors are the last errors. Those that say the same are one row.
func (o *overviewPage) errors() Section {
	t := Table{Columns: []string{"Last", "Times", "Method", "Code", "Error", "Caller"}, Wide: 5, Empty: "No call has failed since the start."}
	kinds := errorKinds(o.RecentErrors)
	for _, k := range kinds[:min(len(kinds), overviewRecent)] {
		t.Rows = append(t.Rows, []Cell{
			Str(clock(k.Time, o.Now)), Str(thousands(k.times)), {Text: k.Method, Tone: Mono, Link: methodLink(k.Method)}, k.code(), Str(k.Error), k.caller(),
		})
	}
	sec := Section{ID: "errors", Title: "Recent errors", Body: []Block{t}}
	if len(kinds) > 0 {
		text := fmt.Sprintf("Of the last %d that are kept, with their last caller.", len(o.RecentErrors))
		sec.Body = append([]Block{Text(text)}, sec.Body...)
	}
	return sec
}

// errorKind is an error with how often it is among the last ones.
type errorKind struct {
	RecentError
	times int
}

// rank puts the server's own faults first.
func rank(k errorKind) int {
	if k.isFault() {
		return 0
	}
	return 1
}

// errorKinds puts those together that say the same of the same method, the
// server's own faults before the others.
func errorKinds(all []RecentError) []errorKind {
	var kinds []errorKind
	seen := map[[3]string]int{}
	for _, e := range all {
		key := [3]string{e.Method, e.Code, e.Error}
		i, ok := seen[key]
		if !ok {
			i = len(kinds)
			seen[key] = i
			kinds = append(kinds, errorKind{RecentError: e})
		}
		kinds[i].times++
	}
	slices.SortStableFunc(kinds, func(a, b errorKind) int { return rank(a) - rank(b) })
	return kinds
}

// isFault says whether an error counts as one of TrafficData.Faults.
func (e RecentError) isFault() bool {
	switch e.Code {
	case "UNKNOWN", "INTERNAL", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED":
		return true
	}
	return e.Code == "UNIMPLEMENTED" && strings.Contains(e.Method, "/") // a method that is registered
}

func (e RecentError) code() Cell {
	if e.isFault() {
		return Cell{Text: e.Code, Tone: Bad}
	}
	return Cell{Text: e.Code, Tone: Warn}
}

func (e RecentError) caller() Cell {
	who := e.User
	if e.Service != "" {
		who = strings.TrimPrefix(who+" by "+e.Service, " by ")
	}
	return Cell{Text: cmp.Or(who, e.Peer), Tone: Muted}
}

func (o *overviewPage) actions() Section {
	t := Table{Columns: []string{"Time", "Who", "What", "Reason", "Outcome"}, Wide: 3, Empty: "Nobody has tried to change anything since the start."}
	for _, a := range o.RecentActions[:min(len(o.RecentActions), overviewRecent)] {
		t.Rows = append(t.Rows, []Cell{
			Str(clock(a.Time, o.Now)), Str(cmp.Or(a.Who, a.Peer)), Str(a.says()), Str(cmp.Or(a.Reason, none)), a.outcome(),
		})
	}
	return Section{ID: "actions", Title: "Recent operator actions", Body: append([]Block{t}, more("actions", len(o.RecentActions), len(t.Rows))...)}
}

// says is what was changed, or what was asked for.
func (a RecentAction) says() string {
	if a.What == "" {
		return "POST " + a.Path
	}
	text := a.What
	if a.Old != "" {
		text += ": " + a.Old
	}
	return text + " → " + a.New
}

func (a RecentAction) outcome() Cell {
	switch a.Outcome {
	case "done":
		return Cell{Text: a.Outcome, Tone: Good}
	case "failed":
		return Cell{Text: a.Outcome, Tone: Bad}
	}
	return Cell{Text: a.Outcome, Tone: Warn}
}

func more(what string, all, shown int) []Block {
	if all == shown {
		return nil
	}
	return []Block{Text(fmt.Sprintf("The last %d of %d %s that are kept; the JSON form has all.", shown, all, what))}
}
