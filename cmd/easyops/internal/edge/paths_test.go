package edge

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// spellings are ways to write paths of status pages, of which some server takes each
// for the page.
var spellings = []string{
	"/internal", "/internal/", "/internal/health", "/INTERNAL/help", "/Internal", "//internal", "///internal/help", "/./internal", "/.//internal",
	"/%69nternal", "/%49NTERNAL", "/internal%2fhelp", "/%2finternal", "/%2Finternal", "/%2e/internal", "/%252e%252e/internal", "/%2569nternal",
	"/x/../internal", "/x/..%2finternal", "/x/%2e%2e/internal", "/x%2f..%2finternal", "/x/../../internal", "/x/y/../../internal/", "/..;/internal", "/x/..;/internal", "/x/..;a=b/internal",
	"/internal;a=b", "/internal;a=b/help", "/;/internal", "/;x/internal", "/internal%3b", "/internal%3fx", "/internal%23x", "/internal%00", "/internal%00.png", "/internal%20", "/%20internal", "/internal.", "/internal%2e",
	"/internal%09", "/inter%0anal", "/%ef%bd%89nternal", "/\xef\xbd\x89nternal", "/%c0%afinternal", "/x/%c0%ae%c0%ae/internal", `/\internal`, `/x\..\internal`, "/%5cinternal", "/%5c..%5cinternal", "/%255cinternal",
	"/metrics", "/METRICS", "//metrics", "/metrics/", "/metrics;x", "/%6detrics", "/metrics%2f", "/x/../metrics", "/metrics.", "/livez", "/livez/", "/%6civez", "/Livez", "/readyz", "/readyz%3f", "//readyz", "/x/../readyz",
	"/%25252525252525252569nternal",
}

func TestReadingOfStatusPages(t *testing.T) {
	for _, spelling := range spellings {
		if read, ok := reading(spelling); ok {
			t.Errorf("%q passes as %q", spelling, read)
		}
	}
}

func TestReading(t *testing.T) {
	for sent, want := range map[string]string{
		"/":                         "/",
		"/greet/":                   "/greet/",
		"/greet/x.html":             "/greet/x.html",
		"/a-b_c~d/1.2.3":            "/a-b_c~d/1.2.3",
		"/internals":                "/internals",
		"/x/internal":               "/x/internal",
		"/metrics/x":                "/metrics/x",
		"/.well-known/acme":         "/.well-known/acme",
		"/a..b/c...d":               "/a..b/c...d",
		"/caf%C3%A9":                "/café",
		"/projects/a%2Fb/metrics":   "/projects/a/b/metrics",
		"/projects/a%252Fb":         "/projects/a/b",
		"/100%25":                   "/100%",
		"/a;b=c/d;e":                "/a/d",
		"/a//b/":                    "/a/b/",
		`/a\b`:                      "/a/b",
		"/q%3Fx":                    "/q",
		"/@user/+1/a:b,c=d&e$f!g*h": "/@user/+1/a:b,c=d&e$f!g*h",
		"/a%20b":                    "/a b",
		"/%E4":                      "/\xe4",
	} {
		if read, ok := reading(sent); !ok || read != want {
			t.Errorf("%q is read as %q, %v; want %q", sent, read, ok, want)
		}
	}
	for _, sent := range []string{"/a/../b", "/a/./b", "/..", "/.", "/%2e%2e/a", "/a/..;x/b", "/a%0d%0ab", "/a%00", "/\x7f"} {
		if read, ok := reading(sent); ok {
			t.Errorf("%q passes as %q", sent, read)
		}
	}
}

// recorder is a server that is not one of easyops: it has every path.
type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, req.RequestURI)
	fmt.Fprint(w, "yes")
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// foreign lists a server that is not one of easyops as an HTTP service.
func (p *place) foreign(service string, h http.Handler) *httptest.Server {
	p.t.Helper()
	s := httptest.NewServer(h)
	p.t.Cleanup(s.Close)
	p.list(service, registry.KindHTTP, s.Listener.Addr().String())
	return s
}

