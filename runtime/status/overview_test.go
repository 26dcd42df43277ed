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

// TestColoursOfErrors: what is in colour is a problem, and the other way round.
func TestColoursOfErrors(t *testing.T) {
	calls := func(n, errors, faults uint64) TrafficData {
		return TrafficData{Calls: n, Errors: errors, Faults: faults}
	}
	for name, c := range map[string]struct {
		minute, five TrafficData
		want         []string
		tone         Tone
	}{
		"none":                    {calls(100, 0, 0), calls(900, 0, 0), nil, Normal},
		"few":                     {calls(1000, 14, 0), calls(5000, 70, 0), nil, Normal},
		"many of very few":        {calls(10, 10, 0), calls(19, 19, 0), nil, Normal},
		"many":                    {calls(100, 30, 0), calls(200, 30, 0), []string{"many errors"}, Warn},
		"many in the last minute": {calls(100, 30, 0), calls(9000, 30, 0), []string{"many errors"}, Warn},
		"many earlier":            {calls(100, 0, 0), calls(200, 30, 0), []string{"many errors"}, Normal},
		"a fault":                 {calls(100, 1, 1), calls(900, 1, 1), []string{"own faults"}, Bad},
		"faults alone":            {calls(100, 90, 90), calls(900, 90, 90), []string{"own faults"}, Bad},
		"both":                    {calls(100, 90, 1), calls(100, 90, 1), []string{"own faults", "many errors"}, Bad},
	} {
		o := overviewPage{OverviewData: OverviewData{Traffic: []TrafficData{c.minute, c.five}}}
		var got []string
		for _, p := range o.found() {
			got = append(got, p.What)
		}
		if tone := o.tiles()[1].Value.Tone; !slices.Equal(got, c.want) || tone != c.tone {
			t.Errorf("%s: problems %q and tone %d, want %q and %d", name, got, tone, c.want, c.tone)
		}
	}
}

// TestTilesOfAYoungServer do not say the same twice.
func TestTilesOfAYoungServer(t *testing.T) {
	young := TrafficData{Window: Seconds(22 * time.Second), Calls: 1000, Errors: 14, P99: Seconds(12 * time.Millisecond)}
	five := young
	five.Window = Seconds(5 * time.Minute)
	for want, d := range map[string]TrafficData{"of the calls": young, "1.4 % in 5 min": five} {
		o := overviewPage{OverviewData: OverviewData{Traffic: []TrafficData{young, d}}}
		if got := o.tiles()[1].Note; got != want {
			t.Errorf("%q, want %q", got, want)
		}
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

func TestFaultsStandFirstAmongErrors(t *testing.T) {
	o := overviewPage{OverviewData: OverviewData{RecentErrors: []RecentError{
		{Method: "other", Code: "UNIMPLEMENTED", Count: 10}, {Method: "a/B", Code: "UNIMPLEMENTED", Count: 1, Fault: true},
	}}}
	sec := o.errors()
	rows := sec.Body[1].(Table).Rows
	if len(rows) != 2 || rows[0][2].Text != "a/B" || rows[0][3].Tone != Bad || rows[1][1].Text != "10" || rows[1][3].Tone != Neutral {
		t.Errorf("%+v", rows)
	}
	if !sec.Body[1].(Table).Wraps {
		t.Error("long names leave no room for the errors")
	}
	if o.RecentErrors[0].Fault {
		t.Error("the JSON form is not the latest first any more")
	}
}

// TestStretchesOfTheSameNameAreOne: of a server that is 5 min old the hour is no
// longer than the 5 min.
func TestStretchesOfTheSameNameAreOne(t *testing.T) {
	traffic := func(d time.Duration) TrafficData { return TrafficData{Window: Seconds(d), Calls: uint64(d)} }
	for up, want := range map[time.Duration]string{
		40 * time.Second:               "40 s",
		63 * time.Second:               "1 min",
		5*time.Minute + 20*time.Second: "1 min 5 min",
		8 * time.Minute:                "1 min 5 min 8 min",
		3 * time.Hour:                  "1 min 5 min 1 h",
	} {
		o := overviewPage{OverviewData: OverviewData{Traffic: []TrafficData{
			traffic(min(up, time.Minute)), traffic(min(up, 5*time.Minute)), traffic(min(up, time.Hour)),
		}}}
		var got []string
		for _, row := range o.trafficTable().Body[0].(Table).Rows {
			got = append(got, row[0].Text)
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("after %v: %s, want %s", up, text, want)
		}
	}
}

func TestUptimeHasTwoUnits(t *testing.T) {
	o := overviewPage{OverviewData: OverviewData{Build: VersionData{UptimeSeconds: 115}}}
	if got := o.tiles()[7].Value.Text; got != "1 min 55 s" {
		t.Error(got)
	}
}

func TestActionsSayWhyNot(t *testing.T) {
	for want, a := range map[string]RecentAction{
		"POST /x":                           {Path: "/x"},
		"POST /x: not an operator":          {Path: "/x", Error: "not an operator"},
		"users: 3 entries → empty":          {Path: "/x", What: "users", Old: "3 entries", New: "empty"},
		"users: 3 entries → empty: it hung": {Path: "/x", What: "users", Old: "3 entries", New: "empty", Error: "it hung"},
	} {
		if got := a.says(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestSectionsOfTextAreApart also where they stand beside each other in a browser.
func TestSectionsOfTextAreApart(t *testing.T) {
	text := newFixture(t).asOperator("GET", "/internal/?format=text").body
	for i, line := range strings.Split(text, "\n") {
		if before := strings.Split(text, "\n")[max(0, i-1)]; i > 0 && strings.HasPrefix(line, "== ") && before != "" {
			t.Errorf("%q follows %q", line, before)
		}
	}
}
