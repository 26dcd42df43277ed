package status

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// hostile is text that must do nothing wherever it is shown.
const hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x1b[31m{{.}}"

// hostileView has the hostile text in every place of a view.
func hostileView() View {
	cell := Cell{Text: hostile, Link: "javascript:alert(1)"}
	return View{
		Title: hostile, Data: map[string]string{"x": hostile},
		Body: []Block{
			Section{ID: hostile, Title: hostile, Mono: true, Badges: []Cell{cell}, Body: []Block{
				KV{{hostile, cell}},
				Text(hostile), Code(hostile),
				Table{Caption: hostile, Columns: []string{hostile}, Rows: [][]Cell{{cell, {Text: hostile, Link: "//evil.example"}}}},
				Table{Empty: hostile},
				Action{Path: "https://evil.example/", Label: hostile},
				Form{Path: "https://evil.example/", Label: hostile, Help: hostile, Inputs: []Input{
					{Name: hostile, Label: hostile, Hint: hostile, Value: hostile},
					{Name: hostile, Value: hostile, Hidden: true},
					{Name: "c", Label: hostile, Value: hostile, Choices: choices(hostile)},
				}},
				Links{Text: hostile, Links: []Cell{cell}},
				Tiles{{hostile, cell, hostile}},
				Beside{Chart{Title: hostile, From: hostile, To: hostile, Lines: []Line{{Name: hostile, Values: []float64{1}}}}, Text(hostile)},
				Table{Columns: []string{hostile}, Heads: []Head{{Link: "//evil.example", Sorted: "ascending"}}, Rows: [][]Cell{{cell}}},
				Section{ID: "b", Title: hostile, Body: []Block{Text(hostile)}},
			}},
			Section{ID: "c", Title: hostile},
		},
	}
}

// elements are those that the pages consist of.
var elements = strings.Fields("html head meta title link body a header div span nav details summary ul li main h1 h2 h3 h4 " +
	"section dl dt dd table caption thead tbody tr th td p pre code form button footer bdi " +
	"script label input select option figure figcaption svg title desc path b wbr")

// attributes are those that the pages use.
var attributes = strings.Fields("lang charset name content rel href type class id role tabindex scope data-label method action " +
	"aria-label aria-current aria-sort aria-hidden src defer value selected autocomplete spellcheck required viewBox preserveAspectRatio d")

// checkHTML parses a page as a browser does and finds what should not be
// there. It returns where the page leads.
func checkHTML(t *testing.T, path, page string) (links []string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if !slices.Contains(elements, n.Data) {
			t.Errorf("%s has an element %s", path, n.Data)
		}
		for _, a := range n.Attr {
			if !slices.Contains(attributes, a.Key) {
				t.Errorf("%s has an attribute %s", path, a.Key)
			}
			if a.Key == "href" || a.Key == "action" {
				links = append(links, a.Val)
			}
		}
	}
	for _, link := range links {
		if local(link) == "" && link != "" {
			t.Errorf("%s links %s", path, link)
		}
	}
	return links
}

