package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOverviewShowsWhatIsWrongFirst(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Identity = func() Identity {
			return Identity{Sources: []Source{
				{Name: "certificate", Expires: time.Now().Add(5*time.Hour + 30*time.Second)},
				{Name: "keys", Err: errors.New("no such file"), Expires: time.Now().Add(-time.Hour - time.Second)},
				{Name: "other", Expires: time.Now().Add(1000 * time.Hour)},
			}}
		}
	})
	f.setState("NOT_READY")
	f.mu.Lock()
	f.registry = Registry{Where: "etcd://x", State: "lost", Err: errors.New("connection refused")}
	f.mu.Unlock()
	a := f.asOperator("GET", "/internal/")
	a.want(t, 200, "== Now [6 wrong] [1 to look at] ==")
	now, _, _ := strings.Cut(a.body, "== Calls ==")
	var last int
	for _, want := range []string{
		"NOT_READY", "check cache", "password hunter2 refused", "own faults", "2 of 3,000 calls in the last 5 min failed",
		"registry lost", "connection refused", "keys", "no such file", "has expired 1 h ago", "certificate", "expires in 5 h",
	} {
		at := strings.Index(now, want)
		if at < last {
			t.Errorf("%q is at %d, not after %d, in:\n%s", want, at, last, now)
		}
		last = max(at, last)
	}
	if strings.Contains(now, "other") {
		t.Error("what is good for weeks is shown as a problem")
	}
	f.ask("GET", "/internal/health?format=json").want(t, 503, `"cache"`)
	if body := f.ask("GET", "/internal/health?format=json").body; strings.Contains(body, "hunter2") {
		t.Error("everyone sees why a check fails")
	}
}

func TestOverviewOfAServerThatIsWell(t *testing.T) {
	f := newFixture(t)
	if err := f.pages.Handle(Page{Path: "/internal/x", Title: "X", Help: "X.", Access: Operator, Post: func(*Request) (View, error) { return View{}, errors.New("disk: full") }}); err != nil {
		t.Fatal(err)
	}
	f.asOperator("POST", "/internal/cache/users?reason=stale+data")
	f.asOperator("POST", "/internal/x")
	f.ask("POST", "/internal/pleaseshutdown", "Content-Type", "application/x-www-form-urlencoded")
	for _, path := range []string{"/internal/", "/internal"} {
		a := f.asOperator("GET", path, "Accept", "text/html")
		a.want(t, 200, "<h1>Overview</h1>", `<script src="/internal/live.js" defer></script>`, `href="/internal/" aria-current="page"`,
			"<svg", "<title>Calls per second</title>", "From 5 min ago to now", "3,000", "disk full", "INTERNAL", "10.0.0.1:1",
			"users: 3 entries → empty", "stale data", "refused", "failed", "POST /internal/pleaseshutdown", "v0.1.0", "Goroutines")
		checkHTML(t, path, a.body)
		if strings.Contains(a.body, "style=") {
			t.Error("the policy forbids styles in the page")
		}
	}
	a := f.asOperator("GET", "/internal/?format=json")
	var d OverviewData
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		t.Fatal(err)
	}
	if d.Name != "echo.v1.EchoService" || d.Instance != "i-1" || d.Health.State != Ready || d.Registry == nil || d.Registry.State != "registered" || len(d.History) != 2 {
		t.Errorf("overview: %+v", d)
	}
	var outcomes []string
	for _, x := range d.RecentActions {
		outcomes = append(outcomes, x.Outcome)
	}
	if !slices.Equal(outcomes, []string{"refused", "failed", "done"}) || d.RecentActions[2].Reason != "stale data" || d.RecentActions[2].Who != "alice" {
		t.Errorf("actions: %+v", d.RecentActions)
	}
}

// TestOverviewTakesThePlaceOfHelp shows that pages without one still lead
// somewhere.
func TestOverviewTakesThePlaceOfHelp(t *testing.T) {
	newFixture(t).asOperator("GET", "/internal/health", "Accept", "text/html").want(t, 200, `class="home" href="/internal/"`)
	p, err := New(Config{Operator: testOperator})
	if err != nil || p.home() != helpPath {
		t.Errorf("home is %s, %v", p.home(), err)
	}
}

func TestActionsThatAreRefusedPushOutNoOthers(t *testing.T) {
	f := newFixture(t)
	add := func(n int, outcome string) {
		for i := range n {
			f.pages.noteAction(RecentAction{Time: time.Unix(int64(i), 0), What: fmt.Sprint(outcome, i), Outcome: outcome})
		}
	}
	add(1, "done")
	add(200, "refused")
	all := f.pages.recentActions()
	if len(all) != 1+actionsKept || all[0].What != "refused199" || !slices.ContainsFunc(all, func(a RecentAction) bool { return a.What == "done0" }) {
		t.Errorf("%d actions, first %v", len(all), all[0])
	}
	add(200, "done")
	if all = f.pages.recentActions(); len(all) != 2*actionsKept {
		t.Errorf("%d actions", len(all))
	}
}

func TestErrorsThatSayTheSameAreOneRow(t *testing.T) {
	var all []RecentError
	for i := range 10 {
		all = append(all, RecentError{Method: "other", Code: "UNIMPLEMENTED", Error: "no such method"},
			RecentError{Method: "a/B", Code: "INTERNAL", Error: fmt.Sprint(i % 2)})
	}
	all = append(all, RecentError{Method: "a/B", Code: "UNIMPLEMENTED", Error: "not yet"})
	kinds := errorKinds(all)
	var got []string
	for _, k := range kinds {
		got = append(got, fmt.Sprint(k.times, " ", k.Error))
	}
	if want := []string{"5 0", "5 1", "1 not yet", "10 no such method"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", time.Minute: "1 min", 90 * time.Second: "1 min 30 s", time.Hour: "1 h",
		25 * time.Hour: "1 d 1 h", 400*24*time.Hour + time.Minute: "400 d",
	} {
		if got := lasting(d); got != want {
			t.Errorf("lasting(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestMemory(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 300 << 20: "300 MiB", 1 << 30: "1 GiB", 5 << 40: "5 TiB"} {
		if got := memory(n); got != want {
			t.Errorf("memory(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestMethodLink(t *testing.T) {
	for name, want := range map[string]string{
		"a.v1.B/C": "/internal/service-info/api?method=C&service=a.v1.B", "other": "", "unknown method": "", "HTTP GET /x/": "",
	} {
		if got := methodLink(name); got != want {
			t.Errorf("%s leads to %q, want %q", name, got, want)
		}
	}
}
