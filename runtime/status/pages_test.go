package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestPageThatSaysTooLittleCannotBeRegistered(t *testing.T) {
	whole := Page{
		Path: "/internal/x", Title: "X", Help: "Shows X.", Access: Operator,
		Get: func(*Request) (View, error) { return View{}, nil },
	}
	post := func(*Request) (View, error) { return View{}, nil }
	for name, spoil := range map[string]func(*Page){
		"no access":         func(p *Page) { p.Access = 0 },
		"unknown access":    func(p *Page) { p.Access = 9 },
		"no title":          func(p *Page) { p.Title = "" },
		"no help":           func(p *Page) { p.Help = "" },
		"outside":           func(p *Page) { p.Path = "/x" },
		"not clean":         func(p *Page) { p.Path = "/internal/../x" },
		"double slash":      func(p *Page) { p.Path = "/internal//x" },
		"bad wildcard":      func(p *Page) { p.Path = "/internal/{" },
		"nothing to do":     func(p *Page) { p.Get = nil },
		"get and raw":       func(p *Page) { p.Raw = func(http.ResponseWriter, *Request) error { return nil } },
		"change by anybody": func(p *Page) { p.Access, p.Post = Everyone, post },
		"guarded probe":     func(p *Page) { p.Probe = true },
		"taken":             func(p *Page) { p.Path = "/internal/help" },
		"taken probe":       func(p *Page) { p.Path = "/livez"; p.Probe, p.Access = true, Everyone },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			page := whole
			spoil(&page)
			if err := f.pages.Handle(page); err == nil || !strings.Contains(err.Error(), page.Path) {
				t.Errorf("error = %v, want one that names the path", err)
			}
		})
	}
	if err := newFixture(t).pages.Handle(whole); err != nil {
		t.Errorf("the whole page: %v", err)
	}
}

func TestNewNeedsAnOperator(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("pages that nobody protects were made")
	}
}

func TestUnknownPathPointsToHelp(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/internal/nosuch", "/internal/debug/cmdline", "/internal/help/x", "/other"} {
		f.asOperator("GET", path).want(t, 404, "/internal/help")
	}
}

func TestReserved(t *testing.T) {
	for path, want := range map[string]bool{
		"/internal": true, "/internal/": true, "/internal/x": true, "/metrics": true, "/livez": true, "/readyz": true,
		"/": false, "/internals": false, "/metrics/x": false, "/x/internal/": false,
	} {
		if Reserved(path) != want {
			t.Errorf("Reserved(%q) = %v", path, !want)
		}
	}
}

func TestProbesHandlerServesProbesAlone(t *testing.T) {
	f := newFixture(t)
	s := httptest.NewServer(f.pages.ProbesHandler())
	defer s.Close()
	f.Server = s
	for _, pg := range f.pages.list() {
		want := http.StatusNotFound
		if pg.Probe {
			want = http.StatusOK
		}
		f.asOperator("GET", pg.Path).want(t, want)
	}
}

func TestNegotiation(t *testing.T) {
	f := newFixture(t)
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, c := range []struct{ accept, query, want string }{
		{"*/*", "", "text/plain; charset=utf-8"},
		{"", "", "text/plain; charset=utf-8"},
		{browser, "", "text/html; charset=utf-8"},
		{"application/json", "", "application/json"},
		{"Application/JSON; q=0.9", "", "application/json"},
		{browser, "?format=json", "application/json"},
		{browser, "?format=text", "text/plain; charset=utf-8"},
		{"application/json", "?format=html", "text/html; charset=utf-8"},
	} {
		a := f.asOperator("GET", "/internal/service-info/version"+c.query, "Accept", c.accept)
		a.want(t, 200)
		if got := a.Header.Get("Content-Type"); got != c.want {
			t.Errorf("Accept %q, query %q: %s, want %s", c.accept, c.query, got, c.want)
		}
	}
	f.asOperator("GET", "/internal/service-info/version?format=xml").want(t, 400, "format=xml", "json")
}

