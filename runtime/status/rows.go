package status

import (
	"html/template"
	"strings"
)

// rowsHTML is the body of a table. Long lists are most of what pages consist of,
// and the template takes ten times as long for it. All text goes through
// [escapeTo].
func rowsHTML(t Table) template.HTML {
	var b strings.Builder
	before := make([]string, len(t.Columns)) // what stands before each cell's text
	for i, name := range t.Columns {
		before[i] = cellStart(name, i+1 == t.Wide)
	}
	for _, row := range t.Rows {
		b.WriteString(`<tr role="row">`)
		for i := range t.Columns {
			b.WriteString(before[i])
			if i < len(row) {
				row[i].writeTo(&b)
			} else {
				Cell{}.writeTo(&b)
			}
			b.WriteString("</td>")
		}
		b.WriteString("</tr>")
	}
	return template.HTML(b.String()) // every text in it is escaped
}

func cellStart(column string, wide bool) string {
	var b strings.Builder
	b.WriteString(`<td role="cell"`)
	if wide {
		b.WriteString(` class="wide"`)
	}
	if column != "" {
		b.WriteString(` data-label="`)
		escapeTo(&b, column)
		b.WriteString(`"`)
	}
	b.WriteString(">")
	return b.String()
}

// writeTo writes a cell as the template's "cell" does.
func (c Cell) writeTo(b *strings.Builder) {
	link, class := local(c.Link), tone(c.Tone)
	if link != "" {
		b.WriteString(`<a href="`)
		escapeTo(b, link)
		b.WriteString(`">`)
	}
	if class != "" {
		b.WriteString(`<span class="` + class + `">`)
	}
	b.WriteString("<bdi>")
	escapeTo(b, c.Text)
	b.WriteString("</bdi>")
	if class != "" {
		b.WriteString("</span>")
	}
	if link != "" {
		b.WriteString("</a>")
	}
}

// escapeTo makes a text fit for the content of an element and for an attribute in
// double quotes.
func escapeTo(b *strings.Builder, text string) {
	if plain(text) && !strings.ContainsAny(text, `&<>"'`) {
		b.WriteString(text)
		return
	}
	_, _ = escaper.WriteString(b, visible(text))
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")
