package status

import (
	"strings"
	"testing"
)

// The form of the metrics is the one that the scraper accepts; ?format=text is text
// in any case, and the formats of the other pages are none of metrics.
func TestMetricsForms(t *testing.T) {
	const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	f := newFixture(t)
	for _, path := range []string{"/metrics", "/internal/service-info/metrics"} {
		for _, c := range []struct{ query, accept, want string }{
			{"", "", "text/plain"},
			{"", "text/html,*/*;q=0.8", "text/plain"},
			{"", protobuf + ",text/plain;version=0.0.4;q=0.5", "application/vnd.google.protobuf"},
			{"?format=html", protobuf, "application/vnd.google.protobuf"},
			{"?format=text", protobuf, "text/plain"},
			{"?format=text", "application/openmetrics-text;version=1.0.0", "text/plain"},
		} {
			a := f.asOperator("GET", path+c.query, "Accept", c.accept)
			if got := a.Header.Get("Content-Type"); a.StatusCode != 200 || !strings.HasPrefix(got, c.want) {
				t.Errorf("%s%s, Accept %q: %d, %s, want %s", path, c.query, c.accept, a.StatusCode, got, c.want)
			}
		}
	}
}
