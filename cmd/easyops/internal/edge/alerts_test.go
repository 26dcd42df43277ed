package edge

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestAlerts: the metrics of edges that the alerts ask for are there.
func TestAlerts(t *testing.T) {
	rules, err := os.ReadFile("../../../../docs/monitoring/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc, 100)
	collector{}.Describe(descs)
	close(descs)
	var there []string
	for d := range descs {
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		there = append(there, name)
	}
	names := regexp.MustCompile(`easyops_edge_\w+`).FindAllString(string(rules), -1)
	if len(names) < 3 {
		t.Errorf("the alerts ask for %q", names)
	}
	for _, name := range names {
		if !slices.Contains(there, name) {
			t.Errorf("the alerts ask for %s, and an edge has %q", name, there)
		}
	}
}
