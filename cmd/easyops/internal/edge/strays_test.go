package edge

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
)

// TestStrays: what no route is for is counted, and in the log once a minute.
func TestStrays(t *testing.T) {
	p := newPlace(t)
	e := p.start(p.config("http: [{host: a.example.com, service: page, allow: EVERYONE}]\n"))
	c := browser(t)
	for range 3 {
		resp, _ := get(t, c, "http://"+e.Addr().String()+"/some/where?secret", "Host", "b.example.com")
		if resp.StatusCode != http.StatusNotFound {
			t.Error(resp.Status)
		}
	}
	log := p.log.text()
	if n := strings.Count(log, "requests without a route"); n != 1 || !strings.Contains(log, "host=b.example.com path=/some/where ") || strings.Contains(log, "secret") {
		t.Errorf("%d lines", n)
	}
	if n := strings.Count(metricsOf(t, e), `easyops_edge_without_route_total{kind="http"} 3`); n != 1 {
		t.Error("they are not counted")
	}
	page := pageText(t, c, "http://"+e.AdminAddr().String()+pagePath+"?format=json")
	if !strings.Contains(page, `"route":"no route"`) && !strings.Contains(page, `"route": "no route"`) {
		t.Error(page)
	}
}

func TestCallsWithoutRoute(t *testing.T) {
	p := newPlace(t)
	e := p.start(p.config("grpc: [{service: a.B}]\n"))
	md := metadata.Pairs(":authority", "x.example.com")
	if e.table.GRPCRoute("/a.B/C", md) == nil || e.table.GRPCRoute("/a.C/D", md) != nil || e.table.GRPCRoute("/a.C/"+strings.Repeat("\x1b\u202e", 1000), md) != nil {
		t.Error("the routes are others")
	}
	if n := e.table.strays.grpc.all.Load(); n != 2 {
		t.Errorf("%d calls without a route", n)
	}
	if text := p.log.text(); !strings.Contains(text, "calls without a route") || !strings.Contains(text, "path=/a.C/D") {
		t.Error("the log does not say it")
	}
	if got := cleaned(strings.Repeat("\x1b\u202e", 1000)); got != strings.Repeat("?", 200)+"…" {
		t.Error(got)
	}
	if e.table.HTTPRoute(&http.Request{Host: "x", URL: &url.URL{Path: "/"}}) != nil || e.table.strays.http.all.Load() != 1 {
		t.Error("a request has a route, or was not counted")
	}
}
