package access

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/test/access/routes"
)

// The rules, written by hand: they do not look at what a page declares. Every
// page that is not named here is for operators.
var (
	forEveryone = []string{"/livez", "/readyz", "/internal/health"}
	probes      = []string{"/livez", "/readyz"} // that the gRPC port answers where the pages are apart
	forMetrics  = []string{"/metrics", "/internal/service-info/metrics"}
	assets      = regexp.MustCompile(`^/internal/[a-z-]+\.(css|js|svg|ico)$`)
)

// callers ask; from where is below.
var callers = []string{"nobody", "user", "service", "operator"}

// way is how a request is made.
type way struct {
	name, method      string
	header            http.Header
	host              string
	crossing, foreign bool
	forwarded         bool
}

var evil = "https://evil.example"

var ways = []way{
	{name: "GET", method: "GET"},
	{name: "POST", method: "POST"},
	{name: "cross-origin POST", method: "POST", header: http.Header{"Origin": {evil}, "Sec-Fetch-Site": {"cross-site"}}, crossing: true},
	{name: "cross-origin POST of an old browser", method: "POST", header: http.Header{"Origin": {evil}}, crossing: true},
	{name: "POST of a sandboxed page", method: "POST", header: http.Header{"Origin": {"null"}}, crossing: true},
	{name: "GET for a foreign Host", method: "GET", host: "evil.example", foreign: true},
	{name: "POST for a foreign Host", method: "POST", host: "evil.example", foreign: true},
	{name: "POST for a foreign Host of its own origin", method: "POST", host: "evil.example", header: http.Header{"Origin": {"http://evil.example"}, "Sec-Fetch-Site": {"same-origin"}}, foreign: true},
	{name: "GET with X-Forwarded-For", method: "GET", header: http.Header{"X-Forwarded-For": {"127.0.0.1"}}, forwarded: true},
	{name: "POST with X-Forwarded-For", method: "POST", header: http.Header{"X-Forwarded-For": {"127.0.0.1"}}, forwarded: true},
}

// cell is one question of the matrix.
type cell struct {
	*running
	port  string // pages or grpc
	who   string
	place place
	way   way
	route routes.Route
}

func (c cell) String() string {
	return fmt.Sprintf("%s: %s of %s (%s port) by %s from %s", c.name, c.way.name, c.route.Path, c.port, c.who, c.place.name)
}

func (c cell) question() question {
	q := c.running.question(c.who, c.place.addr, c.port, c.way.method, c.route.Concrete(cacheName))
	q.Host = c.way.host
	for name, values := range c.way.header {
		q.Header[name] = values
	}
	if c.way.method == http.MethodPost {
		q.Body = effects[c.route.Path].body
	}
	return q
}

// want is the status that the answer must have: 200 where the page answers.
func (c cell) want() int {
	path, access := c.route.Path, c.access()
	switch {
	case c.port == "grpc" && c.apart && !slices.Contains(probes, path):
		return http.StatusNotFound
	case !c.route.Answers(c.way.method):
		return http.StatusMethodNotAllowed
	case c.way.foreign && (strings.HasPrefix(path, "/internal") || path == "/metrics" && (c.place.loopback || c.local)):
		return http.StatusForbidden
	case c.way.crossing:
		return http.StatusForbidden
	case access == "everyone":
		return http.StatusOK
	case c.way.forwarded && access == "operator":
		return http.StatusForbidden
	}
	return c.admission(access)
}

// access is who may see the page: everyone, authenticated or operator.
func (c cell) access() string {
	switch {
	case slices.Contains(forEveryone, c.route.Path), assets.MatchString(c.route.Path):
		return "everyone"
	case slices.Contains(forMetrics, c.route.Path) && c.metrics != "":
		return c.metrics
	}
	return "operator"
}

// admission is the status for a caller who has come in the right way.
func (c cell) admission(access string) int {
	switch c.operators {
	case "nobody":
		return http.StatusForbidden
	case "local":
		switch {
		case c.who == "user" || c.who == "service": // their tokens cannot be verified
			return http.StatusUnauthorized
		case c.place.own && c.place.loopback && !c.way.foreign:
			return http.StatusOK
		}
		return http.StatusForbidden
	}
	switch {
	case c.who == "nobody":
		return http.StatusUnauthorized
	case c.who == "operator" || access == "authenticated":
		return http.StatusOK
	}
	return http.StatusForbidden
}

// declared is what the help page must say of the access, or nothing where the page
// is not on it.
func (c cell) declared() string {
	switch {
	case c.route.Linked:
		return ""
	case slices.Contains(forMetrics, c.route.Path):
		return "metrics"
	}
	return c.access()
}
