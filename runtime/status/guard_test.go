package status

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

type circumstance struct {
	name    string
	headers []string
	// foreign, crossing and forwarded say what a guard must see in it.
	foreign, crossing, forwarded bool
}

// circumstances are the ways in which a request can come.
var circumstances = []circumstance{
	{name: "plain"},
	{name: "same origin", headers: []string{"Sec-Fetch-Site", "same-origin"}},
	{name: "cross-site", headers: []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, crossing: true},
	{name: "same-site", headers: []string{"Sec-Fetch-Site", "same-site"}, crossing: true},
	{name: "old browser", headers: []string{"Origin", "https://evil.example"}, crossing: true},
	{name: "null origin", headers: []string{"Origin", "null"}, crossing: true},
	{name: "null origin, site none", headers: []string{"Origin", "null", "Sec-Fetch-Site", "none"}, crossing: true},
	{name: "foreign host", headers: []string{"Host", "evil.example"}, foreign: true},
	{name: "foreign host, same origin", headers: []string{"Host", "evil.example", "Origin", "http://evil.example", "Sec-Fetch-Site", "same-origin"}, foreign: true},
	{name: "x-forwarded-for", headers: []string{"X-Forwarded-For", "127.0.0.1"}, forwarded: true},
	{name: "x-forwarded-anything", headers: []string{"X-Forwarded-Whatever", ""}, forwarded: true},
	{name: "forwarded", headers: []string{"Forwarded", "for=127.0.0.1"}, forwarded: true},
	{name: "via", headers: []string{"Via", "1.1 proxy"}, forwarded: true},
}

// sleepers run for a second even at their shortest.
var sleepers = []string{"/internal/debug/cpu", "/internal/debug/profile", "/internal/debug/trace"}

// TestAccessMatrix asks every registered page in every way, by every kind of
// caller. What it expects comes from what the page declares, not from the
// guards.
func TestAccessMatrix(t *testing.T) {
	f := newFixture(t)
	asked, passed := 0, 0
	for _, pg := range f.pages.list() {
		for _, operator := range []bool{true, false} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
				for _, c := range circumstances {
					want := expected(pg, operator, method, c)
					if want == 200 && method == "GET" && c.name != "plain" && slices.Contains(sleepers, pg.Path) {
						continue // once a page is enough to wait for
					}
					asked++
					a := f.askPage(pg, operator, method, c.headers)
					checkHeaders(t, a)
					if got := a.StatusCode; got != want && !(want == 200 && got == 202) {
						t.Errorf("%s %s, operator %v, %s: %d, want %d: %s", method, pg.Path, operator, c.name, got, want, a.body)
					}
					if want == 200 {
						passed++
					}
				}
			}
		}
	}
	t.Logf("%d requests, %d let through", asked, passed)
	want := []string{"alice", "alice"} // the plain and the same-origin POST of the operator
	if got := f.stopped(); !slices.Equal(got, want) {
		t.Errorf("shutdowns by %v, want %v", got, want)
	}
}

// expected is the answer's status; 200 stands for 202 too.
func expected(pg *Page, operator bool, method string, c circumstance) int {
	switch {
	case !slices.Contains(pg.methods(), method):
		return 405
	case c.foreign && (strings.HasPrefix(pg.Path, "/internal") || pg.Path == "/metrics"): // it is asked on loopback
		return 403
	case c.crossing && (method == "POST" || pg.Costly):
		return 403
	case pg.Access != Everyone && (!operator || c.forwarded):
		return 403
	case strings.HasSuffix(pg.Path, "/heapdump") && method == "GET":
		return 403 // it is off
	}
	return 200
}

// askPage asks a page with what it needs to be quick.
func (f *fixture) askPage(pg *Page, operator bool, method string, headers []string) answer {
	f.t.Helper()
	path := strings.ReplaceAll(pg.Path, "{name}", "users")
	if slices.Contains(sleepers, pg.Path) {
		path += "?seconds=1"
	}
	if operator {
		headers = append([]string{operatorHeader, "alice"}, headers...)
	}
	return f.ask(method, path, headers...)
}

