package status

import (
	"encoding/json"
	"strings"
	"testing"
)

// Where there are many, they are grouped without the stop that reading their
// waits is, unless somebody asks for that.
func TestManyGoroutinesAreReadWithoutAStop(t *testing.T) {
	f := newFixture(t)
	page := debugPath + "goroutine"
	const left = "left out, as reading it would stop the process for about"
	get := func(query string) (d GoroutinesData, where GoroutineGroup) {
		t.Helper()
		body := f.asOperator("GET", page+"?format=json&"+query).body
		if err := json.Unmarshal([]byte(body), &d); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		for _, g := range d.Groups {
			if strings.Contains(g.where(), "status.park") {
				return d, g
			}
		}
		t.Fatalf("parked goroutines are not among them: %s", body)
		return d, where
	}
	if d, g := func() (GoroutinesData, GoroutineGroup) { park(t, 10); return get("") }(); d.NoWaits || g.Longest == nil || g.State == "" {
		t.Errorf("few: %+v", g)
	}
	if d, g := get("waits=0"); !d.NoWaits || g.Longest != nil || g.Count != 10 || g.State != "" || g.startedBy() != "sync.(*WaitGroup).Go.func1" && !strings.Contains(g.startedBy(), "status.park") {
		t.Errorf("few, without waits: %+v", g)
	}
	park(t, fewGoroutines+1)
	if d, g := get("filter=status.PARK"); !d.NoWaits || g.Longest != nil || g.Count != fewGoroutines+11 || d.Matched != 1 || d.Grouped <= fewGoroutines {
		t.Errorf("many: %+v of %d", g, d.Grouped)
	}
	if d, g := get("waits=1"); d.NoWaits || g.Longest == nil || g.State != "chan receive" || g.Count != fewGoroutines+11 {
		t.Errorf("many, with waits: %+v", g)
	}
	f.asOperator("GET", page, "Accept", asHTML).want(t, 200, left, "waits=1", "Begun with", "status.park")
	f.asOperator("GET", page+"?format=text").want(t, 200, left, "5,011 × status.park")
	if a := f.asOperator("GET", page+"?waits=1", "Accept", asHTML); strings.Contains(a.body, left) || !strings.Contains(a.body, `name="waits"`) {
		t.Error("waits were asked for")
	}
	f.asOperator("GET", page+"?format=text&waits=2").want(t, 400, "waits=2")
}