func TestHostileText(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Name = hostile })
	err := f.pages.Handle(Page{
		Path: "/internal/hostile", Title: hostile, Help: hostile, Group: hostile, Access: Operator,
		Get: func(*Request) (View, error) { return hostileView(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.setState(hostile)
	for _, path := range []string{
		"/internal/hostile", "/internal/help", "/internal/health", "/internal/cache/%3Cscript%3E%E2%80%AE",
		"/internal/help?format=%3Cscript%3E", "/internal/%3Cscript%3E%E2%80%AE",
	} {
		a := f.asOperator("GET", path, "Accept", "text/html")
		if strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
			checkHTML(t, path, a.body)
		}
		if strings.ContainsAny(a.body, "\u202e\x1b") {
			t.Errorf("%s has characters that steer the reader", path)
		}
		text := f.asOperator("GET", path)
		if strings.ContainsAny(text.body, "\u202e\x1b") {
			t.Errorf("%s as text has characters that steer the terminal", path)
		}
	}
}

// TestRowsAreAsTheTemplateWritesThem holds the cells that Go writes against those of
// the template, whose escaping is html/template's.
func TestRowsAreAsTheTemplateWritesThem(t *testing.T) {
	for _, c := range []Cell{
		{},
		Str("plain"), Name("code"),
		{Text: "bad", Tone: Bad},
		{Text: hostile, Link: "javascript:alert(1)", Tone: Warn},
		{Text: hostile, Link: "//evil.example/"},
		Link("/internal/help?a=1&b=%22x%22#c", "a & b"),
		{Text: "\x00\xff+=`/", Link: "#x"},
	} {
		var want bytes.Buffer
		if err := pageTemplate().ExecuteTemplate(&want, "cell", c); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		c.writeTo(&got)
		a, b := parsed(t, got.String()), parsed(t, want.String())
		if a != b {
			t.Errorf("%+v: %s, the template writes %s", c, got.String(), want.String())
		}
	}
}

// parsed is HTML as a browser understands it.
func parsed(t *testing.T, text string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := html.Render(&b, doc); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHTMLIsBalancedAndLoadsNothingFromElsewhere(t *testing.T) {
	f := newFixture(t)
	void := map[string]bool{"meta": true, "link": true, "!doctype": true, "br": true, "input": true, "path": true, "wbr": true}
	for _, pg := range f.pages.list() {
		if pg.Get == nil || pg.hasWildcard() {
			continue
		}
		a := f.asOperator("GET", pg.Path, "Accept", "text/html")
		a.want(t, 200, "<!doctype html>", `<html lang="en">`, "<h1>", stylePath)
		var open []string
		for _, m := range regexp.MustCompile(`<(/?)([a-z!0-9]+)`).FindAllStringSubmatch(a.body, -1) {
			switch {
			case void[m[2]]:
			case m[1] == "":
				open = append(open, m[2])
			case len(open) == 0 || open[len(open)-1] != m[2]:
				t.Fatalf("%s: </%s> closes %v", pg.Path, m[2], open)
			default:
				open = open[:len(open)-1]
			}
		}
		checkHTML(t, pg.Path, a.body)
	}
	f.ask("GET", stylePath).want(t, 200, "prefers-color-scheme")
	if bytes.Contains(style, []byte("url(")) || bytes.Contains(style, []byte("@import")) {
		t.Error("the style sheet loads something")
	}
}

func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	f := newFixture(t)
	seen := map[string]bool{}
	for _, path := range []string{"/internal/help", "/internal/debug/info", "/internal/service-info/name", "/internal/service-info/api"} {
		page := f.asOperator("GET", path, "Accept", "text/html")
		for _, link := range checkHTML(t, path, page.body) {
			target, fragment, _ := strings.Cut(link, "#")
			if target == "" {
				target = path
			}
			if seen[link] || strings.Contains(target, debugPath) && target != debugPath+"info" {
				continue
			}
			seen[link] = true
			a := f.asOperator("GET", target, "Accept", "text/html")
			if a.StatusCode != 200 && a.StatusCode != 405 {
				t.Errorf("%s links %s: %d", path, target, a.StatusCode)
			}
			if fragment != "" && !strings.Contains(a.body, `id="`+fragment+`"`) {
				t.Errorf("%s links %s, which has no #%s", path, target, fragment)
			}
		}
	}
}

// TestTextOfWhatIsOnlyInABrowser: what text leaves out leaves no lines either.
func TestTextOfWhatIsOnlyInABrowser(t *testing.T) {
	form := Form{Path: "/internal/x", Label: "Show"}
	v := View{Body: []Block{form, Text("one"), form, Action{Path: "/internal/x"}, Text("two"), Links{}, Section{Title: "Three", Body: []Block{form, Section{Title: "Four"}, Links{}}}}}
	var b bytes.Buffer
	writeText(&b, v)
	if diff := cmp.Diff("one\n\ntwo\n\n== Three ==\n\n-- Four --\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

// TestUnknownFormat: the answer to a wrong format is in one that the caller reads.
func TestUnknownFormat(t *testing.T) {
	f := newFixture(t)
	for accept, want := range map[string]string{
		"application/json": `"error": "format=xml is unknown: use html, json or text"`, "text/html": "<h1>Bad Request</h1>", "*/*": "format=xml is unknown",
	} {
		a := f.asOperator("GET", helpPath+"?format=xml", "Accept", accept)
		a.want(t, 400, want)
		if got := a.Header.Get("Content-Type"); accept != "*/*" && !strings.HasPrefix(got, accept) {
			t.Errorf("%s gets %s", accept, got)
		}
	}
}

func TestBreakable(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "Echo": "Echo", "ErrorResponse": "Error<wbr>Response", "a.v1.B": "a.<wbr>v1.<wbr>B", "HTTP<x>": "HTTP&lt;x&gt;", "\u202e": `\u{202e}`, "a_b-c/d": "a_<wbr>b-<wbr>c/<wbr>d",
	} {
		if got := string(breakable(name)); got != want {
			t.Errorf("%q is %s, want %s", name, got, want)
		}
	}
}

// TestVisible: what is quick and what is not agree.
func TestVisible(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "plain ~ text\n\tof two lines": "plain ~ text\n\tof two lines", "größer": "größer", "\x7f": `\u{7f}`, "\x1b[2J": `\u{1b}[2J`, "a\u202eb": `a\u{202e}b`, "\xff": "\ufffd",
	} {
		if got := visible(s); got != want {
			t.Errorf("visible(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestText(t *testing.T) {
	v := View{Body: []Block{
		KV{{"State", Str("READY")}, {"Up for", Str("3s")}},
		Section{ID: "a", Title: "Methods", Badges: []Cell{Str("two")}, Body: []Block{
			Text("What there is."),
			Table{Caption: "List", Columns: []string{"Name", "Calls"}, Rows: [][]Cell{{Name("Echo"), Str("12")}, {Name("Re\npeat")}}},
			Table{Columns: []string{"X"}, Empty: "None."},
			Section{Title: "Call", Body: []Block{Code("curl a\ncurl b")}},
		}},
	}}
	const want = `State:   READY
Up for:  3s

== Methods [two] ==
What there is.
List
NAME     CALLS
Echo     12
Re peat
None.

-- Call --
  curl a
  curl b
`
	var b bytes.Buffer
	writeText(&b, v)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJSONOfEmptyData(t *testing.T) {
	for _, data := range []any{nil, struct{}{}, map[string]int{}} {
		var b bytes.Buffer
		if err := writeJSON(&b, data); err != nil || b.String() != "{\n  \"version\": 1\n}\n" {
			t.Errorf("%v: %s, %v", data, b.String(), err)
		}
	}
}

func TestVersionView(t *testing.T) {
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	v := Info{Instance: "i-1", RuntimeVersion: "v1.2.3", Started: start}.version(VersionData{
		BuildVersion: "v0.1.0", Revision: "abc", Modified: true, GoVersion: "go1.26", Platform: "linux/amd64",
	}, start.Add(90*time.Second))
	var b bytes.Buffer
	writeText(&b, v)
	for _, want := range []string{"abc with local changes", "v1.2.3", "2030-01-02T03:04:05Z", "1 min 30 s", "i-1", "go1.26 linux/amd64"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, b.String())
		}
	}
}
