package status

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-easyops/easyops/runtime/flags"
)

const parametersPath = "/internal/parameters"

// HandleParameters registers /internal/parameters, which lists the flags of a
// set and changes those that may change.
func (p *Pages) HandleParameters(set *flags.Set) error {
	ps := parameters{p, set}
	return p.Handle(Page{
		Path: parametersPath, Group: "Actions", Title: "Parameters", Access: Operator,
		Help: "Every flag with its value and its default; a POST changes those that are dynamic, for good or for a time.",
		Get:  ps.get, Post: ps.post, Query: []string{"dry_run", "ttl"},
	})
}

// parameters is the page.
type parameters struct {
	pages *Pages
	set   *flags.Set
}

func (ps parameters) get(r *Request) (View, error) {
	if names, ok := r.URL.Query()["name"]; ok {
		return ps.one(r, names[0])
	}
	all := parameterRows(ps.set.List())
	for i := range all {
		all[i].cut()
	}
	s, err := parameterList.show(r.Request, all)
	if err != nil {
		return View{}, err
	}
	d := ParametersData{Listed: s.Listed, Parameters: append([]Parameter{}, s.Rows...), History: changeRows(ps.set.History()), Stuck: ps.set.Stuck()}
	body := []Block{Text("The name of a dynamic flag leads to where it can be changed. Static ones are as they were when the server started.")}
	body = append(body, stuckNote(d.Stuck)...)
	body = append(body, goingBack(all, time.Now())...)
	body = append(body,
		Section{Title: "All flags", Body: s.Blocks},
		Section{Title: "Latest changes", Body: latestChanges(d.History)},
		Section{Title: "By curl", Body: []Block{
			Text("Check only, change for a time, change several at once:"),
			Code(ps.commands(r.Request)),
		}})
	return View{Data: d, Body: body}, nil
}

// commands are how flags are changed by curl, on one that can be.
func (ps parameters) commands(r *http.Request) string {
	example := flags.Info{Name: "NAME"}
	for _, f := range ps.set.List() {
		if f.Dynamic && (example.Name == "NAME" || f.Name == "easyops.log-level") {
			example = f
		}
	}
	return strings.Join([]string{
		ps.command(r, example, "?dry_run"),
		ps.command(r, example, "?ttl=5m&reason=ticket+7"),
		ps.pages.curl(r, "-H 'content-type: application/json' -d '{\"NAME\": 100, \"OTHER\": [\"a\", \"b\"]}' ", ps.pages.ownURL(r, parametersPath)),
	}, "\n")
}

// command changes a flag to what it is.
func (ps parameters) command(r *http.Request, f flags.Info, query string) string {
	value := f.Value
	if f.Withheld || value == "" {
		value = "VALUE"
	}
	return ps.pages.curl(r, "--data-urlencode "+shellQuote(f.Name+"="+value)+" ", ps.pages.ownURL(r, parametersPath)+query)
}

// one shows a flag by itself, with the form that changes it.
func (ps parameters) one(r *Request, name string) (View, error) {
	f, ok := ps.set.Lookup(name)
	if !ok {
		return View{}, Errorf(http.StatusNotFound, "there is no flag %q: %s lists them", logged(name), parametersPath)
	}
	row := parameterRow(f)
	d := ParametersData{Listed: Listed{Total: 1, Matched: 1, Sort: "name"}, Parameters: []Parameter{row}, History: []ParameterChange{}, Stuck: ps.set.Stuck()}
	for _, c := range changeRows(ps.set.History()) {
		if c.Name == name {
			d.History = append(d.History, c)
		}
	}
	v := View{Title: name, Data: d, Body: append(stuckNote(d.Stuck), row.details(time.Now()))}
	if row.Dynamic {
		v.Body = append(v.Body, Section{Title: "Change it", Body: []Block{
			changeForm(f), Text("The same by curl:"), Code(ps.command(r.Request, f, "")),
		}})
	} else {
		v.Body = append(v.Body, Text(row.fixed()))
	}
	v.Body = append(v.Body,
		Section{Title: "Latest changes", Body: []Block{changeTable(d.History, false, "It has not been changed of late.")}},
		allFlags)
	return v, nil
}

