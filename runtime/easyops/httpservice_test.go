package easyops_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/status"
)

// fixedRoutes is a proxy with these routes, of which each request takes the first.
type fixedRoutes []*easyops.Route

func (f fixedRoutes) HTTPRoute(*http.Request) *easyops.Route       { return f[0] }
func (f fixedRoutes) GRPCRoute(string, metadata.MD) *easyops.Route { return f[0] }
func (f fixedRoutes) Routes() []*easyops.Route                     { return f }

// TestHTTPServices: handlers of named services know who asks, as handlers of methods
// do, and each pattern has a rule of its own.
func TestHTTPServices(t *testing.T) {
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u := auth.User(r.Context()); u != nil {
			fmt.Fprintf(w, "%s %v %s", u.ID, auth.InGroup(r.Context(), "staff"), r.PathValue("id"))
			return
		}
		_, _ = io.WriteString(w, "nobody")
	})
	s := easyopstest.Start(t, nil,
		easyops.WithHTTPService("greet-page", "GET /greet/{id}", who),
		easyops.WithHTTPService("greet-page", "GET /greet/open", who, auth.Access{Allow: auth.Everyone}),
		easyops.WithHTTPService("staff-page", "/staff/", who, auth.Access{Groups: []string{"staff"}}),
	)
	alice, bob := easyopstest.UserToken("alice", "staff"), easyopstest.UserToken("bob")
	for _, test := range []struct {
		path, token string
		code        int
		want        string
	}{
		{"/greet/7", "", 401, "unauthenticated"},
		{"/greet/7", "forged", 401, "unauthenticated"},
		{"/greet/7", bob, 200, "bob false 7"},
		{"/greet/7", alice, 200, "alice true 7"},
		{"/greet/open", "", 200, "nobody"},
		{"/staff/x", bob, 403, "permission denied"},
		{"/staff/x", alice, 200, "alice true "},
	} {
		code, body := get(t, local(s.Server)+test.path, func(r *http.Request) {
			if test.token != "" {
				r.Header.Set("Authorization", "Bearer "+test.token)
			}
		})
		if code != test.code || !strings.HasPrefix(body, test.want) {
			t.Errorf("%s as %.10q: %d %q", test.path, test.token, code, body)
		}
	}
}

// TestHTTPMetrics: requests are counted by pattern, whatever was asked for.
func TestHTTPMetrics(t *testing.T) {
	s := startEcho(t,
		easyops.WithHTTP("GET /items/{id}", text("item")),
		easyops.WithHTTPService("shop", "/shop/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "panic") {
				panic("boom")
			}
			http.Error(w, "gone", http.StatusGone)
		})),
	)
	url := local(s.Server)
	for i := range 5 {
		get(t, fmt.Sprintf("%s/items/%d?x=%d", url, i, i))
	}
	get(t, url+"/shop/x")
	get(t, url+"/shop/panic")
	get(t, url+"/none")
	get(t, url+"/echo.v1.EchoService/Echo")
	_, body := get(t, url+"/metrics")
	mustContain(t, body,
		`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/items/{id}"} 5`,
		`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="410",http_route="/shop/"} 1`,
		`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="500",http_route="/shop/"} 1`,
		`http_server_active_requests{http_request_method="GET",http_route="/shop/"} 0`,
	)
	if n := strings.Count(body, "http_server_request_duration_seconds_count{"); n != 3 {
		t.Errorf("%d series", n)
	}
	_, without := get(t, local(startEcho(t).Server)+"/metrics")
	if strings.Contains(without, "http_server_") {
		t.Error("control: a server without handlers counts requests")
	}
}

