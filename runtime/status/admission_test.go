package status

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A part of a query that is malformed, or misspelled in a POST, is not left out:
// what would be done then is not what was asked for.
func TestSlipsInTheQuery(t *testing.T) {
	f := newParameterFixture(t)
	const out, cache, page = "/internal/unregister", "/internal/cache/users", "/internal/service-info/version"
	for _, c := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"POST", out + "?undo;", 400, "the query is malformed"},
		{"POST", out + "?undo;reason=x", 400, "semicolon"},
		{"POST", out + "?und0", 400, "?und0 is unknown, and nothing is done: a POST here knows undo, reason"},
		{"POST", out + "?Undo", 400, "?Undo is unknown"},
		{"POST", out + "?%75nd0%0a", 400, `?und0\u{a} is unknown`},
		{"POST", cache + "?dry_run", 400, "?dry_run is unknown"},
		{"POST", "/internal/pleaseshutdown?delay=5m", 400, "a POST here knows reason"},
		{"POST", parametersPath + "?dry_run;reason=x", 400, "malformed"},
		{"POST", parametersPath + "?ttl=5m%", 400, "malformed"},
		{"POST", parametersPath + "?ttl=5m%25", 400, "ttl=5m% is no such time"},
		{"GET", page + "?format=json;", 400, "malformed"},
		{"GET", page + "?filter=%zz", 400, "malformed"},
		{"GET", page + "?whatever=1", 200, ""}, // nothing is done by it
		{"POST", cache + "?reason=x&format=json", 200, ""},
		{"POST", out + "?undo&reason=x", 200, ""},
	} {
		if c.method == "POST" {
			f.post(c.path, formType, "limit=200").want(t, c.code, c.want)
		} else {
			f.asOperator(c.method, c.path).want(t, c.code, c.want)
		}
	}
	f.unchanged(t)
	if len(f.stopped()) > 0 || f.registryNow().TakenOut {
		t.Error("something was done")
	}
	f.ask("POST", out+"?undo;").want(t, 403) // others do not learn that
}

// What is not let in is refused, whatever the code: a check that fails is no action
// of anybody's, and anyone may bring it about.
func TestFailingCheckIsARefusal(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Operator = func(r *http.Request) (string, error) {
			if who, err := testOperator(r); err == nil {
				return who, nil
			}
			return "", Errorf(http.StatusInternalServerError, "internal error 12345678")
		}
	})
	f.asOperator("POST", "/internal/cache/users").want(t, 200)
	for range 3 * actionsKept {
		f.ask("POST", "/internal/cache/users").want(t, 500)
	}
	lines := f.log.audits(t)
	if most := 1 + 3*refusalsPerSecond; len(lines) > most { // in three seconds at most
		t.Errorf("%d lines, want %d at most", len(lines), most)
	}
	if lines[1]["outcome"] != "refused" {
		t.Errorf("%v", lines[1])
	}
	all := f.pages.recentActions()
	if a := all[len(all)-1]; a.Who != "alice" || a.Outcome != "done" {
		t.Errorf("alice's action is gone: %+v", a)
	}
}

// A page that fails is no refusal.
func TestFailingPageIsNoRefusal(t *testing.T) {
	f := newFixture(t)
	if err := f.pages.Handle(Page{
		Path: "/internal/x", Title: "X", Help: "X.", Access: Operator,
		Post: func(*Request) (View, error) { return View{}, errors.New("disk: full") },
	}); err != nil {
		t.Fatal(err)
	}
	f.asOperator("POST", "/internal/x").want(t, 500)
	if line := f.log.audits(t)[0]; line["outcome"] != "failed" {
		t.Errorf("%v", line)
	}
}

// Those without an identity cannot hide what a known caller tries.
func TestKnownCallersHaveABudgetOfTheirOwn(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Operator = func(r *http.Request) (string, error) {
			return r.Header.Get(operatorHeader), Errorf(http.StatusForbidden, "no operator")
		}
	})
	for range 5 * refusalsPerSecond {
		f.ask("POST", "/internal/cache/users")
		f.ask("POST", "/internal/cache/users")
		f.ask("POST", "/internal/cache/users")
	}
	f.ask("POST", "/internal/cache/users", operatorHeader, "mallory").want(t, 403)
	lines := f.log.audits(t)
	if last := lines[len(lines)-1]; last["who"] != "mallory" || last["outcome"] != "refused" {
		t.Errorf("%v", last)
	}
}

// postRaw sends the head of a POST and no more, and returns the answer's status.
func (f *fixture) postRaw(head string) (*http.Response, error) {
	c, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	f.t.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, "POST %s\r\nHost: localhost\r\n%s: alice\r\n%s\r\n", "/internal/cache/users HTTP/1.1", operatorHeader, head); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(c), nil)
}

