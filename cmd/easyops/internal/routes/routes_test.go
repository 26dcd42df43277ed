package routes

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/go-easyops/easyops/runtime/auth"
)

const full = `# the edge of the shop
listen: ":8443"
admin: "127.0.0.1:8081"
tls:
- {cert: shop.pem, key: /etc/shop.key}
http:
- {host: Shop.Example.com., path: /greet, service: greet-page, allow: USERS, groups: [staff, ops], services: [web], connect_timeout: 250ms}
- {host: "*.example.com", service: pages, allow: EVERYONE}
- {host: "[::1]", service: pages}
- path: /my/internal/
  service: pages
grpc:
- {service: echo.v1.EchoService, host: api.example.com, allow: SERVICES, max_message: 16MiB}
- {service: echo.*, max_message: 1000}
- {service: "*"}
tcp:
- {listen: ":5432", service: db, proxy_protocol: v2, accept_proxy_protocol_from: [10.0.0.0/8, "::1"], max_connections: 1000, max_connections_per_client: 20, idle_timeout: 2h, connect_timeout: 1m}
- {listen: "127.0.0.1:0", service: lines, proxy_protocol: v1}
`

var parsed = File{
	Name: "etc/routes.yaml", Listen: ":8443", Admin: "127.0.0.1:8081",
	TLS: []Certificate{{Line: 5, Cert: "etc/shop.pem", Key: "/etc/shop.key"}},
	HTTP: []HTTPRoute{
		{
			Line: 7, Host: "shop.example.com", Path: "/greet/", Service: "greet-page", ConnectTimeout: 250 * time.Millisecond,
			Access: auth.Access{Allow: auth.Users, Groups: []string{"staff", "ops"}, Services: []string{"web"}},
		},
		{Line: 8, Host: "*.example.com", Path: "/", Service: "pages", Access: auth.Access{Allow: auth.Everyone}, ConnectTimeout: DefaultConnectTimeout},
		{Line: 9, Host: "::1", Path: "/", Service: "pages", ConnectTimeout: DefaultConnectTimeout},
		{Line: 10, Path: "/my/internal/", Service: "pages", ConnectTimeout: DefaultConnectTimeout},
	},
	GRPC: []GRPCRoute{
		{Line: 13, Host: "api.example.com", Service: "echo.v1.EchoService", Access: auth.Access{Allow: auth.Services}, MaxMessage: 16 << 20, ConnectTimeout: DefaultConnectTimeout},
		{Line: 14, Service: "echo.*", MaxMessage: 1000, ConnectTimeout: DefaultConnectTimeout},
		{Line: 15, Service: "*", MaxMessage: DefaultMaxMessage, ConnectTimeout: DefaultConnectTimeout},
	},
	TCP: []TCPRoute{
		{
			Line: 17, Listen: ":5432", Service: "db", ProxyProtocol: 2, MaxConnections: 1000, MaxPerClient: 20, IdleTimeout: 2 * time.Hour, ConnectTimeout: time.Minute,
			AcceptProxy: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		},
		{Line: 18, Listen: "127.0.0.1:0", Service: "lines", ProxyProtocol: 1, ConnectTimeout: DefaultConnectTimeout},
	},
}

func TestParse(t *testing.T) {
	f, err := Parse("etc/routes.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&parsed, f, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	if f.MaxMessage() != 16<<20 {
		t.Errorf("the longest message is %d", f.MaxMessage())
	}
}

