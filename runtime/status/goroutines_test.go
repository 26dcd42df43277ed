package status

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const someStacks = `goroutine 1 [running]:
main.f(0x1, {0x2, 0x3}, ...)
	/src/main.go:12 +0x1d
main.main()
	/src/main.go:20 +0x25

goroutine 7 [chan receive, 5 minutes]:
pkg.(*T[...]).wait(0xc000012345)
	/src/pkg/t.go:7 +0x44
created by pkg.Start in goroutine 1
	/src/pkg/t.go:3 +0x5b

goroutine 8 [chan receive, 90 minutes, locked to thread]:
pkg.(*T[...]).wait(0xc000099999)
	/src/pkg/t.go:7 +0x44
created by pkg.Start in goroutine 1
	/src/pkg/t.go:3 +0x5b

goroutine 9 [chan receive, 7 minutes labels:{"user": "canary]"}]:
pkg.(*T[...]).wait(0xc000012346)
	/src/pkg/t.go:7 +0x44
created by pkg.Start in goroutine 2
	/src/pkg/t.go:3 +0x5b

goroutine 10 gp=0x1 m=nil [GC worker (idle), 1 minutes]:
runtime.gopark(...)
	/go/src/runtime/proc.go:460
...additional frames elided...
created by runtime.gcBgMarkStartWorkers in goroutine 1
	/go/src/runtime/mgc.go:1

nonsense

goroutine 11 [select`

func TestGroupStacks(t *testing.T) {
	groups, total := groupStacks([]byte(someStacks))
	wait := []Frame{{"pkg.(*T[...]).wait", "/src/pkg/t.go:7"}}
	start := Frame{"pkg.Start", "/src/pkg/t.go:3"}
	want := []GoroutineGroup{
		{Count: 1, State: "chan receive, locked to thread", Longest: new(90), Example: 8, Frames: wait, Created: start},
		{Count: 2, State: "chan receive", Longest: new(7), Example: 9, Frames: wait, Created: start},
		{Count: 1, State: "GC worker (idle)", Longest: new(1), Example: 10, Frames: []Frame{
			{"runtime.gopark", "/go/src/runtime/proc.go:460"}, {"...additional frames elided...", ""},
		}, Created: Frame{"runtime.gcBgMarkStartWorkers", "/go/src/runtime/mgc.go:1"}},
		{Count: 1, State: "running", Longest: new(0), Example: 1, Frames: []Frame{{"main.f", "/src/main.go:12"}, {"main.main", "/src/main.go:20"}}},
		{Count: 1, State: "select", Longest: new(0), Example: 11}, // cut off
	}
	if diff := cmp.Diff(want, groups); diff != "" || total != 6 {
		t.Errorf("%d goroutines: %s", total, diff)
	}
	text, err := json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(text); strings.Contains(text, "canary") || strings.Contains(text, "0xc0") {
		t.Errorf("values are shown: %s", text)
	}
}

func TestWhereAGoroutineIs(t *testing.T) {
	for _, c := range []struct {
		group          GoroutineGroup
		where, started string
	}{
		{GoroutineGroup{}, none, ""},
		{GoroutineGroup{Frames: []Frame{{"runtime.gopark", ""}}, Created: Frame{"a.b", ""}}, "runtime.gopark", "a.b"},
		{GoroutineGroup{Frames: []Frame{{"sync.runtime_Wait", ""}, {"a.f", ""}, {"a.g", ""}, {"sync.(*WaitGroup).Go.func1", ""}}, Created: Frame{"sync.(*WaitGroup).Go", ""}}, "a.f", "a.g"},
	} {
		if where, started := c.group.where(), c.group.startedBy(); where != c.where || started != c.started {
			t.Errorf("%+v: %q, %q", c.group, where, started)
		}
	}
}

