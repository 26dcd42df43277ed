package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// operatorHeader is how requests of these tests say that an operator sends
// them.
const operatorHeader = "X-Test-Operator"

func testOperator(r *http.Request) (string, error) {
	if who := r.Header.Get(operatorHeader); who != "" {
		return who, nil
	}
	return "", errors.New("not an operator: ask one")
}

// fixture is a server with every page over a real listener.
type fixture struct {
	*httptest.Server
	t     testing.TB
	pages *Pages
	log   *lines

	mu        sync.Mutex
	shutdowns []string
	state     string
}

func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &lines{}, state: Ready}
	cfg := Config{Name: "echo.v1.EchoService", Operator: testOperator, Logger: slog.New(slog.NewJSONHandler(f.log, nil))}
	for _, c := range change {
		c(&cfg)
	}
	p, err := New(cfg)
	services := echoServices(t)
	registry := prometheus.NewRegistry()
	err = errors.Join(err,
		p.HandleInfo(Info{
			Services: []string{"echo.v1.EchoService", "grpc.health.v1.Health"}, Instance: "i-1",
			RuntimeVersion: "v0.1.0", Started: time.Now(),
		}),
		p.HandleAPI(func() []Service { return services }),
		p.HandleMetrics(registry),
		p.HandleHealth(f.health),
		p.HandleShutdown(f.shutdown),
		p.HandleDebug(false),
		p.Handle(Page{Path: "/internal/cache/{name}", Group: "Actions", Title: "Cache", Help: "Clears a cache.", Access: Operator, Get: getName, Post: postName}),
	)
	if err != nil {
		t.Fatal(err)
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "answer", Help: "The answer."}, func() float64 { return 42 }))
	f.pages, f.Server = p, httptest.NewServer(p.Handler())
	t.Cleanup(f.Close)
	return f
}

func getName(r *Request) (View, error) {
	return View{Data: map[string]string{"name": r.PathValue("name")}, Body: []Block{Text(r.PathValue("name"))}}, nil
}

func postName(r *Request) (View, error) {
	r.Changed(r.PathValue("name"), "3 entries", "empty")
	return View{Plain: "cleared"}, nil
}

func (f *fixture) health(context.Context) Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := Health{State: f.state, Checks: []Check{{Name: "database"}}}
	if f.state == "NOT_READY" {
		h.Checks = append(h.Checks, Check{Name: "cache", Err: errors.New("password hunter2 refused")})
	}
	return h
}

func (f *fixture) setState(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
}

func (f *fixture) shutdown(who string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shutdowns = append(f.shutdowns, who)
}

func (f *fixture) stopped() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.shutdowns...)
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

// ask sends a request. Headers are given as name, value, …; "Host" sets the
// host.
func (f *fixture) ask(method, path string, headers ...string) answer {
	f.t.Helper()
	r, err := http.NewRequest(method, f.URL+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	return f.send(r)
}

func (f *fixture) send(r *http.Request) answer {
	f.t.Helper()
	resp, err := f.Client().Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

// asOperator sends a request as alice.
func (f *fixture) asOperator(method, path string, headers ...string) answer {
	f.t.Helper()
	return f.ask(method, path, append([]string{operatorHeader, "alice"}, headers...)...)
}

func (a answer) want(t *testing.T, code int, parts ...string) {
	t.Helper()
	if a.StatusCode != code {
		t.Errorf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, code, a.body)
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			t.Errorf("%s %s: %q is missing in:\n%s", a.Request.Method, a.Request.URL.Path, part, a.body)
		}
	}
}

// lines is a log that may be written to concurrently.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// audits are the audit lines so far.
func (l *lines) audits(t testing.TB) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []map[string]any
	for line := range strings.Lines(l.b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] == "audit" {
			all = append(all, m)
		}
	}
	return all
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

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
