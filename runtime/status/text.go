package status

import (
	"bytes"
	"fmt"
	"strings"
	"text/tabwriter"
)

// writeText writes a view for a terminal.
func writeText(w *bytes.Buffer, v View) {
	if v.Plain != "" {
		w.WriteString(strings.TrimSuffix(visible(v.Plain), "\n") + "\n")
		return
	}
	for i, b := range v.Body {
		if i > 0 {
			w.WriteByte('\n')
		}
		textBlock(w, b, 0)
	}
}

func textBlock(w *bytes.Buffer, b Block, depth int) {
	switch b := b.(type) {
	case Section:
		textSection(w, b, depth)
	case KV:
		rows := make([][]Cell, len(b))
		for i, p := range b {
			rows[i] = []Cell{Str(p.Name + ":"), p.Value}
		}
		textTable(w, rows)
	case Table:
		textCaptioned(w, b)
	case Text:
		w.WriteString(visible(string(b)) + "\n")
	case Links:
		textLinks(w, b)
	case Chart:
		w.WriteString(visible(textChart(b)))
	case Tiles:
		rows := make([][]Cell, len(b))
		for i, t := range b {
			rows[i] = []Cell{Str(t.Name + ":"), t.Value, Str(t.Note)}
		}
		textTable(w, rows)
	case Beside:
		for _, inner := range b {
			textBlock(w, inner, depth)
		}
	case Code:
		w.WriteString("  " + strings.ReplaceAll(visible(string(b)), "\n", "\n  ") + "\n")
	}
}

func textSection(w *bytes.Buffer, s Section, depth int) {
	title := visible(s.Title)
	for _, b := range s.Badges {
		title += " [" + oneLine(b.Text) + "]"
	}
	if depth == 0 {
		fmt.Fprintf(w, "== %s ==\n", title)
	} else {
		fmt.Fprintf(w, "-- %s --\n", title)
	}
	for i, b := range s.Body {
		if _, nested := b.(Section); nested && i > 0 {
			w.WriteByte('\n')
		}
		textBlock(w, b, depth+1)
	}
}

func textCaptioned(w *bytes.Buffer, t Table) {
	if t.Caption != "" {
		w.WriteString(visible(t.Caption) + "\n")
	}
	if len(t.Rows) == 0 {
		w.WriteString(visible(t.Empty) + "\n")
		return
	}
	head := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		head[i] = Str(strings.ToUpper(c))
	}
	textTable(w, append([][]Cell{head}, t.Rows...))
}

// textLinks gives the links with what they lead to.
func textLinks(w *bytes.Buffer, l Links) {
	w.WriteString(oneLine(l.Text))
	for _, c := range l.Links {
		w.WriteString(" " + oneLine(c.Text) + ": " + oneLine(c.Link))
	}
	w.WriteByte('\n')
}

// textTable aligns columns.
func textTable(w *bytes.Buffer, rows [][]Cell) {
	var aligned bytes.Buffer
	tw := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for _, c := range row {
			_, _ = fmt.Fprint(tw, oneLine(c.Text), "\t") // a buffer takes all
		}
		_, _ = fmt.Fprintln(tw)
	}
	_ = tw.Flush()
	for line := range strings.Lines(aligned.String()) {
		w.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

// oneLine keeps a cell from breaking its table.
func oneLine(s string) string { return strings.Join(strings.Fields(visible(s)), " ") }