// details is all there is to say about a flag.
func (p Parameter) details(now time.Time) KV {
	kv := KV{{"Value", p.valueCell()}, {"Default", p.shown(p.Default)}, {"Usage", Str(p.Usage)}, {"Type", Str(p.Type)}}
	if len(p.Values) > 0 {
		kv = append(kv, Pair{"Values", Name(strings.Join(p.Values, ", "))})
	}
	kv = append(kv, Pair{"Source", Str(p.Source)})
	if !p.Reverts.IsZero() {
		kv = append(kv, Pair{"Goes back to", p.shown(p.RevertsTo)}, Pair{"Goes back", Str(until(p.Reverts, now))})
	}
	return kv
}

// cut shortens what is long, for lists: the flag by itself has it whole.
func (p *Parameter) cut() {
	p.Value, p.Default, p.RevertsTo, p.Usage = truncate(p.Value), truncate(p.Default), truncate(p.RevertsTo), truncate(p.Usage)
}

// fixed says why a flag cannot be changed.
func (p Parameter) fixed() string {
	if p.Secret {
		return "It is secret, so it is neither shown nor changed here: restart the program with the new value."
	}
	return "It cannot be changed while the program runs: restart it with the new value."
}

// changeForm changes a flag. What is no flag begins with "-", as no flag does.
func changeForm(f flags.Info) Form {
	value := Input{Name: f.Name, Label: "New value", Value: f.Value, Choices: choices(f.Values...)}
	switch {
	case f.Withheld:
		value.Value, value.Hint = "", "The present value is not shown here in full."
	case f.Type == "bool":
		value.Choices = choices("true", "false")
	case f.Type == "list":
		value.Hint = `Such as a,b,"c,d".`
	case f.Type == "duration":
		value.Hint = "Such as 2s or 500ms."
	}
	return Form{
		Path: parametersPath, Label: "Change", Mild: true, Inputs: []Input{
			value,
			{Name: "-ttl", Label: "For how long", Hint: "Such as 5m or 2h; empty: for good."},
			{Name: "-reason", Label: "Reason", Hint: "For the log."},
		},
	}
}

// post changes flags.
func (ps parameters) post(r *Request) (View, error) {
	c, err := readChanges(r.Request, ps.set)
	if err != nil {
		return View{}, ps.refused(r, c, []string{err.Error()})
	}
	c.Who, c.Reason = r.Who, r.Reason()
	changes, err := ps.set.Change(c)
	if err != nil {
		return View{}, ps.refused(r, c, strings.Split(err.Error(), "\n"))
	}
	d := ParametersData{DryRun: c.DryRun, Changed: changeRows(changes), History: []ParameterChange{}}
	for _, change := range changes {
		what := change.Name
		if c.DryRun {
			what += " (dry run)"
		}
		r.Changed(what, change.Old, change.New)
		f, _ := ps.set.Lookup(change.Name)
		d.Parameters = append(d.Parameters, parameterRow(f))
	}
	d.Listed = Listed{Total: len(d.Parameters), Matched: len(d.Parameters), Sort: "name"}
	d.Warning = changes[0].Warning
	v := View{Title: "Changed", Data: d}
	if d.Warning != "" {
		v.Body = append(v.Body, Text("Warning: "+d.Warning+"."))
	}
	if c.DryRun {
		v.Title = "Nothing is changed"
		v.Body = append(v.Body, Text("This was a dry run. Without dry_run it would be:"))
	}
	v.Body = append(v.Body, changeTable(d.Changed, true, ""), allFlags)
	return v, nil
}

// attempt is what a flag is and what it was to be, as the log may have it: of a
// name that is no flag's, which may be a secret's misspelled, the value is kept out.
func (ps parameters) attempt(name, value string) (from, to string) {
	f, ok := ps.set.Lookup(name)
	if !ok || f.Secret {
		return f.Value, flags.Redacted
	}
	value = escape(value, unicode.IsPrint) // a line break in a password would hide its end from Redact
	return truncate(f.Value), truncate(flags.Redact(value))
}

// refused is the answer to a change that is not made, and what the log has of it.
func (ps parameters) refused(r *Request, c flags.Changes, faults []string) error {
	for _, name := range slices.Sorted(maps.Keys(c.Values)) {
		from, to := ps.attempt(name, c.Values[name])
		r.Changed(name, from, to)
	}
	e := Errorf(http.StatusBadRequest, "nothing is changed: %s", visible(strings.Join(faults, "; ")))
	e.title = "Nothing is changed"
	for _, f := range faults {
		e.body = append(e.body, Text(f))
	}
	e.body = append(e.body, allFlags)
	return e
}