func checkHeaders(t *testing.T, a answer) {
	t.Helper()
	csp := a.Header.Get("Content-Security-Policy")
	for _, part := range []string{
		"default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'", "img-src 'self'",
		"form-action 'self'", "frame-ancestors 'none'",
	} {
		if !strings.Contains(csp, part) {
			t.Errorf("%s: Content-Security-Policy %q lacks %s", a.Request.URL.Path, csp, part)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
		"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %s is %q, want %q", a.Request.URL.Path, name, got, want)
		}
	}
	if a.StatusCode == 405 && a.Header.Get("Allow") == "" {
		t.Errorf("%s: 405 without Allow", a.Request.URL.Path)
	}
}

func TestGetThatWouldChangeSaysWhatToDo(t *testing.T) {
	f := newFixture(t)
	a := f.asOperator("GET", "/internal/pleaseshutdown")
	a.want(t, 405, "GET changes nothing here; send a POST: curl -X POST "+f.URL+"/internal/pleaseshutdown")
	if allow := a.Header.Get("Allow"); allow != "POST" {
		t.Errorf("Allow: %s", allow)
	}
	f.asOperator("GET", "/internal/pleaseshutdown", "Accept", "text/html").want(t, 405, `<form method="post" action="/internal/pleaseshutdown">`)
	if len(f.stopped()) > 0 {
		t.Error("a GET stopped the server")
	}
}

func TestOtherMethodsAreToldBoth(t *testing.T) {
	f := newParameterFixture(t)
	u := f.URL + parametersPath
	f.asOperator("PUT", parametersPath).want(t, 405, "PUT is not answered here; send a GET: curl "+u+", or a POST: curl -X POST "+u)
}

func TestForeignHostIsNotRepeatedInCommands(t *testing.T) {
	f := newFixture(t)
	a := f.asOperator("GET", "/internal/pleaseshutdown", "Host", "$(reboot).example")
	if strings.Contains(a.body, "reboot") {
		t.Errorf("the command has the caller's Host: %s", a.body)
	}
}

func TestHosts(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Hosts = []string{"Echo.Example", "10.1.2.3"} })
	for host, ok := range map[string]bool{
		"localhost": true, "LOCALHOST:4100": true, "localhost.": true, "127.0.0.1": true, "127.9.9.9:1": true,
		"[::1]:4100": true, "[::ffff:127.0.0.1]:80": true, "echo.example": true, "ECHO.EXAMPLE.:443": true, "10.1.2.3:9": true,
		"evil.example": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "10.1.2.4": false,
		"echo.example.evil.example": false, "0.0.0.0": false, "[::]": false, "2130706433": false, "127.1": false,
	} {
		want := http.StatusForbidden
		if ok {
			want = http.StatusOK
		}
		f.ask("GET", "/internal/health", "Host", host).want(t, want)
		f.ask("GET", "/readyz", "Host", host).want(t, http.StatusOK)
	}
}

func TestBodies(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		contentType string
		code        int
	}{
		{"application/json", 202},
		{"application/x-www-form-urlencoded; charset=utf-8", 202},
		{"text/plain", 415},
		{"multipart/form-data; boundary=x", 415},
		{"", 415},
		{"application/json, text/plain", 415},
	} {
		r := httptest.NewRequest("POST", f.URL+"/internal/pleaseshutdown", strings.NewReader("a=b"))
		r.RequestURI = ""
		r.Header.Set(operatorHeader, "alice")
		r.Header.Set("Content-Type", c.contentType)
		f.send(r).want(t, c.code)
	}
}

func TestUnauthorizedNamesTheScheme(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Operator = func(*http.Request) (string, error) { return "", Errorf(401, "send a token") }
	})
	a := f.ask("GET", "/internal/help")
	a.want(t, 401, "send a token")
	if got := a.Header.Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("WWW-Authenticate: %q", got)
	}
}

