package edge

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// metricsOf reads the metrics of an edge.
func metricsOf(t *testing.T, e *Edge) string {
	t.Helper()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	return pageText(t, &http.Client{Transport: transport}, "http://"+e.AdminAddr().String()+"/metrics")
}

func pageText(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v\n%s", resp.Status, err, text)
	}
	return string(text)
}

func TestMetrics(t *testing.T) {
	p := newPlace(t)
	p.serve("a", named("a"))
	addr := freeAddr(t)
	e := p.start(p.config("tcp:\n" + tcpRoute(addr, "a")))
	c := dial(t, e.TCPAddr(addr))
	say(t, c, "hello") // 6 bytes, and 8 come back
	wants := func(text string, lines ...string) {
		t.Helper()
		for _, line := range append(lines, "easyops_connections ", "go_goroutines ") {
			if !strings.Contains(text, "\n"+line) {
				t.Errorf("%s is missing in\n%s", line, text)
			}
		}
	}
	labels := `{route="` + addr + `",service="a"}`
	wants(metricsOf(t, e), "easyops_edge_routes_loaded 1", "easyops_edge_routes_loaded_timestamp_seconds 1.",
		"easyops_edge_tcp_connections"+labels+" 1", "easyops_edge_tcp_connections_accepted_total"+labels+" 1")

	// What was counted stays, when a route changes and when it has gone.
	for _, text := range []string{"tcp:\n  - {listen: \"" + addr + "\", service: a, connect_timeout: 1s}\n", "tcp:\n" + tcpRoute(freeAddr(t), "a")} {
		if err := p.reload(e, text); err != nil {
			t.Fatal(err)
		}
		wants(metricsOf(t, e), "easyops_edge_tcp_connections"+labels+" 1", "easyops_edge_tcp_connections_accepted_total"+labels+" 1")
	}
	c.Close()
	await(t, "the end of the former port", func() bool { return len(e.ports.status()) == 1 })
	wants(metricsOf(t, e), "easyops_edge_tcp_connections"+labels+" 0", "easyops_edge_tcp_connections_accepted_total"+labels+" 1",
		"easyops_edge_tcp_received_bytes_total"+labels+" 6", "easyops_edge_tcp_sent_bytes_total"+labels+" 8")

	_ = p.reload(e, "tcp: [")
	wants(metricsOf(t, e), "easyops_edge_routes_loaded 0")
}
