package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
	"github.com/go-easyops/easyops/runtime/status"
)

// overviewProblems are those that the overview of an edge names, a line each.
func overviewProblems(t *testing.T, e *Edge) (lines []string) {
	t.Helper()
	resp, err := http.Get("http://" + e.AdminAddr().String() + "/internal/?format=json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct{ Problems []status.Problem }
	if body, err := io.ReadAll(resp.Body); err != nil || json.Unmarshal(body, &page) != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, p := range page.Problems {
		lines = append(lines, fmt.Sprintf("%s %s: %s (%s)", p.Level, p.What, p.Why, p.Link))
	}
	return lines
}

// hasProblem tells whether one of them begins with a text.
func hasProblem(lines []string, start string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, start) })
}

// TestProblems: a broken file and routes that lead nowhere are on the overview, and
// gone from it when they are mended.
func TestProblems(t *testing.T) {
	p := newPlace(t)
	p.serve("a", named("a"))
	good := "tcp:\n" + tcpRoute(freeAddr(t), "a")
	e := p.start(p.config(good))
	await(t, "nothing wrong", func() bool { return len(overviewProblems(t, e)) == 0 })
	if err := p.reload(e, good+"htp: []\n"); err == nil || !hasProblem(overviewProblems(t, e), "bad routes file: what it says now is not in force: ") {
		t.Errorf("a broken file: %v, %q", err, overviewProblems(t, e))
	}
	if err := p.reload(e, good+"http: [{path: /page/, service: nobody}]\n"); err != nil {
		t.Fatal(err)
	}
	await(t, "a route that leads nowhere", func() bool {
		return slices.Contains(overviewProblems(t, e), "bad nobody: the registry lists no instance: nothing answers http /page/ (/internal/edge#routes)")
	})
	if err := p.reload(e, good); err != nil {
		t.Fatal(err)
	}
	await(t, "nothing wrong any more", func() bool { return len(overviewProblems(t, e)) == 0 })
}

// TestProblemsOfCertificates: one whose key is another's is named.
func TestProblemsOfCertificates(t *testing.T) {
	p := newPlace(t)
	e := p.start(p.config("grpc: [{service: \"*\"}]\ntls:\n" + p.certificate("one", "one.example.com")))
	if got := e.problems(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	p.write("one.key", "broken")
	await(t, "a key that does not fit", func() bool {
		got := e.problems()
		return len(got) == 1 && strings.Contains(got[0].What, "one.pem") && strings.Contains(got[0].Why, "not in force: ")
	})
	expires := time.Unix(1000, 0)
	states := []auth.SourceState{{Name: "certificate", Expires: expires}}
	if got := sourceProblems(states, expires.Add(-time.Second)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := sourceProblems(states, expires); len(got) != 1 || !strings.Contains(got[0].Why, "has expired") {
		t.Errorf("%+v", got)
	}
}

// TestProblemsOfServices: what a caller has named is none, nor what works by what was
// known last; a registry that fails is one for all.
func TestProblemsOfServices(t *testing.T) {
	listed := routing.PoolStatus{Kind: registry.KindHTTP, ListedAt: time.Unix(1, 0), RegistryError: "it is away"}
	with := func(name string, of ...routing.PoolInstance) routing.PoolStatus {
		s := listed
		s.Service, s.Instances = name, of
		return s
	}
	ready := routing.PoolInstance{Instance: registry.Instance{Health: registry.Ready}}
	lost := ready
	lost.Lost = true
	d := pageData{
		Routes:   []RouteStatus{{Kind: "http", Route: "/a", Service: "a"}, {Kind: "http", Route: "/b", Service: "b"}, {Kind: "tcp", Route: ":1", Service: "c"}},
		Services: []routing.PoolStatus{with("a", ready, lost), with("b", lost), with("c"), with("named by a caller")},
	}
	var got []string
	for _, p := range d.problems() {
		got = append(got, p.What+": "+p.Why)
	}
	want := []string{
		"b: none of its instances works (1): nothing answers http /b",
		"registry: it fails for 2 of the services that routes lead to, which are as they were known last: it is away",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