// A browser that is nobody learns what to do, whatever it presented; programs
// know.
func TestNextStepOfABrowser(t *testing.T) {
	const imports, asks = "Import a client certificate", "A browser sends no token, so ask with: curl "
	for name, test := range map[string]struct {
		tokens, certificates bool
		want                 string
	}{
		"by certificate": {true, true, imports},
		"by token":       {true, false, asks},
		"by nothing":     {false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(c *Config) {
				c.Tokens, c.Certificates = test.tokens, test.certificates
				c.Operator = func(*http.Request) (string, error) { return "", Errorf(401, "nobody") }
			})
			for _, accept := range []string{"text/html", "application/json", "*/*"} {
				a := f.ask("GET", "/internal/help", "Accept", accept)
				a.want(t, 401)
				for _, step := range []string{imports, asks} {
					if says, want := strings.Contains(a.body, step), step == test.want && accept == "text/html"; says != want {
						t.Errorf("%s: that it says %q is %v:\n%s", accept, step, says, a.body)
					}
				}
			}
			f.ask("GET", "/internal/help", "Accept", "text/html").want(t, 401, "Nobody.")
		})
	}
}

func TestOutsidersLearnNothing(t *testing.T) {
	const canary = "canary.v1.Service"
	f := newFixture(t, func(c *Config) { c.Name = canary })
	for _, pg := range f.pages.list() {
		for _, accept := range []string{"text/html", "application/json", "*/*"} {
			for _, method := range []string{"GET", "PUT"} {
				outside := f.ask(method, pg.Path, "Accept", accept)
				foreign := f.asOperator(method, pg.Path, "Accept", accept, "Host", "evil.example")
				if strings.Contains(outside.body+foreign.body, canary) {
					t.Errorf("%s %s as %s names the server to outsiders", method, pg.Path, accept)
				}
			}
		}
	}
	f.asOperator("GET", "/internal/health", "Accept", "text/html").want(t, 200, canary)
	f.asOperator("PUT", "/internal/help", "Accept", "text/html").want(t, 405, canary)
}

func TestHTTP2OverTLS(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Operator = LocalOperator() })
	f.secure()
	a := f.ask("GET", "/internal/pleaseshutdown")
	a.want(t, 405, "curl -X POST https://")
	if a.ProtoMajor != 2 {
		t.Fatalf("%s", a.Proto)
	}
	f.ask("POST", "/internal/pleaseshutdown").want(t, 202)
	f.ask("POST", "/internal/pleaseshutdown", "Origin", f.URL).want(t, 202)
	f.ask("POST", "/internal/pleaseshutdown", "Host", "evil.example").want(t, 403)
	f.ask("GET", "/internal/debug/cpu?seconds=1").want(t, 200)
}

func TestMetricsAccess(t *testing.T) {
	authenticated := func(r *http.Request) (string, error) {
		if r.Header.Get("Authorization") == "" {
			return "", Errorf(401, "send a token")
		}
		return "prometheus", nil
	}
	for _, c := range []struct {
		name    string
		metrics Authorizer
		headers []string
		code    int
	}{
		{"operators: nobody", nil, nil, 403},
		{"operators: operator", nil, []string{operatorHeader, "alice"}, 200},
		{"operators: behind a proxy", nil, []string{operatorHeader, "alice", "Via", "1.1 x"}, 403},
		{"authenticated: nobody", authenticated, nil, 401},
		{"authenticated: somebody", authenticated, []string{"Authorization", "x"}, 200},
		{"everyone", Anyone, nil, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(cfg *Config) { cfg.Metrics = c.metrics })
			for _, path := range []string{"/metrics", "/internal/service-info/metrics"} {
				a := f.ask("GET", path, c.headers...)
				a.want(t, c.code)
				if c.code == 200 {
					a.want(t, 200, "answer 42")
				}
			}
		})
	}
}

func TestMetricsFormats(t *testing.T) {
	f := newFixture(t)
	f.asOperator("GET", "/metrics", "Accept", "application/openmetrics-text;version=1.0.0").want(t, 200, "# EOF")
	if a := f.asOperator("GET", "/metrics"); strings.Contains(a.body, "# EOF") || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("plain scrape: %s\n%s", a.Header.Get("Content-Type"), a.body)
	}
}