// No spelling reaches a server behind the edge, in whatever form of request.
func TestStatusPagesAreOutOfReach(t *testing.T) {
	p := newPlace(t)
	var rec recorder
	p.foreign("page", &rec)
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\n")
	for _, line := range append(requestLines(spellings), "GET *", "OPTIONS *", "CONNECT /internal", "CONNECT internal:80", "GET internal", "GET http:internal", "PRI /internal") {
		resp := raw(t, e.Addr(), line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if seen := rec.take(); len(seen) > 0 { // the edge's own probes answer
			t.Errorf("%s: %s, and the service saw %q", line, resp.Status, seen)
		}
	}
	// The control: what is like them and is not.
	for _, line := range requestLines([]string{"/", "/internals", "/x/internal", "/x%2finternal", "/metrics/x", "/x;internal", "/x?/internal", "/x?../internal"}) {
		resp := raw(t, e.Addr(), line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		_, uri, _ := strings.Cut(line, " ")
		uri = "/" + strings.SplitN(strings.TrimPrefix(uri, "http://x"), "/", 2)[1]
		if seen := rec.take(); resp.StatusCode != http.StatusOK || len(seen) != 1 || seen[0] != uri {
			t.Errorf("%s: %s, and the service saw %q", line, resp.Status, seen)
		}
	}
}

// requestLines are the paths in the forms that a request can have.
func requestLines(paths []string) (lines []string) {
	for _, p := range paths {
		lines = append(lines, "GET "+p, "POST "+p, "GET http://x"+p, "HEAD "+p)
	}
	return lines
}

// A rule of one path cannot be had around by writing the path such that the edge finds
// another route.
func TestRoutesCannotBeMixedUp(t *testing.T) {
	p := newPlace(t)
	var rec recorder
	p.foreign("page", &rec)
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\n- {service: page, path: /admin/}\n")
	for _, path := range []string{
		"/admin", "/admin/x", "//admin/x", "/%61dmin/x", "/x/../admin/x", "/x/%2e%2e/admin/x", "/admin%2fx", "/admin%252fx", "/admin;a/x", "/;/admin/x", `/\admin/x`, "/./admin/x",
		"/admin%3fx", "/admin%23/x", "/x%2f..%2fadmin/x", "/admin./x", "/admin%20/x", "/%20admin",
	} {
		resp := raw(t, e.Addr(), "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if seen := rec.take(); len(seen) > 0 {
			t.Errorf("%s: %s, and the service saw %q", path, resp.Status, seen)
		}
	}
	for _, path := range []string{"/x//y", "/x%2fadmin", "/administrators", "/x;admin", "/x%252fy"} {
		resp := raw(t, e.Addr(), "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if seen := rec.take(); len(seen) != 1 || seen[0] != path {
			t.Errorf("%s: %s, and the service saw %q", path, resp.Status, seen)
		}
	}
}

// leadsToStatus tells whether a request target leads to a status page, by a way of its
// own to find that out: each reading by each decoding.
func leadsToStatus(target string) bool {
	target, _, _ = strings.Cut(target, "?")
	for range 20 {
		for _, s := range []string{target, strings.ReplaceAll(target, `\`, "/"), withoutParameters(target), withoutParameters(strings.ReplaceAll(target, `\`, "/"))} {
			cleaned := strings.ToLower(path.Clean("/" + s))
			if cleaned == "/internal" || strings.HasPrefix(cleaned, "/internal/") || cleaned == "/metrics" || cleaned == "/livez" || cleaned == "/readyz" {
				return true
			}
		}
		decoded, err := url.PathUnescape(target)
		if err != nil || decoded == target {
			return false
		}
		target = decoded
	}
	return true
}

func withoutParameters(s string) string {
	segments := strings.Split(s, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return strings.Join(segments, "/")
}

// Whatever the request line, no route is found that leads to a status page.
func FuzzHTTPRoute(f *testing.F) {
	for _, s := range spellings {
		f.Add(s)
	}
	for _, s := range []string{"/", "/x?y", "http://a/internal", "*", "/a%2fb", "//", "/%", "/x%2f%2e%2e%2finternal%3b"} {
		f.Add(s)
	}
	table := NewTable(TableConfig{})
	x := newIndex()
	x.addHTTP(&httpRoute{HTTPRoute: routes.HTTPRoute{Path: "/"}, route: &easyops.Route{Name: "all"}})
	x.addHTTP(&httpRoute{HTTPRoute: routes.HTTPRoute{Path: "/admin/"}, route: &easyops.Route{Name: "admin"}})
	table.now.Store(x)
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil {
			return
		}
		route := table.HTTPRoute(r)
		if route == nil || route == crooked {
			return
		}
		sent := *r.URL
		sent.Scheme, sent.Host = "http", "backend"
		if uri := sent.RequestURI(); leadsToStatus(uri) {
			t.Errorf("%q goes on as %q", target, uri)
		}
		cleaned := path.Clean("/" + withoutParameters(strings.ReplaceAll(r.URL.Path, `\`, "/")))
		if strings.HasPrefix(cleaned+"/", "/admin/") != (route.Name == "admin") {
			t.Errorf("%q is of %s, and is read as %q", target, route.Name, cleaned)
		}
	})
}
