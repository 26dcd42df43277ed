package status

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
)

// goroutines answers people with the goroutines in groups, and what asks for no
// form, such as go tool pprof, with the profile.
func (p *Pages) goroutines(w http.ResponseWriter, r *Request) error {
	if !grouped(r.Request) {
		return snapshot("goroutine")(w, r)
	}
	return p.show(w, r, &Page{Title: "Goroutines"}, func(r *Request) (View, error) {
		limit, err := number(r.URL.Query(), "limit", groupsDefault, 1, groupsMost)
		if err != nil {
			return View{}, err
		}
		filter := truncate(strings.TrimSpace(r.URL.Query().Get("filter")))
		return goroutinesOf(dumpStacks(maxStacks), filter, limit).view(), nil
	})
}

// grouped says whether a request asks for the page and not for the profile.
func grouped(r *http.Request) bool {
	query := r.URL.Query()
	if query.Has("format") {
		return true
	}
	form, err := negotiate(r)
	return err == nil && form != formText && !query.Has("debug")
}

// goroutinesOf is what a page shows of a dump.
func goroutinesOf(dump []byte, filter string, limit int) GoroutinesData {
	all, total := groupStacks(dump)
	d := GoroutinesData{Goroutines: max(runtime.NumGoroutine(), total), Grouped: total, Filter: filter, Groups: []GoroutineGroup{}}
	room := maxGroupsBytes
	for _, g := range all {
		if !g.contains(strings.ToLower(filter)) {
			continue
		}
		d.Matched++
		if room -= g.size(); room > 0 && len(d.Groups) < limit {
			d.Groups = append(d.Groups, g)
		}
	}
	return d
}

func (d GoroutinesData) view() View {
	t := Table{Columns: []string{"Count", "State", "Longest wait", "Where", "Created by"}, Wide: 4, Empty: "There are none with that filter."}
	stacks := Section{ID: "stacks", Title: "Stacks"}
	for i, g := range d.Groups {
		id := fmt.Sprintf("g%d", i+1)
		t.Rows = append(t.Rows, []Cell{
			{Text: thousands(g.Count), Link: "#" + id}, Str(g.State), Str(g.waited()), Name(shortFunction(g.where())), Name(shortFunction(g.startedBy())),
		})
		stacks.Body = append(stacks.Body, Section{ID: id, Title: g.title(), Body: []Block{Code(g.stack())}})
	}
	v := View{Data: d, Whole: true, Body: []Block{
		Text(d.summary()),
		Form{Path: debugPath + "goroutine", Get: true, Mild: true, Label: "Show", Inputs: []Input{
			{Name: "filter", Label: "With this in their stack", Value: d.Filter}, {Name: "format", Value: string(formHTML), Hidden: true},
		}},
		t,
		Links{Text: "As text, and for go tool pprof:", Links: []Cell{
			Link(debugPath+"goroutine?debug=2", "each in full"), Link(debugPath+"goroutine?debug=1", "in short"), Link(debugPath+"goroutine?debug=0", "the profile"),
		}},
	}}
	if len(stacks.Body) > 0 {
		v.Body = append(v.Body, stacks)
	}
	return v
}

func (d GoroutinesData) summary() string {
	s := fmt.Sprintf("%s goroutines, grouped by where they are, those that have waited longest first.", thousands(d.Goroutines))
	if d.Grouped < d.Goroutines {
		s += fmt.Sprintf(" Their stacks are too long to look at all: %s were.", thousands(d.Grouped))
	}
	if hidden := d.Matched - len(d.Groups); hidden > 0 {
		s += fmt.Sprintf(" %s groups are not shown: a filter finds them, or ?limit= up to %s as far as there is room.", thousands(hidden), thousands(groupsMost))
	}
	return s
}

func (g *GoroutineGroup) waited() string {
	if g.Longest == 0 {
		return "below 1 min"
	}
	return fmt.Sprintf("%s min", thousands(g.Longest))
}

// where is the first call that is not the Go runtime's own.
func (g *GoroutineGroup) where() string {
	for _, f := range g.Frames {
		if name := f.Function; !strings.HasPrefix(name, "runtime.") && !strings.HasPrefix(name, "internal/") && !strings.HasPrefix(name, "sync.") {
			return name
		}
	}
	if len(g.Frames) > 0 {
		return g.Frames[0].Function
	}
	return none
}

// startedBy is what began the goroutine, or what it began with where that was
// package sync on behalf of another.
func (g *GoroutineGroup) startedBy() string {
	const helper = "sync."
	if strings.HasPrefix(g.Created.Function, helper) {
		for _, f := range slices.Backward(g.Frames) {
			if !strings.HasPrefix(f.Function, helper) {
				return f.Function
			}
		}
	}
	return g.Created.Function
}

// shortFunction leaves out of a function's name where its package is from.
func shortFunction(name string) string {
	plain, _, _ := strings.Cut(name, "[") // the types of a generic one have paths too
	return name[strings.LastIndexByte(plain, '/')+1:]
}

func (g *GoroutineGroup) title() string {
	return fmt.Sprintf("%s × %s, %s, such as goroutine %d", thousands(g.Count), g.State, g.waited(), g.Example)
}

func (g *GoroutineGroup) stack() string {
	var b strings.Builder
	for _, f := range g.Frames {
		fmt.Fprintf(&b, "%s\n    %s\n", f.Function, f.File)
	}
	if g.Created != (Frame{}) {
		fmt.Fprintf(&b, "created by %s\n    %s\n", g.Created.Function, g.Created.File)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