func TestNames(t *testing.T) {
	for i, want := range []string{"shop.example.com/greet/", "*.example.com/", "::1/", "/my/internal/"} {
		if got := parsed.HTTP[i].Name(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for i, want := range []string{"api.example.com/echo.v1.EchoService", "echo.*", "*"} {
		if got := parsed.GRPC[i].Name(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := parsed.TCP[0].Name(); got != ":5432" {
		t.Error(got)
	}
}

// Each fault is told with its line, its key and what to do.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string // one a fault, of which each part between … is in it
	}{
		"empty":           {"", []string{"r.yaml:1: the file is empty: list routes"}},
		"only a comment":  {"# nothing\n", []string{"r.yaml:1: the file is empty"}},
		"nothing in it":   {"listen: :1\n", []string{"r.yaml:1: there are no routes"}},
		"not YAML":        {"http:\n- {service: a\n- b\n", []string{"r.yaml:…this is not YAML: …"}},
		"a tab":           {"http:\n\t- service: a\n", []string{"r.yaml:2: this is not YAML: …"}},
		"two documents":   {"http: [{service: a}]\n---\nhttp: [{service: a}]\n", []string{"r.yaml:2: a second document"}},
		"a list":          {"- a\n", []string{"r.yaml:1: is a list: write keys and values, such as listen: …"}},
		"unknown keys":    {"htp: []\nhttp:\n- {servce: a, service: b}\n", []string{"r.yaml:1: htp: is unknown: the keys here are listen, admin, tls, http, grpc, tcp", "r.yaml:3: http[0].servce: is unknown: …service…"}},
		"a key twice":     {"http:\n- service: a\n  service: b\n", []string{"r.yaml:3: http[0].service: stands in line 2 already"}},
		"no value":        {"http:\n- service:\n", []string{"r.yaml:2: http[0].service: has no value"}},
		"no values":       {"http:\n", []string{"r.yaml:1: http: has no value"}},
		"an empty value":  {"http:\n- service: ''\n", []string{"r.yaml:2: http[0].service: has no value"}},
		"a value of many": {"http:\n- service: [a, b]\n", []string{"r.yaml:2: http[0].service: is a list: write one value"}},
		"an alias":        {"http:\n- &a {service: x}\n- *a\n", []string{"r.yaml:2: http[0]: uses an anchor", "r.yaml:3: http[1]: uses an anchor or an alias"}},
		"a bare star":     {"grpc:\n- service: *\n", []string{"r.yaml:2: …not YAML…"}},
		"a merge":         {"http:\n- <<: {service: x}\n", []string{"r.yaml:2: http[0].<<: is unknown"}},
		"no service":      {"http:\n- path: /x\ngrpc:\n- host: a.b\ntcp:\n- listen: :1\n", []string{"r.yaml:2: http[0].service: is missing: name", "r.yaml:4: grpc[0].service: is missing", "r.yaml:6: tcp[0].service: is missing"}},
		"no listen":       {"tcp:\n- service: db\n", []string{"r.yaml:2: tcp[0].listen: is missing"}},
		"no key":          {"tls: [{cert: a}]\nhttp: [{service: a}]\n", []string{"r.yaml:1: tls[0].key: is missing: name the file"}},
		"tls for nothing": {"tls: [{cert: a, key: b}]\ntcp: [{service: a, listen: ':1'}]\n", []string{"r.yaml:1: tls: is for routes of HTTP and gRPC"}},
		"addresses": {
			"listen: 8443\nadmin: \":99999\"\ntcp: [{service: a, listen: \"a b:1\"}]\n",
			[]string{`r.yaml:1: listen: "8443" is no address: write host:port`, `r.yaml:2: admin: ":99999" has no port from 0 to 65535`, `r.yaml:3: tcp[0].listen: "a b" is no host`},
		},
		"hosts": {
			"http:\n- {service: a, host: https://x.y}\n- {service: a, host: x.y/z}\n- {service: a, host: 'x.y:80'}\n- {service: a, host: 'a*.b'}\n- {service: a, host: '*'}\n- {service: a, host: ä.de}\n- {service: a, host: 'a..b'}\n- {service: a, host: -a}\n",
			[]string{"2: http[0].host: …is more than a host", "3: http[1].host: …is more than", "4: http[2].host: …has a port: leave it out", "5: http[3].host: …stands for whole names", "6: http[4].host: …leave host out for every host", "7: …xn--", "8: …no name of a host", "9: …no name of a host"},
		},
		"paths": {
			"http:\n- {service: a, path: x}\n- {service: a, path: /a/*}\n- {service: a, path: /a/../b}\n- {service: a, path: //a}\n- {service: a, path: '/a%2fb'}\n- {service: a, path: /a;b}\n- {service: a, path: '/a b'}\n- {service: a, path: '/a?b'}\n",
			[]string{"2: http[0].path: …does not begin with a slash", "3: …has a pattern in it", `4: …is not clean: write "/b"`, `5: …is not clean: write "/a"`, "6: …without what has to be encoded", "7: …without", "8: …without", "9: …without"},
		},
		"reserved paths": {
			"http:\n- {service: a, path: /internal}\n- {service: a, path: /Internal/x/}\n- {service: a, path: /metrics}\n- {service: a, path: /livez/}\n- {service: a, path: /READYZ}\n",
			[]string{"2: http[0].path: …belongs to the status pages", "3: …status pages", "4: …status pages", "5: …status pages", "6: …status pages"},
		},
		"services": {
			"http: [{service: a b}, {service: a/b}]\ngrpc: [{service: a.B/C}, {service: a*}, {service: '*.a'}, {service: grpc.health.v1.Health}, {service: '.*'}]\ntcp: [{service: 'ä', listen: ':1'}]\n",
			[]string{"1: http[0].service: …is no name of a service", "1: http[1].service: …is no name", "2: grpc[0].service: …names a method", "2: grpc[1].service: …a * stands", "2: grpc[2].service: …a * stands", "2: grpc[3].service: …answered by the edge itself", "2: grpc[4].service: …no name", "3: tcp[0].service: …no name"},
		},
		"access": {
			"http:\n- {service: a, allow: everyone}\n- {service: b, path: /b, allow: EVERYONE, groups: [x]}\n- {service: c, path: /c, groups: []}\n- {service: d, path: /d, services: x}\n- {service: e, path: /e, allow: SERVICES, groups: [x]}\n- {service: f, path: /f, groups: ['']}\n- {service: g, path: /g, groups: [\"a\\nb\"], services: [\"a\\u2028b\", 'a b']}\n",
			[]string{"2: http[0].allow: \"everyone\" is nobody: write AUTHENTICATED, USERS, SERVICES or EVERYONE", "3: http[1].allow: EVERYONE with groups", "4: http[2].groups: is an empty list", "5: http[3].services: is the value \"x\": write a list", "6: http[4].allow: SERVICES with groups", "7: http[5].groups[0]: has no value", "8: http[6].groups[0]: \"a?b\" has a character that cannot be seen", "8: http[6].services[0]: …cannot be seen"},
		},
		"times": {
			"http:\n- {service: a, connect_timeout: 5}\n- {service: b, path: /b, connect_timeout: 0s}\n- {service: c, path: /c, connect_timeout: 1h}\n- {service: d, path: /d, connect_timeout: -1s}\n",
			[]string{"2: http[0].connect_timeout: \"5\" is no time: write it with its unit", "3: …out of bounds", "4: …out of bounds: 1ms to 5m", "5: …out of bounds"},
		},
		"sizes": {
			"grpc:\n- {service: a, max_message: 4MB}\n- {service: b, max_message: 0}\n- {service: c, max_message: 2GiB}\n- {service: d, max_message: -1}\n- {service: e, max_message: 9999999999999GiB}\n- {service: f, max_message: 1.5MiB}\n",
			[]string{"2: grpc[0].max_message: \"4MB\" is no size: write", "3: …no size", "4: …no size", "5: …no size", "6: …no size", "7: …no size"},
		},
		"tcp": {
			"tcp:\n- {listen: ':1', service: a, proxy_protocol: 2, max_connections: 0}\n- {listen: ':2', service: a, accept_proxy_protocol_from: [x, 10.0.0.1/8, 'fe80::1%eth0']}\n- {listen: ':3', service: a, accept_proxy_protocol_from: 10.0.0.0/8}\n",
			[]string{"2: tcp[0].proxy_protocol: \"2\" is no version: write v1 or v2", "2: tcp[0].max_connections: \"0\" is no number from 1", "3: tcp[1].accept_proxy_protocol_from[0]: …neither an IP address nor", "3: tcp[1].accept_proxy_protocol_from[1]: …write 10.0.0.0/8", "3: …neither", "4: tcp[2].accept_proxy_protocol_from: is the value \"10.0.0.0/8\": write a list"},
		},
		"bounds of tcp": {
			"tcp:\n- {listen: ':1', service: a, max_connections: 10, max_connections_per_client: 11}\n- {listen: ':2', service: a, max_connections_per_client: 16385}\n- {listen: ':3', service: a, idle_timeout: 10ms}\n",
			[]string{"2: tcp[0].max_connections_per_client: 11 is more than max_connections, which is 10", "3: tcp[1].max_connections_per_client: 16385 is more than max_connections, which is 16384", "4: tcp[2].idle_timeout: 10ms is out of bounds: 1s to 168h"},
		},
		"routes that never match": {
			"http:\n- {service: a, host: X.y}\n- {service: b, host: x.y, path: /}\n- {service: c, path: /c}\n- {service: d, path: /c/}\ngrpc:\n- {service: a.B}\n- {service: a.B, host: x.y}\n- {service: a.B}\n",
			[]string{"3: http: no request comes here: the route in line 2 has the same host and path", "5: http: no request comes here: the route in line 4", "9: grpc: no call comes here: the route in line 7"},
		},
		"ports": {
			"listen: :1\nadmin: 127.0.0.1:1\ntcp:\n- {listen: '0.0.0.0:1', service: a}\n- {listen: '10.0.0.1:2', service: a}\n- {listen: '10.0.0.2:2', service: a}\n- {listen: ':2', service: a}\n",
			[]string{"2: admin: 127.0.0.1:1 collides with :1 of listen", "4: tcp.listen: 0.0.0.0:1 collides with :1 of listen", "7: tcp.listen: :2 collides with 10.0.0.1:2 of tcp.listen in line 5"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("r.yaml", []byte(c.text))
			if err == nil {
				t.Fatal("no fault is found")
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(c.want) {
				t.Errorf("%d faults, want %d:\n%v", len(got), len(c.want), err)
			}
			for i, want := range c.want {
				if i < len(got) && !hasParts(got[i], want) {
					t.Errorf("got  %s\nwant %s", got[i], want)
				}
			}
		})
	}
}

// hasParts tells whether a text has the parts of another one, in their order.
func hasParts(text, parts string) bool {
	for part := range strings.SplitSeq(parts, "…") {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}

func TestFaultsAreBounded(t *testing.T) {
	long := "http:\n" + strings.Repeat("- {"+strings.Repeat("x", 1000)+": 1}\n", 200)
	_, err := Parse("r.yaml", []byte(long))
	if err == nil || len(err.Error()) > 20_000 || !strings.HasSuffix(err.Error(), "and 150 more") {
		t.Errorf("%.300v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "routes.yaml")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte("http: [{service: a}]\ntls: [{cert: a.pem, key: /k.pem}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.TLS[0]; got.Cert != filepath.Join(dir, "a.pem") || got.Key != "/k.pem" {
		t.Errorf("files %+v", got)
	}
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a file that is too long: %v", err)
	}
	for _, endless := range []string{dir, "/dev/zero"} {
		if _, err := Load(endless); err == nil || !strings.Contains(err.Error(), endless) {
			t.Errorf("%s: %v", endless, err)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct{ most, perClient, room, wantAll, wantPerClient int }{
		{0, 0, 1 << 20, DefaultMaxConnections, DefaultMaxConnections / 4},
		{1000, 0, 1 << 20, 1000, 250},
		{1000, 20, 1 << 20, 1000, 20},
		{1000, 1000, 1 << 20, 1000, 1000},
		{1000, 0, 100, 100, 25},
		{1000, 500, 100, 100, 100},
		{3, 0, 1 << 20, 3, 1},
	} {
		r := TCPRoute{MaxConnections: c.most, MaxPerClient: c.perClient}
		if all, perClient := r.Bounds(c.room); all != c.wantAll || perClient != c.wantPerClient {
			t.Errorf("%+v: %d and %d", c, all, perClient)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"", "x", true},
		{"", "", true},
		{"a.b", "a.b", true},
		{"a.b", "x.a.b", false},
		{"*.b", "a.b", true},
		{"*.b", "x.a.b", true},
		{"*.b", "b", false},
		{"*.b", ".b", false},
		{"*.b", "ab", false},
	} {
		if _, got := MatchHost(c.pattern, c.host); got != c.want {
			t.Errorf("host %q of %q: %v", c.host, c.pattern, got)
		}
	}
	less := -1
	for _, pattern := range []string{"", "*.c", "*.b.c", "a.b.c"} {
		specific, ok := MatchHost(pattern, "a.b.c")
		if !ok || specific <= less {
			t.Errorf("%q is not more specific than the one before", pattern)
		}
		less = specific
	}
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/", "/", true},
		{"/", "/x", true},
		{"/greet/", "/greet", true},
		{"/greet/", "/greet/x", true},
		{"/greet/", "/greetings", false},
		{"/greet/", "/", false},
		{"/greet/", "/Greet/", false},
	} {
		if got := MatchPath(c.pattern, c.path); got != c.want {
			t.Errorf("path %q of %q: %v", c.path, c.pattern, got)
		}
	}
	for _, c := range []struct {
		pattern, service string
		want             bool
	}{
		{"*", "a", true}, {"a.B", "a.B", true}, {"a.*", "a.B", true}, {"a.*", "a.b.C", true}, {"a.*", "a.", false}, {"a.*", "ab.C", false}, {"a.B", "a.b", false},
	} {
		if got := MatchService(c.pattern, c.service); got != c.want {
			t.Errorf("service %q of %q: %v", c.service, c.pattern, got)
		}
	}
}

func TestIsReserved(t *testing.T) {
	for path, want := range map[string]bool{
		"/internal": true, "/internal/": true, "/INTERNAL/x": true, "internal": true, "/metrics": true, "/Metrics/": true, "/livez": true, "/readyz": true,
		"/": false, "": false, "/internals": false, "/x/internal": false, "/metrics/x": false, "/readyz2": false,
	} {
		if got := IsReserved(path); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}

// Whatever is in a file, it is parsed without a panic; each fault names a place in it,
// and a file that is sound leads nobody to a status page.
func FuzzParse(f *testing.F) {
	f.Add(full)
	f.Add("http:\n- {service: a, path: /internal%2f}\n")
	f.Add("tls: [{cert: a}]\ngrpc: [{service: '*'}]\n--- 1\n")
	f.Add("&a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("r.yaml", []byte(text))
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "r.yaml:") {
					t.Errorf("%q: a fault without a place: %q", text, line)
				}
			}
			return
		}
		for _, r := range file.HTTP {
			if IsReserved(r.Path) || !strings.HasPrefix(r.Path, "/") || !strings.HasSuffix(r.Path, "/") || r.Service == "" || r.ConnectTimeout <= 0 {
				t.Errorf("%q: %+v", text, r)
			}
		}
		for _, r := range file.GRPC {
			if r.Service == "" || r.MaxMessage <= 0 || r.ConnectTimeout <= 0 {
				t.Errorf("%q: %+v", text, r)
			}
		}
		for _, r := range file.TCP {
			if r.Service == "" || r.Listen == "" || r.MaxConnections < 0 || r.ConnectTimeout <= 0 {
				t.Errorf("%q: %+v", text, r)
			}
		}
	})
}
