package status

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// writeText writes a view for a terminal.
func writeText(w *bytes.Buffer, v View) {
	if v.Plain != "" {
		w.WriteString(strings.TrimSuffix(visible(v.Plain), "\n") + "\n")
		return
	}
	first := true
	for _, b := range v.Body {
		if isSilent(b) {
			continue
		}
		if !first {
			w.WriteByte('\n')
		}
		first = false
		textBlock(w, b, 0)
	}
}

// isSilent says whether a block has nothing to say in text.
func isSilent(b Block) bool {
	switch b := b.(type) {
	case Action, Form:
		return true
	case Links:
		return b.Text == "" && len(b.Links) == 0
	}
	return false
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
		for i, inner := range b {
			if _, section := inner.(Section); section && i > 0 {
				w.WriteByte('\n')
			}
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
		if isSilent(b) {
			continue
		}
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
	line := oneLine(l.Text)
	for _, c := range l.Links {
		line += " " + oneLine(c.Text) + ": " + oneLine(c.Link)
	}
	w.WriteString(strings.TrimLeft(line, " ") + "\n")
}

// columnGap is what is between two columns, in spaces.
const columnGap = 2

// textTable aligns columns.
func textTable(w *bytes.Buffer, rows [][]Cell) {
	lines, widths := make([][]string, len(rows)), []int{}
	for i, row := range rows {
		lines[i] = make([]string, len(row))
		for j, c := range row {
			lines[i][j] = oneLine(c.Text)
			if j == len(widths) {
				widths = append(widths, 0)
			}
			widths[j] = max(widths[j], utf8.RuneCountInString(lines[i][j]))
		}
	}
	for _, line := range lines {
		gap := 0
		for j, text := range line {
			if text != "" {
				writeSpaces(w, gap)
				w.WriteString(text)
				gap = 0
			}
			gap += widths[j] - utf8.RuneCountInString(text) + columnGap
		}
		w.WriteByte('\n')
	}
}

func writeSpaces(w *bytes.Buffer, n int) {
	const some = "                                                                "
	for ; n > len(some); n -= len(some) {
		w.WriteString(some)
	}
	w.WriteString(some[:n])
}

// oneLine keeps a cell from breaking its table.
func oneLine(s string) string {
	if plain(s) && !strings.ContainsAny(s, "\n\t") && !strings.Contains(s, "  ") {
		return strings.Trim(s, " ")
	}
	return strings.Join(strings.Fields(visible(s)), " ")
}