// TestHTTPMetricsOfOthers: a program that counts requests by OpenTelemetry's names
// itself keeps its metrics, and has a server without.
func TestHTTPMetricsOfOthers(t *testing.T) {
	for name, labels := range map[string][]string{
		"other labels": {"server_address"}, "the same": {"http_request_method", "http_route", "http_response_status_code"},
	} {
		t.Run(name, func(t *testing.T) {
			var l logs
			registry := prometheus.NewRegistry()
			registry.MustRegister(prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "http_server_request_duration_seconds", Help: "Of others."}, labels))
			s := startEcho(t, easyops.WithLogger(l.logger()), easyops.WithPrometheus(registry), easyops.WithHTTP("/x", text("x")))
			if code, body := get(t, local(s.Server)+"/x"); code != 200 || body != "x" {
				t.Errorf("%d %q", code, body)
			}
			const warning = "HTTP requests are not counted: the registry of WithPrometheus has other metrics of these names"
			if n := len(l.with(t, warning)); n != 1 {
				t.Errorf("%d warnings in %s", n, l.String())
			}
			if code, body := get(t, local(s.Server)+"/metrics"); code != 200 || strings.Contains(body, "http_server_active") {
				t.Errorf("metrics: %d %.500q", code, body)
			}
		})
	}
}

// TestHTTPServiceFaults: what cannot be served is said at the start, by the option.
func TestHTTPServiceFaults(t *testing.T) {
	h := text("x")
	some := easyops.WithHTTP("/some", h)
	serve := func(any, grpc.ServerStream) error { return nil }
	withProxy := func(routes ...*easyops.Route) []easyops.ServerOption {
		return []easyops.ServerOption{easyops.WithProxy(fixedRoutes(routes))}
	}
	for name, test := range map[string]struct {
		opts []easyops.ServerOption
		want []string
	}{
		"name":      {[]easyops.ServerOption{easyops.WithHTTPService("a/b", "/x", h)}, []string{`WithHTTPService("a/b", "/x")`, "letters"}},
		"no name":   {[]easyops.ServerOption{easyops.WithHTTPService("", "/x", h)}, []string{`WithHTTPService("", "/x")`, "letters"}},
		"reserved":  {[]easyops.ServerOption{easyops.WithHTTPService("x", "/internal/x", h)}, []string{`WithHTTPService("x", "/internal/x")`, "status pages"}},
		"nil":       {[]easyops.ServerOption{easyops.WithHTTPService("x", "/x", nil)}, []string{`WithHTTPService("x", "/x")`, "nil"}},
		"duplicate": {[]easyops.ServerOption{easyops.WithHTTP("/x", h), easyops.WithHTTPService("x", "/x", h)}, []string{`WithHTTPService("x", "/x")`, "conflicts"}},
		"two rules": {[]easyops.ServerOption{easyops.WithHTTPService("x", "/x", h, auth.Access{}, auth.Access{})}, []string{`WithHTTPService("x", "/x")`, "2 access rules"}},
		"bad rule":  {[]easyops.ServerOption{easyops.WithHTTPService("x", "/x", h, auth.Access{Allow: 9})}, []string{`WithHTTPService("x", "/x")`, "no kind of caller"}},

		"no proxy":      {[]easyops.ServerOption{easyops.WithProxy(nil)}, []string{"WithProxy: the proxy is nil"}},
		"no pointer":    {[]easyops.ServerOption{easyops.WithProxy((*countedRoutes)(nil))}, []string{"WithProxy: Routes of the *easyops_test.countedRoutes panics", "nil pointer"}},
		"two proxies":   {append(withProxy(), withProxy()...), []string{"WithProxy is given twice"}},
		"nil route":     {withProxy(nil), []string{"WithProxy: a route is nil"}},
		"nameless":      {withProxy(&easyops.Route{HTTP: h}), []string{"a route has no name"}},
		"empty":         {withProxy(&easyops.Route{Name: "r"}), []string{`route "r" serves neither`}},
		"bad route":     {withProxy(&easyops.Route{Name: "r", GRPC: serve, Access: auth.Access{Allow: auth.Everyone, Groups: []string{"x"}}}), []string{`route "r"`, "EVERYONE with groups"}},
		"all at once":   {append(withProxy(nil), easyops.WithHTTPService("", "/x", nil)), []string{"a route is nil", "letters", "the handler is nil"}},
		"exposed":       {append(withProxy(&easyops.Route{Name: "r", HTTP: h}), easyops.WithAddr("0.0.0.0:0")), []string{"can be reached from other machines"}},
		"partly so":     {append(withProxy(&easyops.Route{Name: "a", HTTP: h, Access: auth.Access{Allow: auth.Everyone}}, &easyops.Route{Name: "r", HTTP: h}), easyops.WithAddr("0.0.0.0:0")), []string{"can be reached from other machines"}},
		"its own pages": {[]easyops.ServerOption{some, easyops.WithPage(status.Page{Path: "/internal/mine"})}, []string{"WithPage", `"/internal/mine"`, "no access level"}},
		"elsewhere":     {[]easyops.ServerOption{some, easyops.WithPage(myPage("/mine"))}, []string{"WithPage", `"/mine"`, "below /internal/"}},
		"taken":         {[]easyops.ServerOption{some, easyops.WithPage(myPage("/internal/help"))}, []string{"WithPage", "/internal/help", "conflicts"}},
		"twice":         {[]easyops.ServerOption{some, easyops.WithPage(myPage("/internal/mine")), easyops.WithPage(myPage("/internal/mine"))}, []string{"WithPage", "/internal/mine", "conflicts"}},
	} {
		t.Run(name, func(t *testing.T) {
			mustContain(t, startFault(t, nil, test.opts...).Error(), test.want...)
		})
	}
}

