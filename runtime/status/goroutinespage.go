package status

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"
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
		waits, err := number(r.URL.Query(), "waits", oneIf(runtime.NumGoroutine() <= fewGoroutines), 0, 1)
		if err != nil {
			return View{}, err
		}
		filter := truncate(strings.TrimSpace(r.URL.Query().Get("filter")))
		if waits == 0 {
			return placesOf(filter, limit).view(), nil
		}
		return goroutinesOf(dumpStacks(maxStacks), filter, limit).view(), nil
	})
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// grouped says whether a request asks for the page and not for the profile.
func grouped(r *http.Request) bool {
	query := r.URL.Query()
	if query.Has("format") || query.Has("waits") {
		return true
	}
	form, err := negotiate(r)
	return err == nil && form != formText && !query.Has("debug")
}

// goroutinesOf is what a page shows of a dump.
func goroutinesOf(dump []byte, filter string, limit int) GoroutinesData {
	all, total := groupStacks(dump)
	return choose(all, total, filter, limit)
}

// placesOf is the same without states and waits, which do not cost the process
// a stop.
func placesOf(filter string, limit int) GoroutinesData {
	all, total := groupPlaces(readPlaces())
	d := choose(all, total, filter, limit)
	d.NoWaits = true
	return d
}

// choose is as much of the groups as the filter leaves and there is room for.
func choose(all []GoroutineGroup, total int, filter string, limit int) GoroutinesData {
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
	if d.NoWaits {
		t.Columns, t.Wide = []string{"Count", "Where", "Begun with"}, 2
	}
	stacks := Section{ID: "stacks", Title: "Stacks"}
	for i, g := range d.Groups {
		id := fmt.Sprintf("g%d", i+1)
		row := []Cell{{Text: thousands(g.Count), Link: "#" + id}}
		if !d.NoWaits {
			row = append(row, Str(g.State), Str(g.waited()))
		}
		t.Rows = append(t.Rows, append(row, Name(shortFunction(g.where())), Name(shortFunction(g.startedBy()))))
		stacks.Body = append(stacks.Body, Section{ID: id, Title: g.title(), Body: []Block{Code(g.stack())}})
	}
	v := View{Data: d, Whole: true, Body: []Block{Text(d.summary())}}
	if d.NoWaits {
		v.Body = append(v.Body, Links{Text: d.withoutWaits(), Links: []Cell{Link(d.withWaits(), "with states and waits")}})
	}
	v.Body = append(v.Body, d.form(), t, Links{Text: "As text, and for go tool pprof:", Links: []Cell{
		Link(debugPath+"goroutine?debug=2", "each in full"), Link(debugPath+"goroutine?debug=1", "in short"), Link(debugPath+"goroutine?debug=0", "the profile"),
	}})
	if len(stacks.Body) > 0 {
		v.Body = append(v.Body, stacks)
	}
	return v
}

// form asks for the filter, and for waits where somebody has asked for them.
func (d GoroutinesData) form() Form {
	inputs := []Input{
		{Name: "filter", Label: "With this in their stack", Value: d.Filter}, {Name: "format", Value: string(formHTML), Hidden: true},
	}
	if !d.NoWaits && d.Goroutines > fewGoroutines {
		inputs = append(inputs, Input{Name: "waits", Value: "1", Hidden: true})
	}
	return Form{Path: debugPath + "goroutine", Get: true, Mild: true, Label: "Show", Inputs: inputs}
}

func (d GoroutinesData) withWaits() string {
	return debugPath + "goroutine?" + url.Values{"format": {string(formHTML)}, "waits": {"1"}, "filter": {d.Filter}}.Encode()
}

// withoutWaits says why there are none, and what they would cost.
func (d GoroutinesData) withoutWaits() string {
	stop := (time.Duration(d.Goroutines) * dumpEach).Round(10 * time.Millisecond)
	return fmt.Sprintf("What state they are in and how long each has waited is left out, as reading it would stop the process for about %s:", short(max(stop, 10*time.Millisecond)))
}

func (d GoroutinesData) summary() string {
	order := "those that have waited longest first"
	if d.NoWaits {
		order = "the largest groups first"
	}
	s := fmt.Sprintf("%s goroutines, grouped by where they are, %s.", thousands(d.Goroutines), order)
	if d.Grouped < d.Goroutines && !d.NoWaits {
		s += fmt.Sprintf(" Their stacks are too long to look at all: %s were.", thousands(d.Grouped))
	}
	if hidden := d.Matched - len(d.Groups); hidden > 0 {
		s += fmt.Sprintf(" %s groups are not shown: a filter finds them, or ?limit= up to %s as far as there is room.", thousands(hidden), thousands(groupsMost))
	}
	return s
}

func (g *GoroutineGroup) waited() string {
	if *g.Longest == 0 {
		return "below 1 min"
	}
	return fmt.Sprintf("%s min", thousands(*g.Longest))
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
// package sync on behalf of another, or is not known.
func (g *GoroutineGroup) startedBy() string {
	const helper = "sync."
	if g.Longest == nil && g.Created == (Frame{}) || strings.HasPrefix(g.Created.Function, helper) {
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
	if g.Longest == nil {
		return fmt.Sprintf("%s × %s", thousands(g.Count), shortFunction(g.where()))
	}
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
