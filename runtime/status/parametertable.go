package status

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/flags"
)

func parameterRows(list []flags.Info) []Parameter {
	rows := make([]Parameter, len(list))
	for i, f := range list {
		rows[i] = parameterRow(f)
	}
	return rows
}

func parameterRow(f flags.Info) Parameter {
	return Parameter{
		Name: f.Name, Value: f.Value, Default: f.Default, Usage: f.Usage, Type: f.Type, Values: f.Values,
		Dynamic: f.Dynamic, Secret: f.Secret, Source: f.Source, Reverts: f.Reverts, RevertsTo: f.RevertsTo,
	}
}

func changeRows(changes []flags.Change) []ParameterChange {
	rows := make([]ParameterChange, len(changes))
	for i, c := range changes {
		rows[i] = ParameterChange{Time: c.Time, Name: c.Name, Old: c.Old, New: c.New, Who: c.Who, Reason: c.Reason, Reverts: c.Reverts, Superseded: c.Superseded}
	}
	return rows
}

// allFlags leads back to the list.
var allFlags = Links{Links: []Cell{Link(parametersPath, "Back to all flags")}}

// parameterList is how flags are listed.
var parameterList = listing[Parameter]{
	Noun: "flags", Sort: "name", Wide: 6, Wraps: true, Empty: "The server has no flags.",
	Columns: []column[Parameter]{
		{"name", "Name", Parameter.nameCell, func(a, b Parameter) int { return strings.Compare(a.Name, b.Name) }},
		{"value", "Value", Parameter.valueCell, func(a, b Parameter) int { return strings.Compare(a.Value, b.Value) }},
		{"default", "Default", Parameter.defaultCell, nil},
		{"source", "Source", func(p Parameter) Cell { return Str(p.Source) }, func(a, b Parameter) int { return strings.Compare(a.Source, b.Source) }},
		{"dynamic", "Changes", Parameter.changesCell, func(a, b Parameter) int { return strings.Compare(a.changesCell().Text, b.changesCell().Text) }},
		{"usage", "Usage", func(p Parameter) Cell { return Str(p.Usage) }, nil},
	},
}

func (p Parameter) nameCell() Cell {
	return Cell{Text: p.Name, Tone: Mono, Link: parametersPath + "?" + url.Values{"name": {p.Name}}.Encode()}
}

func (p Parameter) changesCell() Cell {
	switch {
	case !p.Reverts.IsZero():
		return Cell{Text: "for a time", Tone: Warn}
	case p.Dynamic:
		return Cell{Text: "dynamic", Tone: Good}
	case p.Secret:
		return Cell{Text: "secret", Tone: Neutral}
	}
	return Cell{Text: "static", Tone: Muted}
}

func (p Parameter) valueCell() Cell { return p.shown(p.Value) }

// defaultCell is the default where the value is another.
func (p Parameter) defaultCell() Cell {
	if p.Value == p.Default && !p.Secret {
		return Cell{Text: "the same", Tone: Muted}
	}
	return p.shown(p.Default)
}

// shown is a value of the flag.
func (p Parameter) shown(value string) Cell {
	if value == "" {
		return Cell{Text: none, Tone: Muted}
	}
	return Name(value)
}

// goingBack lists the flags that are changed for a time.
func goingBack(all []Parameter, now time.Time) []Block {
	t := Table{Columns: []string{"Name", "Value", "Goes back to", "When"}, Wide: 4, Wraps: true}
	for _, p := range all {
		if !p.Reverts.IsZero() {
			t.Rows = append(t.Rows, []Cell{p.nameCell(), p.valueCell(), p.shown(p.RevertsTo), Str(until(p.Reverts, now))})
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return []Block{Section{Title: "Changed for a time", Body: []Block{t}}}
}

// stuckNote says which function of a flag does not return.
func stuckNote(names []string) []Block {
	if len(names) == 0 {
		return nil
	}
	text := "The function of " + names[0] + " that is called for its changes has not returned for more than 5 s. Values change nevertheless"
	if waiting := names[1:]; len(waiting) > 0 {
		text += ", but the functions of these wait for it: " + strings.Join(waiting, ", ")
	}
	return []Block{Text(text + ".")}
}

// changesShown is how many changes stand below the list of flags.
const changesShown = 20

func latestChanges(all []ParameterChange) []Block {
	blocks := []Block{changeTable(all[:min(len(all), changesShown)], true, "No flag has been changed since the start.")}
	if len(all) > changesShown {
		blocks = append(blocks, Links{
			Text: fmt.Sprintf("These are the last %d of %d.", changesShown, len(all)), Links: []Cell{Link(parametersPath+"?format=json", "All as JSON")},
		})
	}
	return blocks
}

// changeTable lists changes, of one flag or of named ones.
func changeTable(changes []ParameterChange, named bool, empty string) Table {
	t := Table{Columns: []string{"Time", "Name", "Old", "New", "Who", "Goes back", "Reason"}, Empty: empty, Wide: 7, Wraps: true}
	for _, c := range changes {
		back := Str("")
		if !c.Reverts.IsZero() {
			back = Str(c.Reverts.UTC().Format(time.RFC3339))
		}
		if c.Superseded {
			back = Cell{Text: "no: a later change decides", Tone: Muted}
		}
		p := Parameter{Name: c.Name}
		t.Rows = append(t.Rows, []Cell{
			Str(c.Time.UTC().Format(time.RFC3339)), p.nameCell(), p.shown(c.Old), p.shown(c.New), Str(c.Who), back, Str(c.Reason),
		})
	}
	if !named {
		t.Columns, t.Wide = slices.Delete(t.Columns, 1, 2), 6
		for i := range t.Rows {
			t.Rows[i] = slices.Delete(t.Rows[i], 1, 2)
		}
	}
	return t
}
