package easyops

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/status"
)

// reservedSpellings are paths that some server could take for those of status pages.
var reservedSpellings = []string{
	"/internal", "/internal/", "/internal/help", "/INTERNAL/help", "/Internal/Debug/pprof",
	"//internal/help", "///internal", "/./internal/help", "/x/../internal/help", "/x/y/../../internal", "/internal/../x",
	"/%69nternal/help", "/internal%2fhelp", "/%2finternal", "/%2Finternal%2Fhelp", "/x%2f..%2finternal", "/x/%2e%2e/internal",
	"/%2569nternal", "/%252569nternal", "/internal%252fhelp", "/%25%36%39nternal",
	"/internal;x=1/help", "/internal;/help", "/;x/internal", "/x/..;/internal", "/x/..;a=b/internal/help",
	`/internal\help`, `\internal`, `/x\..\internal`, "/internal%5chelp", "/%5cinternal", "/x/..%5cinternal",
	"/internal%00", "/internal%00.png", "/internal%20", "/%20internal", "/internal%09/x", "/internal%0d%0a/x", "/int%00ernal",
	"/internal%3fx", "/internal%23x", "/internal?x", "/%c0%afinternal", "/x/%c0%ae%c0%ae/internal", "/%e0%80%afinternal",
	"/metrics", "/metrics/", "/Metrics", "//metrics", "/metric%73", "/metrics;a=b", "/x/../metrics", "/metrics%2f", "/metrics%3f",
	"/livez", "/LIVEZ", "/livez/", "/%6civez", "/readyz", "/readyz/.", "/readyz%20",
	"/a%2525252525252525252525252525252525252525252541",
}

var freeSpellings = []string{
	"/", "/x", "/internals", "/internal-docs/x", "/x/internal", "/x/internal/help", "/my/metrics", "/metrics/mine", "/livez/x",
	"/x/../y", "/caf%c3%a9", "/100%25", "/a%2525b", "/x%2fy", "/a;b/c", "/greet/?x", "/metricsx", "/%", "/%zz", "/.internal", "/x%", "", "*",
}

func TestReservedSpellings(t *testing.T) {
	for want, paths := range map[bool][]string{true: reservedSpellings, false: freeSpellings} {
		for _, path := range paths {
			if got := maybeReserved(path); got != want {
				t.Errorf("%q: reserved: %v", path, got)
			}
		}
	}
}

// No spelling reaches a route, however it is sent: as the path or in a whole URL.
func TestReservedSpellingsReachNoRoute(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		routes := newTable(map[string]auth.Access{"*": {Allow: auth.Everyone}})
		r := newRig(t, ways[0], &funcs{}, WithProxy(routes))
		send := func(line string) int {
			conn, err := r.lis.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, line+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		for _, path := range reservedSpellings {
			own, _ := url.PathUnescape(path) // the server's own page, for what it is
			for _, prefix := range []string{"", "http://localhost", "http://other.example"} {
				code := send("GET " + prefix + path)
				if got := routes.takes(); got != "" || code < 400 && !status.Reserved(own) {
					t.Errorf("%q: %d, and it came to %q", prefix+path, code, got)
				}
			}
		}
		for _, line := range []string{"CONNECT /x", "CONNECT localhost:80", "OPTIONS *"} {
			code := send(line)
			if got := routes.takes(); got != "" {
				t.Errorf("%q: %d, and it came to %s", line, code, got)
			}
		}
		wantEqual(t, "asked", routes.questions(), 0)
		for _, path := range freeSpellings {
			if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "%") || strings.HasSuffix(path, "zz") {
				continue // net/http refuses it
			}
			code := send("GET " + path)
			if got := routes.takes(); got != "* nobody" || code != http.StatusOK {
				t.Errorf("control: %q: %d, and it came to %q", path, code, got)
			}
		}
	})
}

// Neither do calls of methods that are called so.
func TestReservedMethodsReachNoRoute(t *testing.T) {
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		routes := newTable(map[string]auth.Access{"*": {Allow: auth.Everyone}})
		conn := newRig(t, w, &funcs{}, append(opts, WithProxy(routes))...).dial()
		for _, method := range []string{"/internal/help", "/INTERNAL/help", "//internal/help", "/x/../internal/help", "/%69nternal/help", "/internal;x/help"} {
			_, err := invoke(t.Context(), conn, method)
			if grpcstatus.Code(err) != codes.Unimplemented {
				t.Errorf("%s: %v", method, err)
			}
		}
		wantEqual(t, "asked", routes.questions(), 0)
		_, err := invoke(t.Context(), conn, "/internals.v1.S/help")
		wantCode(t, err, codes.OK)
	})
}

// FuzzReserved: a path whose first segment is reserved is found however it is escaped,
// and nothing panics.
func FuzzReserved(f *testing.F) {
	for _, path := range append(reservedSpellings, freeSpellings...) {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		maybeReserved(path)
		u := url.URL{Path: "/Internal/" + path}
		escaped := u.EscapedPath()
		for range 2 * maxEscapes {
			if !maybeReserved(escaped) {
				t.Fatalf("%q is not found", escaped)
			}
			escaped = url.PathEscape(escaped)
		}
	})
}
