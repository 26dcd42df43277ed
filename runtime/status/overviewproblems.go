package status

import (
	"cmp"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"time"
)

// The levels of a [Problem], the worst first, and how many of them are called.
var levels = []struct {
	name, many string
	tone       Tone
}{{"bad", "wrong", Bad}, {"warn", "to look at", Warn}}

// toneOf is that of a level; what is none counts as the worst.
func toneOf(level string) Tone {
	for _, l := range levels {
		if l.name == level {
			return l.tone
		}
	}
	return levels[0].tone
}

// report adds a problem to those there are.
type report func(tone Tone, what, why, link string)

// problems are what is wrong, the worst first.
func (o *overviewPage) problems() Section {
	sec := Section{ID: "now", Title: "Now"}
	if len(o.Problems) == 0 {
		sec.Badges = []Cell{{Text: "nothing is wrong", Tone: Good}}
		return sec
	}
	t := Table{Columns: []string{"What", "Why", "More"}, Wide: 2}
	for _, level := range levels {
		before := len(t.Rows)
		for _, p := range o.Problems {
			if p.Level == level.name {
				t.Rows = append(t.Rows, []Cell{{Text: p.What, Tone: level.tone}, Str(p.Why), Link(p.Link, "more")})
			}
		}
		if n := len(t.Rows) - before; n > 0 {
			sec.Badges = append(sec.Badges, Cell{Text: fmt.Sprintf("%d %s", n, level.many), Tone: level.tone})
		}
	}
	sec.Body = []Block{t}
	return sec
}

// found are the problems that there are, the worst first.
func (o *overviewPage) found() []Problem {
	byTone := map[Tone][]Problem{}
	add := func(tone Tone, what, why, link string) {
		byTone[tone] = append(byTone[tone], Problem{What: what, Why: why, Link: link})
	}
	for _, p := range o.Problems { // of the program's own
		add(toneOf(p.Level), p.What, p.Why, p.Link)
	}
	o.healthProblems(add)
	o.handlerProblems(add)
	o.methodProblems(add)
	o.trafficProblems(add)
	o.clientProblems(add)
	o.registryProblems(add)
	o.identityProblems(add)
	all := []Problem{}
	for _, level := range levels {
		for _, p := range byTone[level.tone] {
			p.Level = level.name
			all = append(all, p)
		}
	}
	return all
}

func (o *overviewPage) healthProblems(add report) {
	if s := stateCell(o.Health.State); o.Health.State != "" && s.Tone != Good {
		add(s.Tone, o.Health.State, o.stateReason(), "#health")
	}
	for _, c := range o.Health.Checks {
		if !c.OK {
			add(Bad, "check "+c.Name, cmp.Or(c.Error, "fails"), "#health")
		}
	}
}

// handlerProblems are the handlers that nothing ends.
func (o *overviewPage) handlerProblems(add report) {
	var names []string
	var all int64
	var longest Seconds
	link := debugPath + "goroutine"
	for _, r := range o.Running {
		if r.Ignoring == 0 {
			continue
		}
		if len(names) == 0 {
			link += "?filter=" + url.QueryEscape(inStacks(r.Method))
		}
		names = append(names, fmt.Sprintf("%s (%s)", r.Method, thousands(r.Ignoring)))
		all, longest = all+r.Ignoring, max(longest, r.IgnoringFor)
	}
	if all == 0 {
		return
	}
	if len(names) > 1 {
		link = debugPath + "goroutine"
	}
	text := "%s go on though their calls have ended: %s, the oldest for %s"
	if all == 1 {
		text = "%s goes on though its call has ended: %s, for %s"
	}
	add(Bad, "handlers hang", fmt.Sprintf(text, count(all, "handlers"), few(names), lasting(time.Duration(longest))), strings.TrimSuffix(link, "?filter="))
}

// inStacks is what the stacks of a method's handlers have in them, from the code
// that is generated for the method; empty where there is none.
func inStacks(name string) string {
	if methodLink(name) == "" {
		return ""
	}
	service, method, _ := strings.Cut(name, "/")
	return "_" + service[strings.LastIndexByte(service, '.')+1:] + "_" + method + "_Handler"
}