// TestProxyForEveryone: a server all of whose routes are for everyone may be reached
// from anywhere, and serves nothing else there.
func TestProxyForEveryone(t *testing.T) {
	var l logs
	open := &easyops.Route{Name: "open", HTTP: text("open"), Access: auth.Access{Allow: auth.Everyone}}
	routes := fixedRoutes{open}
	s := startOff(t, &l, nil, easyops.WithAddr("0.0.0.0:0"), easyops.WithProxy(routes))
	code, body := get(t, local(s)+"/x")
	if code != 200 || body != "open" {
		t.Errorf("%d %q", code, body)
	}
	routes[0] = &easyops.Route{Name: "known", HTTP: text("known")}
	if code, body := get(t, local(s)+"/x"); code != http.StatusUnauthorized {
		t.Errorf("a route that came later: %d %q", code, body)
	}
}

// countedRoutes count how often they are asked for.
type countedRoutes struct {
	fixedRoutes
	asked int
}

func (c *countedRoutes) Routes() []*easyops.Route {
	c.asked++
	return c.fixedRoutes
}

// TestRoutesAreAskedForOnce: what is checked and what decides who may connect is one
// answer, where the next may be another.
func TestRoutesAreAskedForOnce(t *testing.T) {
	var l logs
	routes := &countedRoutes{fixedRoutes: fixedRoutes{{Name: "open", HTTP: text("open"), Access: auth.Access{Allow: auth.Everyone}}}}
	startOff(t, &l, nil, easyops.WithProxy(routes))
	if routes.asked != 1 {
		t.Errorf("asked %d times", routes.asked)
	}
}

func myPage(path string) status.Page {
	return status.Page{
		Path: path, Group: "Mine", Title: "My routes", Help: "Shows what is mine.", Access: status.Operator,
		Get: func(*status.Request) (status.View, error) {
			return status.View{Body: []status.Block{status.Text("all mine")}}, nil
		},
	}
}

// TestWithPage: a page of the program's own is like the others.
func TestWithPage(t *testing.T) {
	page := easyops.WithPage(myPage("/internal/mine"))
	alone := local(startEcho(t, page).Server)
	code, body := get(t, alone+"/internal/mine")
	if code != 200 || !strings.Contains(body, "all mine") {
		t.Errorf("%d %q", code, body)
	}
	_, help := get(t, alone+"/internal/help")
	mustContain(t, help, "/internal/mine", "Shows what is mine.")
	if code, _ := get(t, alone+"/internal/mine", func(r *http.Request) { r.Host = "evil.example" }); code != http.StatusForbidden {
		t.Errorf("with a foreign Host: %d", code)
	}
	known := local(easyopstest.Start(t, echoService(), page).Server)
	if code, _ := get(t, known+"/internal/mine"); code != http.StatusUnauthorized {
		t.Errorf("for nobody: %d", code)
	}
	if code, _ := get(t, local(startEcho(t, page, easyops.WithoutStatus()).Server)+"/internal/mine"); code != http.StatusNotFound {
		t.Errorf("without status pages: %d", code)
	}
}
