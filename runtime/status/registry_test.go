package status

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func (f *fixture) registryNow() Registry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.registry
}

// unregister has a registry that does at once as it is told, unless it has an
// error.
func (f *fixture) unregister(_ context.Context, out bool) (before, now Registry, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before = f.registry
	if before.Unlisted != "" {
		return before, before, Errorf(http.StatusConflict, "no registry: %s", before.Unlisted)
	}
	f.registry.TakenOut = out
	if f.registry.Err == nil {
		f.registry.State = map[bool]string{true: "unregistered", false: "registered"}[out]
	}
	return before, f.registry, nil
}

func (f *fixture) setRegistry(r Registry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.registry = r
}

func TestUnregisterPage(t *testing.T) {
	f := newFixture(t)
	const path, undo = "/internal/unregister", "/internal/unregister?undo"
	f.asOperator("POST", path).want(t, 200, "does not list this server any more")
	for _, page := range []string{"/internal/help", "/internal/health"} {
		f.asOperator("GET", page).want(t, 200, "taken out by an operator")
		f.asOperator("GET", page+"?format=json").want(t, 200, `"taken_out": true`)
		f.asOperator("GET", page+"?format=html").want(t, 200, "OUT OF THE REGISTRY", "taken out by an operator")
	}
	f.asOperator("POST", path+"?undo=false").want(t, 400, "?undo")
	f.asOperator("POST", path+"?format=html").want(t, 200, `action="/internal/unregister?undo"`)
	for _, query := range []string{"", "=1", "=true"} {
		f.asOperator("POST", undo+query).want(t, 200, "the registry lists this server")
	}
	f.ask("GET", "/internal/health").want(t, 200, "READY\n")
	if a := f.ask("GET", "/internal/health"); a.body != "READY\n" {
		t.Errorf("health of a server that is listed: %q", a.body)
	}

	f.setRegistry(Registry{State: "registered", Err: errors.New("etcd: no leader")})
	f.asOperator("POST", path+"?format=json").want(t, 202, `"state": "registered"`, `"taken_out": true`, "no leader")
	f.asOperator("GET", "/internal/help").want(t, 200, "registered, being taken out by an operator", "no leader")
	f.setRegistry(Registry{Unlisted: "there is none"})
	f.asOperator("POST", path).want(t, 409, "there is none")
	f.asOperator("GET", "/internal/help").want(t, 200, "not listed", "there is none")

	audits := f.log.audits(t)
	first, last := audits[0], audits[len(audits)-1]
	if first["what"] != "registry" || first["old"] != "registered" || first["new"] != "taken out by an operator" {
		t.Errorf("first line: %v", first)
	}
	if last["outcome"] != "refused" || last["what"] != "" {
		t.Errorf("last line: %v", last)
	}
}

// An operator who opens the page sees how things stand, and gets the one button
// and the one command that change it.
func TestGetOfUnregisterOffersWhatApplies(t *testing.T) {
	f := newFixture(t)
	const out, back = "/internal/unregister", "/internal/unregister?undo"
	takes, puts := "curl -X POST "+f.URL+out, "curl -X POST '"+f.URL+back+"'"
	entry := &EntryData{ID: "i-1", Addr: "10.0.0.8:4100"}
	for _, test := range []struct {
		r     Registry
		state string // of health
		says  string
		takes bool
		puts  bool
	}{
		{Registry{State: "registered", ListedAs: entry}, Ready, "registered", true, false},
		{Registry{State: "lost"}, Ready, "lost", true, false},
		{Registry{State: "registered", TakenOut: true}, Ready, "being taken out", false, true},
		{Registry{State: "unregistered", TakenOut: true}, Ready, "taken out by an operator", false, true},
		{Registry{Unlisted: "there is none"}, Ready, "there is none", false, false},
		{Registry{State: "registered"}, stopping, "The server is stopping", false, false},
	} {
		f.setRegistry(test.r)
		f.setState(test.state)
		for _, path := range []string{out, back} {
			text, html := f.asOperator("GET", path), f.asOperator("GET", path, "Accept", "text/html")
			text.want(t, 405, test.says)
			html.want(t, 405, test.says)
			json := f.asOperator("GET", path, "Accept", "application/json")
			json.want(t, 405, `"error": "GET changes nothing here`)
			for _, part := range []struct {
				in   string
				what string
				want bool
			}{
				{text.body, "GET changes nothing here; send a POST: " + takes + "\n", test.takes},
				{text.body, "GET changes nothing here; send a POST: " + puts + "\n", test.puts},
				{html.body, `action="` + out + `"><button>`, test.takes},
				{html.body, `action="` + back + `"><button class="mild">`, test.puts},
				{html.body, "<pre><code>" + takes + "</code></pre>", test.takes},
				{html.body, "<pre><code>curl -X POST &#39;", test.puts},
				{json.body, "send a POST", test.takes || test.puts},
			} {
				if strings.Contains(part.in, part.what) != part.want {
					t.Errorf("%+v, %s: %q is there: %t, in:\n%s", test.r, path, part.what, !part.want, part.in)
				}
			}
			if strings.Index(html.body, test.says) > strings.Index(html.body+"<form", "<form") {
				t.Errorf("%+v: the state comes after the button", test.r)
			}
		}
	}
	f.setState(Ready)
	f.setRegistry(Registry{State: "registered", ListedAs: entry})
	a := f.ask("GET", out)
	a.want(t, 405, "(take out of the registry)", "(put back into the registry)")
	a = f.asOperator("GET", "/internal/pleaseshutdown", "Accept", "text/html")
	a.want(t, 405, `action="/internal/pleaseshutdown"><button>`, "<pre><code>curl -X POST "+f.URL+"/internal/pleaseshutdown</code></pre>")
	if n := strings.Count(a.body, "<form"); n != 1 {
		t.Errorf("%d buttons to shut down", n)
	}
	for _, secret := range []string{"registered", entry.Addr} {
		if a := f.ask("GET", out); strings.Contains(a.body, secret) {
			t.Errorf("somebody who is no operator reads %q: %s", secret, a.body)
		}
	}
	if s := f.registryNow(); s.TakenOut {
		t.Error("a GET has taken the server out")
	}
}