// few is the first of a list.
func few(names []string) string {
	const most = 3
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// A method is out of order where one in so many calls fails through the server. Of
// such methods the first few are problems of their own.
const (
	outOfOrderShare = 10
	outOfOrderMost  = 5
)

// methodProblems are the methods that are out of order now. The busy ones that
// are well must not hide them.
func (o *overviewPage) methodProblems(add report) {
	var failing []MethodTraffic
	for _, m := range o.Methods {
		if n := m.LastMinute; n.Faults > 0 && n.Faults*outOfOrderShare >= n.Calls && !everywhere(m.Method) {
			failing = append(failing, m)
		}
	}
	sort.SliceStable(failing, func(i, j int) bool { return failing[i].LastMinute.Faults > failing[j].LastMinute.Faults })
	for _, m := range failing[:min(len(failing), outOfOrderMost)] {
		n := m.LastMinute.traffic()
		add(Bad, m.Method, fmt.Sprintf("%s of %s failed in the last %s", thousands(n.Faults), count(n.Calls, "calls"), n.span()), "#errors")
	}
	if more := len(failing) - outOfOrderMost; more > 0 {
		add(Bad, count(more, "other methods"), "fail, too", "#methods")
	}
}

// everywhere says whether a method is one that every server has. Calls of these,
// such as for health, come all the time and say nothing of the server's own.
func everywhere(method string) bool { return strings.HasPrefix(method, "grpc.") }

// traffic is counts as far as they are judged.
func (c CallCounts) traffic() TrafficData {
	return TrafficData{Window: c.Window, Calls: c.Calls, Errors: c.Errors, Faults: c.Faults}
}

// judged is the traffic of a stretch of time that is looked at for problems, by
// its place in OverviewData.
func (o *overviewPage) judged(i int) TrafficData {
	if i < len(o.Judged) {
		return o.Judged[i].traffic()
	}
	return o.last(i)
}

// trafficProblems are those that the tiles and the table show in colour.
func (o *overviewPage) trafficProblems(add report) {
	minute, five := o.judged(0), o.judged(1)
	if five.Faults > 0 {
		add(Bad, "own faults", five.share(five.Faults, "failed through the server"), "#errors")
	}
	for _, d := range []TrafficData{five, minute} {
		if d.callersTone() == Warn {
			add(Warn, "many errors", d.share(d.Errors, "ended with an error"), "#errors")
			return
		}
	}
}

// share says how many of the calls did what they should not.
func (d TrafficData) share(n uint64, what string) string {
	return fmt.Sprintf("%s of %s in the last %s %s (%s)", thousands(n), count(d.Calls, "calls"), d.span(), what, percent(n, d.Calls))
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

func (o *overviewPage) registryProblems(add report) {
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

func (o *overviewPage) identityProblems(add report) {
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
			add(Bad, s.Name, "has expired "+since(s.Expires, o.Now), helpPath+"#identity")
		case left < expiresSoon:
			add(Warn, s.Name, "expires in "+lasting(left), helpPath+"#identity")
		}
	}
}

// clientProblems are the services that cannot be called from here, or not all of
// whose instances can. A client that has not been called is none.
func (o *overviewPage) clientProblems(add report) {
	ids := anchors(o.Clients)
	for i, c := range o.Clients {
		if tone, why := c.problem(o.Now); why != "" && c.State != "IDLE" {
			add(tone, c.Service, why, connectionsPath+"#"+ids[i])
		}
	}
}

// problem is what is wrong with a client, empty where nothing is.
func (o Outbound) problem(now time.Time) (tone Tone, why string) {
	ejected := 0
	for _, i := range o.Instances {
		if i.EjectedUntil.After(now) {
			ejected++
		}
	}
	cause := o.cause()
	switch {
	case o.State == "TRANSIENT_FAILURE" || o.State == "CONNECTING" && cause != "":
		return Bad, strings.TrimSuffix("no instance can be called: "+cause, ": ")
	case o.listsNone():
		return Bad, "the registry lists no instance"
	case ejected > 0 && ejected == len(o.Instances):
		return Bad, fmt.Sprintf("all of %s have failed too often, and get no calls", count(ejected, "instances"))
	case ejected > 0:
		return Warn, fmt.Sprintf("%d of %s failed too often, and get no calls", ejected, count(len(o.Instances), "instances"))
	}
	return Normal, ""
}

// listsNone says whether the registry has answered, and lists nothing.
func (o Outbound) listsNone() bool { return !o.ByTarget && !o.ListedAt.IsZero() && o.Listed == 0 }

// cause is why no instance can be called, as far as that is known.
func (o Outbound) cause() string {
	for _, i := range o.Instances {
		if i.LastError != "" {
			return i.LastError
		}
	}
	if o.Error == "" && o.listsNone() {
		return "the registry lists none"
	}
	return o.Error
}