func TestJSONHasItsVersionAndNoFieldTwice(t *testing.T) {
	f := newFixture(t)
	for _, pg := range f.pages.list() {
		if pg.Get == nil || pg.hasWildcard() {
			continue
		}
		a := f.asOperator("GET", pg.Path, "Accept", "application/json")
		var m map[string]any
		if err := json.Unmarshal([]byte(a.body), &m); err != nil || m["version"] != 1.0 {
			t.Errorf("%s: version %v, %v", pg.Path, m["version"], err)
		}
		if n := strings.Count(a.body, "\n  \"version\":"); n != 1 {
			t.Errorf("%s: %d fields of the name version", pg.Path, n)
		}
		for k := range m {
			if k != strings.ToLower(k) {
				t.Errorf("%s: field %s is not in snake case", pg.Path, k)
			}
		}
	}
}

func TestHeadAnswersAsGetWithoutBody(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/internal/help", "/internal/health", "/livez"} {
		get, head := f.asOperator("GET", path), f.asOperator("HEAD", path)
		if head.StatusCode != get.StatusCode || head.ContentLength != get.ContentLength || head.body != "" {
			t.Errorf("%s: HEAD %d with length %d, GET %d with %d", path, head.StatusCode, head.ContentLength, get.StatusCode, get.ContentLength)
		}
	}
}

func TestPageThatFails(t *testing.T) {
	f := newFixture(t)
	page := Page{Path: "/internal/bad", Title: "Bad", Help: "Fails.", Access: Operator}
	for _, c := range []struct {
		name string
		get  func(*Request) (View, error)
		code int
		want string
	}{
		{"error", func(*Request) (View, error) { return View{}, errors.New("disk: full") }, 500, "disk: full"},
		{"wrapped", func(*Request) (View, error) { return View{}, fmt.Errorf("x: %w", Errorf(409, "busy: wait")) }, 409, "busy: wait"},
		{"panic", func(*Request) (View, error) { panic("secret hunter2") }, 500, "log has the reason under the ID"},
		{"data", func(*Request) (View, error) { return View{Data: []int{1}}, nil }, 500, "must be a struct"},
		{"marshal", func(*Request) (View, error) { return View{Data: make(chan int)}, nil }, 500, "data"},
	} {
		page.Path, page.Get = "/internal/bad/"+c.name, c.get
		if err := f.pages.Handle(page); err != nil {
			t.Fatal(err)
		}
		a := f.asOperator("GET", page.Path, "Accept", "application/json")
		a.want(t, c.code, `"error"`, c.want)
		if strings.Contains(a.body, "hunter2") {
			t.Error("the answer has the panic's text")
		}
	}
	if !strings.Contains(f.log.String(), "hunter2") || !strings.Contains(f.log.String(), "pages_test.go") {
		t.Error("the log has neither the panic nor its stack")
	}
}

// deadlines is a connection that remembers its deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

func TestDeadlines(t *testing.T) {
	f := newFixture(t)
	serve := func(path string) (d *deadlines, took time.Duration) {
		d = &deadlines{ResponseRecorder: httptest.NewRecorder(), read: time.Now()}
		r := httptest.NewRequest("GET", "http://localhost"+path, nil)
		r.Header.Set(operatorHeader, "alice")
		start := time.Now()
		f.pages.Handler().ServeHTTP(d, r)
		return d, d.write.Sub(start).Round(time.Second)
	}
	if d, took := serve("/internal/help"); took != pageTimeout || d.read.IsZero() {
		t.Errorf("help: %v to write, read deadline %v", took, d.read)
	}
	if d, took := serve("/internal/debug/trace?seconds=1"); took != pageTimeout+time.Second || !d.read.IsZero() {
		t.Errorf("trace: %v to write, read deadline %v", took, d.read)
	}
}
