package status

import (
	"cmp"
	"fmt"
	"sort"
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
	sort.SliceStable(o.Methods, func(i, j int) bool {
		a, b := &o.Methods[i], &o.Methods[j]
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Method, b.Method)) < 0
	})
	o.Problems = o.found()
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
	if old := o.oldCalls(); len(old.Rows) > 0 {
		body = append(body, Section{ID: "running", Title: "Calls in flight", Body: []Block{Text("Those that take more than 10 s, without streams."), old}})
	}
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
	errors, p99 := percent(five.Errors, five.Calls)+" in "+five.span(), five.P99.orNone()+" in "+five.span()
	judged := o.judged(0)
	if five.span() == minute.span() { // the server is young
		errors, p99 = "of the calls", "of the latency"
	}
	return Tiles{
		{"Calls", Str(digits(minute.Rate) + "/s"), "in the last " + minute.span()},
		{"Errors", Cell{Text: percent(minute.Errors, minute.Calls), Tone: judged.tone()}, errors},
		{"p99", Str(minute.P99.orNone()), p99},
		{"In flight", Str(thousands(o.InFlight)), "calls"},
		{"Connections", Str(thousands(o.Connections)), "open"},
		{"Heap", Str(memory(o.Process.HeapBytes)), memory(o.Process.SystemBytes) + " from the system"},
		{"Goroutines", Str(thousands(o.Process.Goroutines)), "on " + count(o.Process.MaxProcs, "processors")},
		{"Up for", Str(lasting(time.Duration(o.Build.UptimeSeconds) * time.Second)), "since " + o.Build.Started.UTC().Format("Jan 2 15:04")},
	}
}

func (o *overviewPage) trafficTable() Section {
	t := Table{Columns: append([]string{"In the last"}, trafficColumns...)}
	for i, w := range o.Traffic {
		if i > 0 && w.span() == o.Traffic[i-1].span() { // the server is younger than both
			continue
		}
		t.Rows = append(t.Rows, append([]Cell{Str(w.span())}, w.cells(o.judged(i))...))
	}
	return Section{ID: "traffic", Title: "Calls", Body: []Block{t}}
}

// trafficColumns are the columns of TrafficData.cells.
var trafficColumns = []string{"Calls", "Per second", "Errors", "Own faults", "p50", "p99", "Average"}

// cells are in the colours of what is judged of the calls.
func (d TrafficData) cells(judged TrafficData) []Cell {
	faults := Normal
	if judged.Faults > 0 {
		faults = Bad
	}
	return []Cell{
		Str(thousands(d.Calls)), Str(digits(d.Rate)), toned(d.Errors, judged.callersTone()), toned(d.Faults, faults),
		Str(d.P50.orNone()), Str(d.P99.orNone()), Str(d.Average.orNone()),
	}
}

// toned is a count of what should not be.
func toned(n uint64, tone Tone) Cell {
	if n == 0 {
		return Cell{Text: "0", Tone: Muted}
	}
	return Cell{Text: thousands(n), Tone: tone}
}

// Errors that are not the server's faults are its callers' to mend. So many of
// them, and this share of the calls, are to be looked at all the same.
const (
	manyErrors      = 20
	manyErrorsShare = 20 // one in so many calls
)

// tone is that of the errors. What is not Normal is among the problems, too.
func (d TrafficData) tone() Tone {
	if d.Faults > 0 {
		return Bad
	}
	return d.callersTone()
}

// callersTone is that of the errors that are the callers'.
func (d TrafficData) callersTone() Tone {
	if n := d.Errors - min(d.Faults, d.Errors); n >= manyErrors && n*manyErrorsShare >= d.Calls {
		return Warn
	}
	return Normal
}

// errorCell is how many calls failed. Faults of the server's have a cell of their
// own.
func (d TrafficData) errorCell() Cell { return toned(d.Errors, d.callersTone()) }

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
	t := Table{Columns: append([]string{"Method"}, trafficColumns...), Empty: "Nothing was called in the last 5 min."}
	for _, m := range o.Methods[:min(len(o.Methods), overviewMethods)] {
		t.Rows = append(t.Rows, append([]Cell{{Text: m.Method, Tone: Mono, Link: methodLink(m.Method)}}, m.cells(m.judged())...))
	}
	sec := Section{ID: "methods", Title: "Busiest methods", Body: []Block{Text("In the last 5 min., with handlers of HTTP."), t}}
	if more := len(o.Methods) - len(t.Rows); more > 0 {
		sec.Body = append(sec.Body, Links{Text: count(more, "other methods") + " had calls.", Links: []Cell{Link(apiPath, "All methods")}})
	}
	return sec
}

// judged is nothing of a method that every server has.
func (m MethodTraffic) judged() TrafficData {
	if everywhere(m.Method) {
		return TrafficData{}
	}
	return m.TrafficData
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

func (o *overviewPage) actions() Section {
	t := Table{Columns: []string{"Time", "Who", "What", "Reason", "Outcome"}, Wide: 3, Empty: "Nobody has tried to change anything since the start."}
	for _, a := range o.RecentActions[:min(len(o.RecentActions), overviewRecent)] {
		t.Rows = append(t.Rows, []Cell{
			Str(clock(a.Time, o.Now)), Str(cmp.Or(a.Who, a.Peer)), Str(a.says()), Str(cmp.Or(a.Reason, none)), a.outcome(),
		})
	}
	return Section{ID: "actions", Title: "Recent operator actions", Body: append([]Block{t}, more("actions", len(o.RecentActions), len(t.Rows))...)}
}

// says is what was changed, or what was asked for and why that was not done.
func (a RecentAction) says() string {
	if a.What == "" {
		return strings.TrimSuffix("POST "+a.Path+": "+a.Error, ": ")
	}
	text := a.What
	if a.Old != "" {
		text += ": " + a.Old
	}
	text += " → " + a.New
	if a.Error != "" {
		text += ": " + a.Error
	}
	return text
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
