package status

import (
	_ "embed" // for the template and the style
	"html/template"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// The files that HTML pages consist of. They hold nothing secret, and error
// pages need them too, so they are open.
const (
	stylePath = "/internal/style.css"
	iconPath  = "/internal/icon.svg"
	livePath  = "/internal/live.js"
)

//go:embed style.css
var style []byte

//go:embed icon.svg
var icon []byte

//go:embed live.js
var live []byte

//go:embed page.html
var pageText string

// pageTemplate returns the one template of all pages. It is parsed for the
// first page, so that no process that shows none has to start with it.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"kind": kind, "visible": visible, "paragraphs": paragraphs, "local": local, "tone": tone,
		"rows": rowsHTML, "breakable": breakable, "next": next, "dict": newNested, "at": at,
	}).Parse(pageText))
})

// pageModel is what the template sees.
type pageModel struct {
	View
	Name    string
	Home    string
	Style   string
	Icon    string
	Script  string // empty for none
	Path    string
	Badges  []Cell // beside the name
	Nav     []navItem
	TOC     []tocItem
	Broad   bool // has tables for which there is no room beside the contents
	JSON    string
	TextURL string
}

type navItem struct {
	Cell
	Current bool
}

type tocItem struct {
	ID, Title string
	Mono      bool
	Sub       []tocItem
}

// navPaths are the pages that stand in the head of every page, where they
// are registered.
var navPaths = []struct{ path, text string }{
	{overviewPath, "Overview"},
	{helpPath, "Help"},
	{apiPath, "API"},
	{"/internal/service-info/grpc-callers", "Callers"},
	{connectionsPath, "Connections"},
	{dependenciesPath, "Dependencies"},
	{"/internal/parameters", "Parameters"},
	{"/internal/clearcache", "Caches"},
	{"/internal/health", "Health"},
	{"/internal/service-info/metrics", "Metrics"},
	{"/internal/service-info/version", "Version"},
	{"/internal/debug/info", "Debug"},
}

func (p *Pages) writeHTML(w io.Writer, r *http.Request, v View) error {
	m := pageModel{View: v, Name: "server", Home: p.home(), Style: stylePath, Icon: iconPath, Path: r.URL.Path}
	if !v.Whole {
		m.TOC, m.Broad = contents(v.Body), isBroad(v.Body)
	}
	if p.isOperator(r) {
		m.Name, m.Nav = p.cfg.Name, p.nav(r.URL.Path)
	}
	if h := p.healthNow(r); h.State != "" {
		m.Badges = h.badges()
	}
	if v.Status < http.StatusBadRequest && r.Method != http.MethodPost {
		m.JSON, m.TextURL = withFormat(r, formJSON), withFormat(r, formText)
		if v.Live {
			m.Script = livePath
		}
	}
	return pageTemplate().Execute(w, m)
}

// isOperator says whether the frame of a page may name the server: error
// pages, and those that everyone may see, have the same frame.
func (p *Pages) isOperator(r *http.Request) bool {
	if !p.knownHost(r) {
		return false
	}
	_, err := p.cfg.Operator(r)
	return err == nil
}

func withFormat(r *http.Request, f form) string {
	q := r.URL.Query()
	q.Set("format", string(f))
	return r.URL.Path + "?" + q.Encode()
}

func (p *Pages) nav(current string) []navItem {
	if current == strings.TrimSuffix(overviewPath, "/") {
		current = overviewPath
	}
	var items []navItem
	for _, n := range navPaths {
		if p.has(n.path) {
			items = append(items, navItem{Link(n.path, n.text), n.path == current})
		}
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, pg := range p.pages {
		if pg.Nav != "" {
			items = append(items, navItem{Link(pg.Path, pg.Nav), pg.Path == current})
		}
	}
	return items
}

// has says whether there is a page.
func (p *Pages) has(path string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.ContainsFunc(p.pages, func(pg *Page) bool { return pg.Path == path })
}

// home is where the name of the server leads.
func (p *Pages) home() string {
	if p.has(overviewPath) {
		return overviewPath
	}
	return helpPath
}

// asset is a page that is a file.
func asset(path, title, contentType string, content []byte) Page {
	return Page{
		Path: path, Title: title, Help: "How the pages look.", Access: Everyone, Hidden: true,
		Raw: func(w http.ResponseWriter, _ *Request) error {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(content) // the client's loss
			return nil
		},
	}
}

// contents is the table of contents of a page of several sections.
func contents(body []Block) []tocItem {
	items := tocItems(body)
	if len(items) == 1 && len(items[0].Sub) > 1 || len(items) > 1 {
		return items
	}
	return nil
}

// isBroad says whether a table has many columns.
func isBroad(body []Block) bool {
	return slices.ContainsFunc(body, func(b Block) bool {
		switch b := b.(type) {
		case Table:
			return len(b.Columns) > 5 && len(b.Rows) > 0
		case Section:
			return isBroad(b.Body)
		}
		return false
	})
}

func tocItems(body []Block) []tocItem {
	var items []tocItem
	for _, b := range body {
		if s, ok := b.(Section); ok && s.ID != "" && !s.Unlisted {
			items = append(items, tocItem{s.ID, s.Title, s.Mono, tocItems(s.Body)})
		}
	}
	return items
}

// kind is the name of a block for the template.
func kind(b Block) string {
	switch b.(type) {
	case KV:
		return "kv"
	case Table:
		return "table"
	case Section:
		return "section"
	case Text:
		return "text"
	case Code:
		return "code"
	case Action:
		return "action"
	case Form:
		return "form"
	case Links:
		return "links"
	case Chart:
		return "chart"
	case Tiles:
		return "tiles"
	case Beside:
		return "beside"
	}
	return ""
}

// paragraphs splits a text at its empty lines.
func paragraphs(t Text) []string {
	var ps []string
	for s := range strings.SplitSeq(visible(string(t)), "\n\n") {
		if s = strings.TrimSpace(s); s != "" {
			ps = append(ps, s)
		}
	}
	return ps
}

// local is a link of this server, or empty.
func local(link string) string {
	if strings.HasPrefix(link, "#") || strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "//") && !strings.Contains(link, `\`) {
		return link
	}
	return ""
}

// tone is the class of a cell.
func tone(t Tone) string {
	switch t {
	case Mono:
		return "mono"
	case Muted:
		return "muted"
	case Good:
		return "badge good"
	case Warn:
		return "badge warn"
	case Bad:
		return "badge bad"
	case Neutral:
		return "badge"
	}
	return ""
}

// breakable is a name that can be broken between its words: after what separates
// them, and before capitals.
func breakable(name string) template.HTML {
	var b strings.Builder
	last := ' '
	for _, r := range visible(name) {
		if strings.ContainsRune("./_-", last) || unicode.IsLower(last) && unicode.IsUpper(r) {
			b.WriteString("<wbr>")
		}
		escapeTo(&b, string(r))
		last = r
	}
	return template.HTML(b.String()) // every character in it is escaped
}

// at is the head of a column.
func at(heads []Head, i int) Head {
	if i < len(heads) {
		return heads[i]
	}
	return Head{}
}

// nested is a block with the depth of its headings.
type nested struct {
	Block Block
	Depth int
}

func newNested(b Block, depth int) nested { return nested{b, depth} }

func next(n int) int { return n + 1 }
