package status

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAuditLines(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		headers            []string
		want               map[string]any // nil: no line
	}{
		{"reading", "GET", "/internal/help", []string{operatorHeader, "alice"}, nil},
		{"a GET that changes nothing", "GET", "/internal/pleaseshutdown", []string{operatorHeader, "alice"}, nil},
		{"a change", "POST", "/internal/cache/users", []string{operatorHeader, "alice"}, map[string]any{
			"level": "INFO", "who": "alice", "what": "users", "old": "3 entries", "new": "empty", "outcome": "done",
			"code": 200.0, "method": "POST", "path": "/internal/cache/users",
		}},
		{"no operator", "POST", "/internal/pleaseshutdown", nil, map[string]any{
			"level": "WARN", "who": "", "outcome": "refused", "code": 403.0,
		}},
		{"another site", "POST", "/internal/pleaseshutdown", []string{operatorHeader, "alice", "Origin", "https://evil.example"}, map[string]any{
			"who": "", "outcome": "refused", "code": 403.0,
		}},
		{"a wrong method", "DELETE", "/internal/help", []string{operatorHeader, "alice"}, map[string]any{"outcome": "refused", "code": 405.0}},
		{"a profile", "GET", "/internal/debug/heap", []string{operatorHeader, "alice"}, map[string]any{"who": "alice", "outcome": "done"}},
		{"a profile, refused", "GET", "/internal/debug/heap", nil, map[string]any{"outcome": "refused"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.ask(c.method, c.path, c.headers...)
			lines := f.log.audits(t)
			if c.want == nil {
				if len(lines) > 0 {
					t.Errorf("lines: %v", lines)
				}
				return
			}
			if len(lines) != 1 {
				t.Fatalf("%d lines, want 1: %v", len(lines), lines)
			}
			for k, want := range c.want {
				if lines[0][k] != want {
					t.Errorf("%s = %v, want %v", k, lines[0][k], want)
				}
			}
			if peer, _ := lines[0]["peer"].(string); !strings.HasPrefix(peer, "127.0.0.1:") {
				t.Errorf("peer = %v", lines[0]["peer"])
			}
		})
	}
}

func TestAuditOfSeveralChanges(t *testing.T) {
	f := newFixture(t)
	err := f.pages.Handle(Page{
		Path: "/internal/two", Title: "Two", Help: "Changes two.", Access: Operator,
		Post: func(r *Request) (View, error) {
			r.Changed("a", "1", "2")
			r.Changed("b", "x", "y")
			return View{}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.asOperator("POST", "/internal/two")
	line := f.log.audits(t)[0]
	if line["what"] != "a, b" || line["old"] != "a=1, b=x" || line["new"] != "a=2, b=y" {
		t.Errorf("line: %v", line)
	}
}

func TestLogInjection(t *testing.T) {
	f := newFixture(t)
	r, err := http.NewRequest("POST", f.URL+"/internal/cache/"+strings.Repeat("%0d%0a%1b%5b31m%e2%80%aex", 500), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(operatorHeader, "alice")
	f.send(r).want(t, 200)
	line := f.log.audits(t)[0]
	for _, key := range []string{"path", "what"} {
		s, _ := line[key].(string)
		if strings.ContainsAny(s, "\r\n\x1b\u202e") || !strings.Contains(s, `\u{202e}`) || !strings.HasSuffix(s, "…") {
			t.Errorf("%s = %q", key, s)
		}
	}
}

func TestLogged(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"plain":                  "plain",
		"naïve 日本":               "naïve 日本",
		"a\nb":                   `a\u{a}b`,
		"\x1b[31m":               `\u{1b}[31m`,
		"\u202eevil":             `\u{202e}evil`,
		"\u2028":                 `\u{2028}`,
		"bad \xff":               "bad \ufffd",
		strings.Repeat("x", 256): strings.Repeat("x", 256),
		strings.Repeat("é", 257): strings.Repeat("é", 256) + "…",
	} {
		if got := logged(in); got != want {
			t.Errorf("logged(%q) = %q, want %q", in, got, want)
		}
	}
}

// Everyone can have requests refused: they leave lines, but not a flood.
func TestRefusalsAreBounded(t *testing.T) {
	var r refusals
	now := time.Unix(1_000_000, 0)
	written := 0
	for range 10_000 {
		if _, ok := r.take(now); ok {
			written++
		}
	}
	if written != refusalsPerSecond {
		t.Errorf("%d lines in a second, want %d", written, refusalsPerSecond)
	}
	if n, ok := r.take(now.Add(time.Second)); !ok || n != 10_000-refusalsPerSecond {
		t.Errorf("a second later: %d left out, line %v", n, ok)
	}
}

func TestAuditHasTheReason(t *testing.T) {
	f := newFixture(t)
	const path = "/internal/cache/users"
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for _, c := range []struct{ name, path, body, want string }{
		{"none", path, "", ""},
		{"query", path + "?reason=+stale+data+", "", "stale data"},
		{"form", path, "reason=ticket%207", "ticket 7"},
		{"both", path + "?reason=query", "reason=form", "query"},
		{"steering", path + "?reason=a%0Ab%E2%80%AEc", "", `a\u{a}b\u{202e}c`},
		{"long", path + "?reason=" + strings.Repeat("x", 300), "", strings.Repeat("x", maxLogged) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.log = &lines{}
			f.pages.cfg.Audit = slog.New(slog.NewJSONHandler(f.log, nil))
			r, err := http.NewRequest("POST", f.URL+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set(operatorHeader, "alice")
			r.Header.Set(form[0], form[1])
			f.send(r)
			all := f.log.audits(t)
			if len(all) != 1 || all[0]["reason"] != c.want {
				t.Errorf("%v, want the reason %q", all, c.want)
			}
		})
	}
}

// TestReasonOfARefusedRequestIsNotReadFromItsBody shows that nobody who is not let in
// has the server read a form.
func TestReasonOfARefusedRequestIsNotReadFromItsBody(t *testing.T) {
	f := newFixture(t)
	r, err := http.NewRequest("POST", f.URL+"/internal/cache/users?reason=why", strings.NewReader("reason=form"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	f.send(r).want(t, 403)
	r.Method, r.URL.RawQuery, r.Body = "POST", "", io.NopCloser(strings.NewReader("reason=form"))
	f.send(r).want(t, 403)
	all := f.log.audits(t)
	if len(all) != 2 || all[0]["reason"] != "why" || all[1]["reason"] != "" {
		t.Errorf("%v", all)
	}
}
