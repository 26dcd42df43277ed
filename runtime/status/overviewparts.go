package status

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
)

// problem is something that an operator should know of first.
type problem struct {
	what Cell
	text string
	link string
}

// problems are what is wrong, the worst first.
func (o *overviewPage) problems() Section {
	all := o.found()
	sec := Section{ID: "now", Title: "Now"}
	if len(all) == 0 {
		sec.Badges = []Cell{{Text: "nothing is wrong", Tone: Good}}
		return sec
	}
	t := Table{Columns: []string{"What", "Why", "More"}, Wide: 2}
	for _, tone := range []Tone{Bad, Warn} {
		n := 0
		for _, p := range all {
			if p.what.Tone == tone {
				n++
				t.Rows = append(t.Rows, []Cell{p.what, Str(p.text), Link(p.link, "more")})
			}
		}
		if n > 0 {
			sec.Badges = append(sec.Badges, Cell{Text: fmt.Sprintf("%d %s", n, map[Tone]string{Bad: "wrong", Warn: "to look at"}[tone]), Tone: tone})
		}
	}
	sec.Body = []Block{t}
	return sec
}

func (o *overviewPage) found() []problem {
	var all []problem
	add := func(tone Tone, what, text, link string) {
		all = append(all, problem{Cell{Text: what, Tone: tone}, text, link})
	}
	if s := stateCell(o.Health.State); o.Health.State != "" && s.Tone != Good {
		add(s.Tone, o.Health.State, o.stateReason(), "#health")
	}
	for _, c := range o.Health.Checks {
		if !c.OK {
			add(Bad, "check "+c.Name, cmp.Or(c.Error, "fails"), "#health")
		}
	}
	if five := o.last(1); five.Faults > 0 {
		add(Bad, "own faults", fmt.Sprintf("%s of %s calls in the last %s failed through the server (%s)",
			thousands(five.Faults), thousands(five.Calls), five.span(), percent(five.Faults, five.Calls)), "#errors")
	}
	o.registryProblems(add)
	o.identityProblems(add)
	return all
}

func (o *overviewPage) stateReason() string {
	switch o.Health.State {
	case "NOT_READY":
		return "the server takes no calls from clients that ask the registry: a check fails"
	case stopping:
		return "the server is stopping"
	}
	return "the server has not been ready yet"
}

func (o *overviewPage) registryProblems(add func(Tone, string, string, string)) {
	r := o.registry
	switch {
	case r == nil || r.Unlisted != "":
	case r.State == "lost":
		add(Bad, "registry lost", o.registryReason(), "#registry")
	case r.Err != nil:
		add(Bad, "registry", r.Err.Error(), "#registry")
	case r.TakenOut:
		add(Warn, "out of the registry", "an operator has taken the server out: clients that ask the registry do not find it", "/internal/unregister")
	}
}

func (o *overviewPage) registryReason() string {
	text := "the registry no longer has the server; last answer " + ago(o.registry.LastAnswer, o.Now)
	if o.registry.Err != nil {
		text += ": " + o.registry.Err.Error()
	}
	return text
}

func (o *overviewPage) identityProblems(add func(Tone, string, string, string)) {
	if o.identity == nil {
		return
	}
	for _, s := range o.identity.Sources {
		if s.Err != nil {
			add(Bad, s.Name, s.Err.Error(), helpPath+"#identity")
		}
		if s.Expires.IsZero() {
			continue
		}
		switch left := s.Expires.Sub(o.Now); {
		case left <= 0:
			add(Bad, s.Name, "has expired "+lasting(-left)+" ago", helpPath+"#identity")
		case left < expiresSoon:
			add(Warn, s.Name, "expires in "+lasting(left), helpPath+"#identity")
		}
	}
}

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
		{"Longest pause", Str(TrafficData{}.duration(p.GCPause) + " in the last 5 min")},
		{"Processors", Str(fmt.Sprint(p.MaxProcs))},
	}}}
}

func (o *overviewPage) buildSection() Section {
	return Section{ID: "build", Title: "Build", Body: []Block{o.Build.pairs()}}
}
