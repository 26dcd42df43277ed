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

// A browser that opens the page gets both buttons, all else both commands.
func TestGetOfUnregisterOffersBoth(t *testing.T) {
	f := newFixture(t)
	const command = "curl -X POST "
	for _, path := range []string{"/internal/unregister", "/internal/unregister?undo"} {
		a := f.asOperator("GET", path)
		a.want(t, 405, command+f.URL+"/internal/unregister (take", command+"'"+f.URL+"/internal/unregister?undo'")
		a = f.asOperator("GET", path, "Accept", "text/html")
		a.want(t, 405, `action="/internal/unregister"`, `action="/internal/unregister?undo"`, "It goes on serving")
	}
	a := f.asOperator("GET", "/internal/pleaseshutdown", "Accept", "text/html")
	a.want(t, 405, `action="/internal/pleaseshutdown"`, command+f.URL+"/internal/pleaseshutdown")
	if n := strings.Count(a.body, "<form"); n != 1 {
		t.Errorf("%d buttons to shut down", n)
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
		{"registered", Registry{Where: "etcd://h", State: "registered", LastAnswer: now.Add(-90 * time.Second)}, Good, []string{"registered", "etcd://h", "1m30s ago (2026-11-22T11:58:30Z)"}},
		{"the clock went back", Registry{State: "registered", LastAnswer: now.Add(time.Hour)}, Good, []string{"registered", "", "0s ago (2026-11-22T13:00:00Z)"}},
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