// A body that does not come keeps nothing waiting that was done: nothing is.
func TestBodyIsReadBeforeThePageActs(t *testing.T) {
	f := newFixture(t)
	f.Server.Close()
	f.Server = httptest.NewUnstartedServer(f.pages.Handler())
	f.Config.ReadTimeout = 300 * time.Millisecond
	f.Start()
	t.Cleanup(f.Close)
	for name, head := range map[string]string{
		"length":  "Content-Type: " + formType + "\r\nContent-Length: 100\r\n",
		"chunked": "Content-Type: " + jsonType + "\r\nTransfer-Encoding: chunked\r\n",
	} {
		f.log = &lines{}
		f.pages.cfg.Audit = slog.New(slog.NewJSONHandler(f.log, nil))
		answer, err := f.postRaw(head)
		if err != nil {
			t.Fatal(name, err)
		}
		_ = answer.Body.Close()
		all := f.log.audits(t)
		if answer.StatusCode != http.StatusRequestTimeout || len(all) != 1 || all[0]["outcome"] != "refused" || all[0]["what"] != "" || all[0]["who"] != "alice" {
			t.Errorf("%s: %d, %v", name, answer.StatusCode, all)
		}
	}
	f.post("/internal/cache/users", formType, "x="+strings.Repeat("x", maxBody)).want(t, 413, "65536 bytes")
	f.post("/internal/cache/users", formType, "reason="+strings.Repeat("x", 5000)).want(t, 200)
}

// A page still finds the body.
func TestPagesFindTheBody(t *testing.T) {
	f := newFixture(t)
	if err := f.pages.Handle(Page{
		Path: "/internal/x", Title: "X", Help: "X.", Access: Operator,
		Post: func(r *Request) (View, error) {
			b, err := io.ReadAll(r.Body)
			return View{Plain: string(b)}, err
		},
	}); err != nil {
		t.Fatal(err)
	}
	f.post("/internal/x", formType, "reason=why&a=b").want(t, 200, "reason=why&a=b")
	if line := f.log.audits(t)[0]; line["reason"] != "why" {
		t.Errorf("%v", line)
	}
}

// A web site that points its own name at loopback reads no metrics, whoever may.
// On other addresses scrapers know a server by names of theirs.
func TestMetricsOfForeignHosts(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Metrics, c.Hosts = Anyone, []string{"echo.example"} })
	elsewhere := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4100}
	for host, code := range map[string]int{"evil.example": 403, "echo.example:9": 200, "localhost": 200, "127.0.0.1:80": 200} {
		f.ask("GET", "/metrics", "Host", host).want(t, code)
		r, w := httptest.NewRequest("GET", "/metrics", nil), httptest.NewRecorder()
		r.Host = host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, elsewhere))
		f.pages.Handler().ServeHTTP(w, r)
		if w.Code != 200 {
			t.Errorf("Host %s on %v: %d", host, elsewhere, w.Code)
		}
	}
}

// The check of an operator may be costly, and its refusals are in the log: it is
// asked once, whatever becomes of the request.
func TestOperatorIsAskedOnce(t *testing.T) {
	asked := 0
	operator := func(r *http.Request) (string, error) { asked++; return testOperator(r) }
	f := newFixture(t, func(c *Config) { c.Operator = operator })
	reader := newFixture(t, func(c *Config) { c.Operator, c.Metrics = operator, operator })
	for _, ask := range []func() answer{
		func() answer { return f.ask("GET", "/internal/help", "Accept", "text/html") },
		func() answer { return f.asOperator("GET", "/internal/help", "Accept", "text/html") },
		func() answer { return f.ask("GET", "/metrics", "Accept", "text/html") },
		func() answer { return reader.ask("GET", "/metrics", "Accept", "text/html") },
		func() answer { return f.ask("GET", "/internal/health", "Accept", "text/html") },
		func() answer { return f.asOperator("GET", "/internal/unregister", "Accept", "text/html") },
	} {
		asked = 0
		if a := ask(); asked != 1 {
			t.Errorf("%s: asked %d times (%d)", a.Request.URL.Path, asked, a.StatusCode)
		}
	}
}

// Commands to copy have no more of the caller's in them than a name of the server,
// a number, and what a shell takes for one word.
func TestCommandsToCopyAreOneWord(t *testing.T) {
	f := newParameterFixture(t)
	for _, host := range []string{"localhost:$(reboot)", "localhost:;reboot", "[::1%$(reboot)]:80", "127.0.0.1:`reboot`"} {
		for page, want := range map[string]int{"/internal/pleaseshutdown": 405, "/internal/parameters": 403, "/internal/help": 403} {
			r, w := httptest.NewRequest("GET", page, nil), httptest.NewRecorder()
			r.Host = host
			r.Header.Set(operatorHeader, "alice")
			f.pages.Handler().ServeHTTP(w, r)
			if commands := strings.Split(w.Body.String(), "curl ")[1:]; w.Code != want || strings.Contains(strings.Join(commands, ""), "reboot") {
				t.Errorf("Host %s, %s: %d:\n%s", host, page, w.Code, w.Body)
			}
			if FromThisMachine(r) == nil {
				t.Errorf("%s is this machine", host)
			}
		}
	}
	a := f.asOperator("PUT", "/internal/cache/x;touch$IFS'y'&z")
	a.want(t, 405, `'`+f.URL+"/internal/cache/")
}

// TestQuotedForAShell asks one.
func TestQuotedForAShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	for _, word := range []string{
		"", "plain", "http://127.0.0.1:4100/internal/help", "limit=100", "a b", "$(id)", "`id`", "it's", `"`, "a;b", "a&b", "?x=1", "[::1]", "~", "a\nb", `\`, "*", "!x", "#", "日本",
	} {
		out, err := exec.Command(sh, "-c", "printf %s "+shellQuote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q: %q, %v", word, out, err)
		}
	}
	if got := shellQuote("http://localhost:4100/internal/unregister"); strings.Contains(got, "'") {
		t.Error(got)
	}
}
