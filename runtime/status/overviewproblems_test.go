package status

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// problemsOf are the problems of a server, a line each.
func problemsOf(d OverviewData) (lines []string) {
	d.Now = time.Unix(1000, 0)
	o := overviewPage{OverviewData: d}
	for _, p := range o.found() {
		lines = append(lines, fmt.Sprintf("%s %s: %s (%s)", p.Level, p.What, p.Why, p.Link))
	}
	return lines
}

func wantProblems(t *testing.T, name string, d OverviewData, want ...string) {
	t.Helper()
	if got := problemsOf(d); !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestProblemsOfTheProgram are among the others, by their levels.
func TestProblemsOfTheProgram(t *testing.T) {
	wantProblems(t, "three", OverviewData{
		Problems: []Problem{{"warn", "a", "why", "/a"}, {"bad", "b", "why", "/b"}, {"invented", "c", "why", "/c"}},
		Clients:  []Outbound{{Service: "d", State: "TRANSIENT_FAILURE"}},
	}, "bad b: why (/b)", "bad c: why (/c)", "bad d: no instance can be called (/internal/service-info/grpc-connections#d)", "warn a: why (/a)")
}

func TestHandlersThatHangAreAProblem(t *testing.T) {
	echo := RunningCalls{Method: "echo.v1.EchoService/Echo", Calls: 6, Oldest: Seconds(20 * time.Second), Ignoring: 5, IgnoringFor: Seconds(15 * time.Second)}
	one := RunningCalls{Method: "HTTP /x/", Calls: 1, Ignoring: 1, IgnoringFor: Seconds(time.Minute)}
	well := RunningCalls{Method: "a/B", Calls: 7, Oldest: Seconds(time.Hour)}
	wantProblems(t, "none", OverviewData{Running: []RunningCalls{well}})
	wantProblems(t, "five", OverviewData{Running: []RunningCalls{echo, well}},
		"bad handlers hang: 5 handlers go on though their calls have ended: echo.v1.EchoService/Echo (5), the oldest for 15 s (/internal/debug/goroutine?filter=_EchoService_Echo_Handler)")
	wantProblems(t, "one", OverviewData{Running: []RunningCalls{one}},
		"bad handlers hang: 1 handler goes on though its call has ended: HTTP /x/ (1), for 1 min (/internal/debug/goroutine)")
	wantProblems(t, "of two methods", OverviewData{Running: []RunningCalls{echo, one}},
		"bad handlers hang: 6 handlers go on though their calls have ended: echo.v1.EchoService/Echo (5), HTTP /x/ (1), the oldest for 1 min (/internal/debug/goroutine)")
}

// TestCallsThatTakeLongAreShown, and neither streams nor calls that are young.
func TestCallsThatTakeLongAreShown(t *testing.T) {
	o := overviewPage{OverviewData: OverviewData{Running: []RunningCalls{
		{Method: "a/Old", Calls: 2, Oldest: Seconds(90 * time.Second), Ignoring: 1},
		{Method: "a/Stream", Stream: true, Calls: 2, Oldest: Seconds(time.Hour)},
		{Method: "a/Young", Calls: 2, Oldest: Seconds(9 * time.Second)},
	}}}
	rows := o.oldCalls().Rows
	if len(rows) != 1 || rows[0][0].Text != "a/Old" || rows[0][2].Text != "1 min 30 s" || rows[0][3].Tone != Bad {
		t.Errorf("%+v", rows)
	}
}

func TestAnOutageIsNotDiluted(t *testing.T) {
	minute := func(name string, calls, faults uint64) MethodTraffic {
		return MethodTraffic{Method: name, LastMinute: CallCounts{Window: Seconds(time.Minute), Calls: calls, Errors: faults, Faults: faults}}
	}
	const greet = "bad g.v1.Greeter/Greet: 12 of 12 calls failed in the last 1 min (#errors)"
	five := TrafficData{Window: Seconds(5 * time.Minute), Calls: 9012, Errors: 12, Faults: 12}
	wantProblems(t, "busy others", OverviewData{
		Methods: []MethodTraffic{minute("g.v1.Greeter/Busy", 9000, 8), minute("g.v1.Greeter/Greet", 12, 12), minute("grpc.health.v1.Health/Check", 60, 60)},
		Traffic: []TrafficData{{}, five},
	}, greet, "bad own faults: 12 of 9,012 calls in the last 5 min failed through the server (0.13 %) (#errors)")
	all := []MethodTraffic{}
	for i := range 7 {
		all = append(all, minute(fmt.Sprint("a/", i), 10, uint64(i+4)))
	}
	got := problemsOf(OverviewData{Methods: all})
	if len(got) != outOfOrderMost+1 || !strings.HasPrefix(got[0], "bad a/6: 10 of 10") || !strings.HasPrefix(got[outOfOrderMost], "bad 2 other methods") {
		t.Errorf("%q", got)
	}
	noise := TrafficData{Window: Seconds(5 * time.Minute), Calls: 100, Errors: 100, Faults: 100}
	wantProblems(t, "what every server has", OverviewData{Traffic: []TrafficData{noise, noise}, Judged: []CallCounts{{}, {}}})
}

// TestColourOfWhatIsNotJudged: there is none.
func TestColourOfWhatIsNotJudged(t *testing.T) {
	noise := TrafficData{Window: Seconds(time.Minute), Calls: 100, Errors: 100, Faults: 100}
	o := overviewPage{OverviewData: OverviewData{Traffic: []TrafficData{noise}, Judged: []CallCounts{{}}, Methods: []MethodTraffic{{Method: "grpc.a/B", TrafficData: noise}}}}
	for _, cells := range [][]Cell{o.trafficTable().Body[0].(Table).Rows[0], o.methods().Body[1].(Table).Rows[0]} {
		if cells[3].Text != "100" || cells[3].Tone != Normal || cells[4].Tone != Normal {
			t.Errorf("%+v", cells)
		}
	}
	if tone := o.tiles()[1].Value.Tone; tone != Normal {
		t.Errorf("the tile has tone %d", tone)
	}
}

func TestServicesThatCannotBeCalledAreProblems(t *testing.T) {
	listed := Outbound{Service: "e.v1.Echo", State: "READY", Listed: 2, ListedAt: time.Unix(900, 0), Instances: []OutboundInstance{{ID: "a"}, {ID: "b"}}}
	with := func(change func(*Outbound)) Outbound {
		o := listed
		o.Instances = slices.Clone(o.Instances)
		change(&o)
		return o
	}
	const at = " (/internal/service-info/grpc-connections#e.v1.Echo)"
	refused := func(o *Outbound) { o.Instances[1].LastError = "connection refused" }
	for name, c := range map[string]struct {
		client Outbound
		want   string
	}{
		"well":           {listed, ""},
		"has been worse": {with(refused), ""},
		"not called":     {with(func(o *Outbound) { o.State, o.Listed, o.Instances = "IDLE", 0, nil }), ""},
		"no answer yet":  {with(func(o *Outbound) { o.State, o.ListedAt, o.Listed, o.Instances = "CONNECTING", time.Time{}, 0, nil }), ""},
		"fails":          {with(func(o *Outbound) { refused(o); o.State = "TRANSIENT_FAILURE" }), "bad e.v1.Echo: no instance can be called: connection refused"},
		"tries again":    {with(func(o *Outbound) { refused(o); o.State = "CONNECTING" }), "bad e.v1.Echo: no instance can be called: connection refused"},
		"no reason":      {with(func(o *Outbound) { o.State = "TRANSIENT_FAILURE" }), "bad e.v1.Echo: no instance can be called"},
		"none":           {with(func(o *Outbound) { o.State, o.Listed, o.Instances = "TRANSIENT_FAILURE", 0, nil }), "bad e.v1.Echo: no instance can be called: the registry lists none"},
		"none any more":  {with(func(o *Outbound) { o.Listed = 0 }), "bad e.v1.Echo: the registry lists no instance"},
		"a target":       {with(func(o *Outbound) { o.ByTarget, o.Listed, o.ListedAt = true, 0, time.Time{} }), ""},
		"one ejected":    {with(func(o *Outbound) { o.Instances[0].EjectedUntil = time.Unix(1010, 0) }), "warn e.v1.Echo: 1 of 2 instances failed too often, and get no calls"},
		"all ejected": {with(func(o *Outbound) {
			o.Instances[0].EjectedUntil, o.Instances[1].EjectedUntil = time.Unix(1010, 0), time.Unix(1010, 0)
		}), "bad e.v1.Echo: all of 2 instances have failed too often, and get no calls"},
		"on trial": {with(func(o *Outbound) { o.Instances[0].EjectedUntil = time.Unix(990, 0) }), ""},
	} {
		var want []string
		if c.want != "" {
			want = []string{c.want + at}
		}
		wantProblems(t, name, OverviewData{Clients: []Outbound{c.client}}, want...)
	}
	down := with(func(o *Outbound) { o.State = "TRANSIENT_FAILURE" })
	got := problemsOf(OverviewData{Clients: []Outbound{listed, down}})
	if len(got) != 1 || !strings.HasSuffix(got[0], "#e.v1.Echo-2)") {
		t.Errorf("the second of a service leads elsewhere: %q", got)
	}
}

// TestProblemsInJSON are those of the page.
func TestProblemsInJSON(t *testing.T) {
	f := newFixture(t)
	read := func() OverviewData {
		var d OverviewData
		if err := json.Unmarshal([]byte(f.asOperator("GET", "/internal/?format=json").body), &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	if got := read().Problems; len(got) != 1 || got[0] != (Problem{"bad", "own faults", "2 of 3,000 calls in the last 5 min failed through the server (0.067 %)", "#errors"}) {
		t.Errorf("%+v", got)
	}
	f.setState("STARTING")
	if got := read().Problems; len(got) != 2 || got[1].Level != "warn" || got[1].What != "STARTING" {
		t.Errorf("%+v", got)
	}
	if d := (&overviewPage{}).found(); d == nil {
		t.Error("none is null")
	}
}
