package monitoring

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

const docs = "../../docs/monitoring"

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(docs, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// dashboardExprs are the expressions of the dashboard, of its panels, variables and
// annotations.
func dashboardExprs(t *testing.T) (all []string) {
	t.Helper()
	var dashboard any
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	walk(dashboard, func(key, value string) {
		switch key {
		case "expr":
			all = append(all, value)
		case "definition":
			all = append(all, regexp.MustCompile(`^label_values\((.*), \w+\)$`).FindStringSubmatch(value)[1])
		}
	})
	return all
}

// walk calls f for each string in a JSON value.
func walk(v any, f func(key, value string)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			walk(e, f)
		}
	case map[string]any:
		for key, e := range v {
			if s, ok := e.(string); ok {
				f(key, s)
			}
			walk(e, f)
		}
	}
}

// ruleExprs are the expressions of the rules, and the names that they record.
func ruleExprs(t *testing.T) (exprs, recorded []string) {
	t.Helper()
	block := regexp.MustCompile(`(?m)^        expr: (\|\n(?:          .*\n)+|.*\n)`)
	for _, m := range block.FindAllStringSubmatch(read(t, "alerts.yml"), -1) {
		exprs = append(exprs, strings.TrimSpace(strings.TrimPrefix(m[1], "|")))
	}
	for _, m := range regexp.MustCompile(`(?m)^      - record: (\S+)$`).FindAllStringSubmatch(read(t, "alerts.yml"), -1) {
		recorded = append(recorded, m[1])
	}
	return exprs, recorded
}

var (
	notNames = regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring)\s*\([^)]*\)|\boffset\s+\w+`)
	name     = regexp.MustCompile(`[a-zA-Z_:][\w:]*\s*\(?`)
)

// metricNames are the names of metrics in an expression.
func metricNames(expr string) (all []string) {
	quoted := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(expr, `""`) // braces in strings
	for _, n := range name.FindAllString(notNames.ReplaceAllString(quoted, " "), -1) {
		if n = strings.TrimSpace(n); strings.HasSuffix(n, "(") || slices.Contains([]string{"and", "or", "unless", "bool"}, n) {
			continue
		}
		all = append(all, n)
	}
	return all
}

func TestMetricNames(t *testing.T) {
	got := metricNames(`sum by (job, le) (rate(a_total{x="{b}"}[$c])) / on (job) d:e:f offset 5m or time() - f{g=~"$h"} > bool 0`)
	if want := []string{"a_total", "d:e:f", "f"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
}

// shown are the names under which a query finds what a server shows.
func shown(all map[string]*dto.MetricFamily) map[string]bool {
	names := map[string]bool{"up": true} // Prometheus' own
	for n, family := range all {
		names[n] = true
		switch family.GetType() {
		case dto.MetricType_HISTOGRAM:
			names[n+"_bucket"] = true
			fallthrough
		case dto.MetricType_SUMMARY:
			names[n+"_sum"], names[n+"_count"] = true, true
		}
	}
	return names
}

// TestNames: what the dashboard and the rules ask for, a server shows.
func TestNames(t *testing.T) {
	f := start(t)
	client, _ := f.dial(t)
	if _, err := client.Echo(t.Context(), &echov1.EchoRequest{}); err != nil { // histograms of sizes come with a call
		t.Fatal(err)
	}
	f.scrape(t, "/page", "") // and those of requests with a request
	server := shown(f.families(t))
	rules, recorded := ruleExprs(t)
	dashboard := dashboardExprs(t)
	if len(rules) < 15 || len(dashboard) < 30 || len(recorded) == 0 {
		t.Fatalf("%d rules that record %d, %d expressions in the dashboard", len(rules), len(recorded), len(dashboard))
	}
	for _, r := range recorded {
		server[r] = true
	}
	missing := map[string]bool{}
	for _, expr := range append(rules, dashboard...) {
		names := metricNames(expr)
		if len(names) == 0 {
			t.Errorf("no name in %s", expr)
		}
		for _, n := range names {
			if !server[n] && !strings.HasPrefix(n, "easyops_edge_") { // its own test looks at those
				missing[n] = true
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("a server with everything on shows no %s", n)
	}
	if server["easyops_invented"] {
		t.Error("every name is taken for one that the server shows")
	}
}

// TestDashboard: the places of the panels do not overlap, each has a unit, and the
// data source is the one that is chosen.
func TestDashboard(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Datasource struct{ UID string } }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the ID %d", p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("%s: data source %q", p.Title, target.Datasource.UID)
			}
		}
		if len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("%s shows nothing", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s and %s are in the same place, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
