package status

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

const callersPath = "/internal/service-info/grpc-callers"

// HandleCallers registers /internal/service-info/grpc-callers, which shows the
// callers that callers gives: all of them, in any order and without what
// [Listed] says. callers may be called concurrently.
func (p *Pages) HandleCallers(callers func() CallersData) error {
	return p.Handle(Page{
		Path: callersPath, Group: "This server", Title: "Callers", Access: Operator,
		Help: "Who has called which method of this server: how often, with which errors, and how long it took.",
		Get:  func(r *Request) (View, error) { return callers().view(r, time.Now()) },
	})
}

func (d CallersData) view(r *Request, now time.Time) (View, error) {
	list := callersListing(now)
	s, err := list.show(r.Request, d.Callers)
	if err != nil {
		return View{}, err
	}
	d.Listed, d.Callers = s.Listed, make([]Caller, 0, len(s.Rows))
	for _, c := range s.Rows {
		c.Last = c.Last.UTC()
		d.Callers = append(d.Callers, c)
	}
	v := View{Data: d, Body: s.Blocks, Live: true}
	if d.Unlisted > 0 {
		v.Body = append([]Block{Text("Counted in the rows of all others: " + count(d.Unlisted, "calls") + " of callers without a row of their own. There are 1,024 rows, " +
			"and those without a call for 10 minutes are given to new callers.")}, v.Body...)
	}
	return v, nil
}

func callersListing(now time.Time) listing[Caller] {
	return listing[Caller]{
		Noun: "callers", Sort: "-calls",
		Empty: "Nobody has called this server yet.",
		Columns: []column[Caller]{
			{"method", "Method", func(c Caller) Cell { return Name(c.Method) }, by(func(c Caller) string { return c.Method })},
			{"caller", "Caller", Caller.cell, by(Caller.name)},
			{"calls", "Calls", func(c Caller) Cell { return Str(thousands(c.Calls)) }, by(func(c Caller) uint64 { return c.Calls })},
			{"errors", "Errors", Caller.errors, by(func(c Caller) uint64 { return c.Failed })},
			{"last", "Last call", func(c Caller) Cell { return Str(since(c.Last, now)) }, byTime(func(c Caller) time.Time { return c.Last })},
			{"p50", "p50", func(c Caller) Cell { return Str(c.P50.orNone()) }, by(func(c Caller) Seconds { return c.P50 })},
			{"p99", "p99", func(c Caller) Cell { return Str(c.P99.orNone()) }, by(func(c Caller) Seconds { return c.P99 })},
		},
	}
}

// by compares by a value.
func by[T any, K cmp.Ordered](key func(T) K) func(a, b T) int {
	return func(a, b T) int { return cmp.Compare(key(a), key(b)) }
}

func byTime[T any](key func(T) time.Time) func(a, b T) int {
	return func(a, b T) int { return key(a).Compare(key(b)) }
}

// name is the caller for people. An ID may be any text, so its kind is there too.
func (c Caller) name() string {
	switch c.Kind {
	case "service", "user":
		return c.Kind + " " + c.Caller
	case "other":
		return "all others"
	}
	return c.Kind
}

func (c Caller) cell() Cell {
	if c.Kind == "service" || c.Kind == "user" {
		return Str(c.name())
	}
	return Cell{Text: c.name(), Tone: Muted}
}

// errors names the codes, the most frequent first.
func (c Caller) errors() Cell {
	if c.Failed == 0 {
		return Cell{Text: "0", Tone: Muted}
	}
	names := make([]string, 0, len(c.Errors))
	for name := range c.Errors {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(c.Errors[b], c.Errors[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		if len(names) > 1 {
			names[i] += " " + thousands(c.Errors[name])
		}
	}
	return Str(thousands(c.Failed) + ": " + strings.Join(names, ", "))
}