func TestRegistryOnTheHelpPage(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name string
		r    Registry
		tone Tone
		want []string
	}{
		{"registered", Registry{Where: "etcd://h", State: "registered", LastAnswer: now.Add(-90 * time.Second)}, Good, []string{"registered", "etcd://h", "1 min 30 s ago (2026-11-22T11:58:30Z)"}},
		{"the clock went back", Registry{State: "registered", LastAnswer: now.Add(time.Hour)}, Good, []string{"registered", "", "just now (2026-11-22T13:00:00Z)"}},
		{
			"with tags",
			Registry{State: "registered", ListedAs: &EntryData{ID: "i-1", Addr: "h:1", StatusAddr: "h:2", Owner: "ann", Tags: map[string]string{"zone": "a", "rack": "7"}}},
			Good,
			[]string{"registered", "", "never", "h:1", "i-1", "h:2", "ann", "rack=7,zone=a"},
		},
		{"address not known", Registry{State: "unregistered", ListedAs: &EntryData{ID: "i-1"}}, Warn, []string{"unregistered", "", "never", "an address that is not known yet", "i-1"}},
		{"lost", Registry{State: "lost", Err: errors.New("lease <gone>")}, Warn, []string{"lost", "", "never", "lease <gone>"}},
		{"taken out", Registry{State: "unregistered", TakenOut: true}, Warn, []string{"taken out by an operator", "", "never"}},
		{"leaving", Registry{State: "lost", TakenOut: true}, Warn, []string{"lost, being taken out by an operator", "", "never"}},
		{"none", Registry{Unlisted: "there is none"}, Neutral, []string{"not listed", "there is none"}},
	} {
		kv := test.r.pairs(now)
		var got []string
		for _, pair := range kv {
			got = append(got, pair.Value.Text)
		}
		if g, w := strings.Join(got, "|"), strings.Join(test.want, "|"); g != w {
			t.Errorf("%s: %s, want %s", test.name, g, w)
		}
		if kv[0].Value.Tone != test.tone {
			t.Errorf("%s: tone %v, want %v", test.name, kv[0].Value.Tone, test.tone)
		}
	}
}

func TestRegistryInJSON(t *testing.T) {
	f := newFixture(t)
	var d struct{ Registry map[string]any }
	if err := json.Unmarshal([]byte(f.asOperator("GET", "/internal/help?format=json").body), &d); err != nil {
		t.Fatal(err)
	}
	if d.Registry["state"] != "registered" || d.Registry["taken_out"] != false || d.Registry["registry"] != "etcd://127.0.0.1:2379" || d.Registry["last_answer"] == nil {
		t.Errorf("%v", d.Registry)
	}
}

// What the server is listed as is in JSON, and only what there is of it; the
// page says whether that is so yet.
func TestListedAs(t *testing.T) {
	f := newFixture(t)
	f.setRegistry(Registry{State: "registered", ListedAs: &EntryData{ID: "i-1", Addr: "10.0.0.8:4100", Owner: "ann <a>", Tags: map[string]string{"zone": "a"}}})
	var d HelpData
	if err := json.Unmarshal([]byte(f.asOperator("GET", "/internal/help?format=json").body), &d); err != nil {
		t.Fatal(err)
	}
	if l := d.Registry.ListedAs; l == nil || l.ID != "i-1" || l.Addr != "10.0.0.8:4100" || l.Owner != "ann <a>" || l.Tags["zone"] != "a" {
		t.Errorf("%+v", l)
	}
	f.asOperator("GET", "/internal/help").want(t, 200, "Listed as:    10.0.0.8:4100", "Owner:        ann <a>", "Tags:         zone=a")
	f.asOperator("GET", "/internal/help?format=html").want(t, 200, "<dt>Listed as</dt>", "ann &lt;a&gt;")
	f.setRegistry(Registry{State: "lost", ListedAs: &EntryData{ID: "i-1", Addr: "10.0.0.8:4100"}})
	f.asOperator("GET", "/internal/help").want(t, 200, "To be listed as:  10.0.0.8:4100")
	if a := f.asOperator("GET", "/internal/help"); strings.Contains(a.body, "Owner:") || strings.Contains(a.body, "Tags:") {
		t.Error(a.body)
	}
}
