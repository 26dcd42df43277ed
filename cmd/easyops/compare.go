package main

import (
	"slices"

	"github.com/go-easyops/easyops/runtime/auth"
)

// change is a method whose access has changed.
type change struct {
	Service string   `json:"service"`
	Method  string   `json:"method"`
	Change  string   `json:"change"` // added, removed, widened, narrowed or incomparable
	Widened bool     `json:"widened"`
	LetsIn  []string `json:"lets_in"` // whom it did not before; of an added method empty, unless that widens access
	Before  *rule    `json:"before"`  // null where it was added
	After   *rule    `json:"after"`   // null where it was removed
}

// The kinds of change. What is incomparable lets in some and shuts out others.
const (
	added        = "added"
	removed      = "removed"
	isWidened    = "widened"
	narrowed     = "narrowed"
	incomparable = "incomparable"
)

// compare returns what has changed between two sorted lists of rules, by name.
func compare(before, after []rule, allowNew bool) []change {
	changes := []change{}
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].name() < after[0].name():
			changes = append(changes, changeOf(before[0], removed, &before[0], nil))
			before = before[1:]
		case len(before) == 0 || after[0].name() < before[0].name():
			c := changeOf(after[0], added, nil, &after[0])
			if !allowNew && after[0].access.Check(auth.Identity{}) == nil {
				c.Widened, c.LetsIn = true, least([]class{{}})
			}
			changes = append(changes, c)
			after = after[1:]
		default:
			if c, changed := compareRules(&before[0], &after[0]); changed {
				changes = append(changes, c)
			}
			before, after = before[1:], after[1:]
		}
	}
	return changes
}

func changeOf(r rule, kind string, before, after *rule) change {
	return change{Service: r.Service, Method: r.Method, Change: kind, LetsIn: []string{}, Before: before, After: after}
}

// compareRules compares the rules of one method by whom they let in. Rules that
// let in the same callers are the same, however they are written.
func compareRules(before, after *rule) (c change, changed bool) {
	var in, out []class
	for _, who := range classes(before.access, after.access) {
		id := who.identity()
		was, is := before.access.Check(id) == nil, after.access.Check(id) == nil
		switch {
		case is && !was:
			in = append(in, who)
		case was && !is:
			out = append(out, who)
		}
	}
	kind := narrowed
	switch {
	case len(in) == 0 && len(out) == 0:
		return change{}, false
	case len(in) > 0 && len(out) > 0:
		kind = incomparable
	case len(in) > 0:
		kind = isWidened
	}
	c = changeOf(*after, kind, before, after)
	c.Widened = len(in) > 0
	c.LetsIn = least(in)
	return c, true
}

// class stands for all callers whom rules cannot tell from each other.
type class struct{ user, service party }

// party is the user or the service of a call: none, one that no rule names, or
// one that a rule does, by its group or its name.
type party struct {
	is   bool
	name string // "" for one that no rule names
}

// classes are all classes of callers that two rules tell apart. Users in several
// groups are not among them: rules want one of some groups, so that whoever lets
// in such a user lets in one who is in one of the groups alone.
func classes(a, b auth.Access) (all []class) {
	for _, user := range parties(a.Groups, b.Groups) {
		for _, service := range parties(a.Services, b.Services) {
			all = append(all, class{user, service})
		}
	}
	return all
}

func parties(a, b []string) []party {
	all := []party{{}, {is: true}}
	for _, name := range unique(a, b) {
		all = append(all, party{true, name})
	}
	return all
}

// identity is one of the class.
func (c class) identity() (id auth.Identity) {
	if c.user.is {
		id.User = &auth.Principal{ID: "user"}
		if c.user.name != "" {
			id.User.Groups = []string{c.user.name}
		}
	}
	if c.service.is {
		// No rule names a service "": the rules were checked.
		id.Service = &auth.Principal{ID: c.service.name}
	}
	return id
}

// least describes those classes that the others follow from: where a caller may
// call, one with more of an identity may as well.
func least(all []class) (names []string) {
	for _, c := range all {
		if !slices.ContainsFunc(all, func(other class) bool {
			return other != c && other.user.atMost(c.user) && other.service.atMost(c.service)
		}) {
			names = append(names, c.String())
		}
	}
	return names
}

func (p party) atMost(other party) bool { return !p.is || other.is && p.name == "" || p == other }

// String describes the class.
func (c class) String() string {
	user, service := "", ""
	switch {
	case c.user.name != "":
		user = "users in group " + c.user.name
	case c.user.is:
		user = "users"
	}
	switch {
	case c.service.name != "":
		service = "service " + c.service.name
	case c.service.is:
		service = "services"
	}
	switch {
	case user == "" && service == "":
		return "everyone"
	case user == "" || service == "":
		return user + service
	}
	return user + " through " + service
}