func TestShortFunction(t *testing.T) {
	for name, want := range map[string]string{
		"main.main": "main.main", "a.org/b/c.(*T).f": "c.(*T).f", "a/b.f[c/d.T]": "b.f[c/d.T]", none: none, "": "",
	} {
		if got := shortFunction(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestWithoutArguments(t *testing.T) {
	for call, want := range map[string]string{
		"main.main()":                          "main.main",
		"main.f(...)":                          "main.f",
		"main.f({0x1, 0x2}, 0x3)":              "main.f",
		"a/b.(*T).f(0x1)":                      "a/b.(*T).f",
		"a/b.(*T[...]).f.func1.2(...)":         "a/b.(*T[...]).f.func1.2",
		"main.f[go.shape.func(int) int](0x12)": "main.f[go.shape.func(int) int]",
		"odd":                                  "odd",
		")":                                    ")",
		"()":                                   "()",
	} {
		if got := withoutArguments(call); got != want {
			t.Errorf("%s: %s, want %s", call, got, want)
		}
	}
}

func FuzzGroupStacks(f *testing.F) {
	f.Add([]byte(someStacks))
	f.Add([]byte("goroutine 1 [a, 9999999999999999999 minutes]:\n\n\ngoroutine -1 []:\n\tx\n\ncreated by "))
	f.Fuzz(func(t *testing.T, dump []byte) {
		groups, total := groupStacks(dump)
		sum := 0
		for _, g := range groups {
			sum += g.Count
			if *g.Longest < 0 || g.Count < 1 || g.where() == "" && len(g.Frames) == 0 || len(g.State) > maxFrameName+8 {
				t.Errorf("%+v", g)
			}
			for _, frame := range g.Frames {
				if len(frame.Function) > maxFrameName+8 || len(frame.File) > maxFrameName+8 {
					t.Errorf("a name of %d bytes", len(frame.Function))
				}
			}
			_ = g.title() + g.stack()
		}
		if sum != total {
			t.Errorf("%d in groups of %d", sum, total)
		}
	})
}

// park parks goroutines until they are let go.
func park(t *testing.T, n int) {
	t.Helper()
	var wg sync.WaitGroup
	end, before := make(chan struct{}), parked()
	for range n {
		wg.Go(func() { <-end })
	}
	t.Cleanup(func() { close(end); wg.Wait() })
	waitFor(t, func() bool { return parked() == before+n })
}

// parked is how many are.
func parked() (n int) {
	groups, _ := groupPlaces(readPlaces())
	for _, g := range groups {
		if g.Frames[0].Function == "runtime.gopark" && strings.Contains(g.where(), "status.park") {
			n += g.Count
		}
	}
	return n
}

func TestGoroutinesPage(t *testing.T) {
	f := newFixture(t)
	park(t, 77)
	const page = debugPath + "goroutine"
	a := f.asOperator("GET", page, "Accept", asJSON)
	var d GoroutinesData
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	most := GoroutineGroup{}
	for _, g := range d.Groups {
		if g.Count > most.Count {
			most = g
		}
	}
	if most.Count != 77 || most.State != "chan receive" || !strings.Contains(most.where(), "status.park") || d.Grouped < 77 || d.Matched != len(d.Groups) {
		t.Errorf("%+v of %d", most, d.Grouped)
	}
	f.asOperator("GET", page, "Accept", asHTML).want(t, 200, "<table", `href="#g1"`, `id="g1"`, "status.park", "77")
	f.asOperator("GET", page+"?format=text").want(t, 200, "77 × chan receive", "status.park")
	f.asOperator("GET", page+"?format=json&filter=STATUS.park").want(t, 200, `"matched": 1`)
	f.asOperator("GET", page+"?format=html&filter=nothing-has-this").want(t, 200, "none with that filter")
	f.asOperator("GET", page+"?format=text&limit=0").want(t, 400, "limit=0")
	f.asOperator("GET", page+"?format=xml").want(t, 400)
	// For programs it is the profile, and with ?debug= what net/http/pprof has.
	if a := f.asOperator("GET", page); !strings.HasPrefix(a.body, "\x1f\x8b") {
		t.Errorf("not a profile: %.20q", a.body)
	}
	f.asOperator("GET", page+"?debug=1").want(t, 200, "goroutine profile: total")
	f.asOperator("GET", page+"?debug=2", "Accept", asHTML).want(t, 200, "goroutine 1 [")
	if lines := f.log.audits(t); len(lines) == 0 || lines[0]["path"] != page {
		t.Errorf("audit: %v", lines)
	}
	f.ask("GET", page, "Accept", asHTML).want(t, 403)
}

// The page stays below 1 MB however many goroutines there are, in whatever many
// places.
func TestManyGoroutines(t *testing.T) {
	var b strings.Builder
	for n := range 20_000 {
		fmt.Fprintf(&b, "goroutine %d [select, %d minutes]:\n", n, n%500)
		for range 3 {
			fmt.Fprintf(&b, "example.org/some/package.(*Worker<%d>).run(0xc000012345)\n\t/home/somebody/src/example.org/some/package/worker.go:%d +0x1d\n", n%5000, n%5000)
		}
		b.WriteString("\n")
	}
	start := time.Now()
	groups, total := groupStacks([]byte(b.String()))
	t.Logf("%d groups of %d goroutines in %v", len(groups), total, time.Since(start))
	if total != 20_000 || len(groups) != 5000 {
		t.Errorf("%d groups of %d goroutines", len(groups), total)
	}
	f := newFixture(t)
	n := 100_000
	if raceEnabled {
		n = 5_000 // the race detector ends the process at 8,128
	}
	park(t, n)
	for _, query := range []string{"format=html&limit=1000", "format=json&limit=1000", "format=text&limit=1000", "format=html&waits=1", ""} {
		start := time.Now()
		a := f.asOperator("GET", debugPath+"goroutine?"+query)
		t.Logf("%s: %d bytes in %v", query, len(a.body), time.Since(start))
		if a.StatusCode != 200 || len(a.body) > 1<<20 {
			t.Errorf("%s: %d, %d bytes", query, a.StatusCode, len(a.body))
		}
	}
}

func TestManyGroupsAreBounded(t *testing.T) {
	var b strings.Builder
	for n := range 1500 {
		fmt.Fprintf(&b, "goroutine %d [select]:\n", n)
		for i := range 50 {
			fmt.Fprintf(&b, "example.org/some/package.(*Worker<&>).run%d(0xc000012345)\n\t/src/example.org/some/package/worker.go:%d +0x1d\n", n, i)
		}
		b.WriteString("\n")
	}
	d := goroutinesOf([]byte(b.String()), "", groupsMost)
	if d.Grouped != 1500 || d.Matched != 1500 || len(d.Groups) == 0 || len(d.Groups) > 200 {
		t.Errorf("%d groups of %d are shown", len(d.Groups), d.Matched)
	}
	if !strings.Contains(d.summary(), "groups are not shown") {
		t.Error(d.summary())
	}
	f := newFixture(t)
	for _, form := range []form{formHTML, formJSON, formText} {
		w := httptest.NewRecorder()
		if err := f.pages.render(w, httptest.NewRequest("GET", "/", nil), d.view(), form); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", form, w.Body.Len())
		if w.Body.Len() > 1<<20 {
			t.Errorf("%s: %d bytes", form, w.Body.Len())
		}
	}
}

func TestDumpIsCutOff(t *testing.T) {
	park(t, 2000)
	if n := len(dumpStacks(100 << 10)); n > 100<<10 {
		t.Errorf("%d bytes", n)
	}
	d := goroutinesOf(dumpStacks(100<<10), "", 100)
	if d.Grouped >= d.Goroutines || !strings.Contains(d.summary(), "too long to look at all") {
		t.Errorf("%d of %d: %s", d.Grouped, d.Goroutines, d.summary())
	}
	if whole := goroutinesOf(dumpStacks(maxStacks), "", 100); whole.Grouped < 2000 {
		t.Errorf("%d", whole.Grouped)
	}
}
