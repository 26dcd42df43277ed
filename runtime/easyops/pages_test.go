package easyops_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// pages are some of each kind: those that move or go together, and probes.
var pages = []string{"/internal/help", "/internal/health", "/internal/service-info/name", "/internal/service-info/version", "/internal/service-info/api", "/internal/debug/info", "/metrics", "/internal/service-info/metrics"}

func codesOf(t *testing.T, url string, paths ...string) map[string]int {
	t.Helper()
	got := map[string]int{}
	for _, path := range paths {
		got[path], _ = get(t, url+path)
	}
	return got
}

func expectCodes(t *testing.T, url string, want int, paths ...string) {
	t.Helper()
	for path, code := range codesOf(t, url, paths...) {
		if code != want {
			t.Errorf("%s%s: %d, want %d", url, path, code, want)
		}
	}
}

// TestPages: they are about this server.
func TestPages(t *testing.T) {
	s := startEcho(t)
	url := local(s.Server)
	expectCodes(t, url, http.StatusOK, pages...)
	expectCodes(t, url, http.StatusOK, "/livez", "/readyz")
	for path, want := range map[string]string{
		"/internal/health":            "READY",
		"/internal/service-info/name": "echo.v1.EchoService",
		"/internal/service-info/api":  "EchoService says what it hears.",
		"/internal/help":              "/internal/pleaseshutdown",
		"/metrics":                    "easyops_ready 1",
	} {
		_, body := get(t, url+path)
		mustContain(t, body, want)
	}
	_, body := get(t, url+"/internal/service-info/api?format=json")
	mustContain(t, body, `"AUTHENTICATED"`, "grpc.health.v1.Health", `"EVERYONE"`)
}

// TestStatusAddrIsSaid: callers that are authenticated have the pages too, on a port that
// nobody has chosen.
func TestStatusAddrIsSaid(t *testing.T) {
	var l logs
	nobody := auth.AuthenticatorFunc(func(context.Context, auth.Credential) (auth.Identity, error) { return auth.Identity{}, nil })
	startEcho(t, easyops.WithStatusAddr("127.0.0.1:0"), easyops.WithLogger(l.logger()), easyops.WithAuthenticator(nobody))
	lines := l.with(t, "serving")
	if len(lines) != 1 || lines[0]["status"] == nil || lines[0]["help"] != "http://"+lines[0]["status"].(string)+"/internal/help" {
		t.Errorf("%v", lines)
	}
}

// TestStatusAddr: the pages move, the probes are on both.
func TestStatusAddr(t *testing.T) {
	var l logs
	s := startEcho(t, easyops.WithStatusAddr("127.0.0.1:0"), easyops.WithLogger(l.logger()), easyops.WithHTTP("/mine", text("mine")))
	lines := l.with(t, "serving")
	if len(lines) != 1 {
		t.Fatalf("%d lines about the start", len(lines))
	}
	status, ok := strings.CutSuffix(lines[0]["help"].(string), "/internal/help")
	port := local(s.Server)
	if !ok || status == port {
		t.Fatalf("the help page is said to be at %v", lines[0]["help"])
	}
	expectCodes(t, status, http.StatusOK, pages...)
	expectCodes(t, port, http.StatusNotFound, pages...)
	expectCodes(t, status, http.StatusOK, "/livez", "/readyz")
	expectCodes(t, port, http.StatusOK, "/livez", "/readyz", "/mine")
	expectCodes(t, status, http.StatusNotFound, "/mine")
	_, api := get(t, status+"/internal/service-info/api")
	mustContain(t, api, strings.TrimPrefix(port, "http://")+" echo.v1.EchoService/Echo")
	resp, err := http.Post(status+"/internal/pleaseshutdown", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("pleaseshutdown: %d", resp.StatusCode)
	}
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}

// TestWithoutStatus: no pages, no metrics, no reflection; the probes stay.
func TestWithoutStatus(t *testing.T) {
	for name, opts := range map[string][]easyops.ServerOption{
		"alone":            nil,
		"with a handler":   {easyops.WithHTTP("/", text("mine"))},
		"with status-addr": {easyops.WithStatusAddr("127.0.0.1:0")},
	} {
		t.Run(name, func(t *testing.T) {
			var l logs
			s := startEcho(t, append(opts, easyops.WithoutStatus(), easyops.WithLogger(l.logger()))...)
			expectCodes(t, local(s.Server), http.StatusNotFound, pages...)
			expectCodes(t, local(s.Server), http.StatusOK, "/livez", "/readyz")
			if _, err := reflectServices(t, plain(t, s.Server)); status.Code(err) != codes.Unimplemented {
				t.Errorf("reflection: %v", err)
			}
			if strings.Contains(l.String(), "/internal/help") {
				t.Errorf("the log speaks of a help page:\n%s", &l)
			}
			say(t, dialEcho(t, s.Client()), "hi")
		})
	}
	names, err := reflectServices(t, plain(t, startEcho(t).Server))
	if err != nil || !strings.Contains(strings.Join(names, " "), "echo.v1.EchoService") {
		t.Errorf("without the option: %v, %v", names, err)
	}
}

// TestMetricsAccess: everyone may be given the metrics and nothing else.
func TestMetricsAccess(t *testing.T) {
	for _, test := range []struct {
		who  string
		want int
	}{{"everyone", 200}, {"operators", 403}, {"authenticated", 403}} {
		t.Run(test.who, func(t *testing.T) {
			var l logs
			s := startOff(t, &l, echoService(), easyops.WithAuth("insecure-none"), easyops.WithMetricsAccess(test.who))
			expectCodes(t, local(s), test.want, "/metrics", "/internal/service-info/metrics")
			expectCodes(t, local(s), http.StatusForbidden, "/internal/help", "/internal/service-info/api")
		})
	}
}

// TestMessageSizes: they are measured only where that is asked for.
func TestMessageSizes(t *testing.T) {
	for _, opts := range [][]easyops.ServerOption{nil, {easyops.WithMessageSizes()}} {
		s := startEcho(t, opts...)
		say(t, dialEcho(t, s.Client()), "hi")
		_, metrics := get(t, local(s.Server)+"/metrics")
		if got := strings.Contains(metrics, "_message_size_bytes"); got != (len(opts) > 0) {
			t.Errorf("with %d options sizes are measured: %t", len(opts), got)
		}
	}
}

// TestHandlersBehindAProxy: what is refused there says how a service is to be served
// behind one.
func TestHandlersBehindAProxy(t *testing.T) {
	s := startEcho(t, easyops.WithHTTP("/mine", text("mine")))
	code, body := get(t, local(s.Server)+"/mine", func(r *http.Request) { r.Header.Set("Via", "1.1 edge") })
	if code != http.StatusForbidden || !strings.Contains(body, "Via") || !strings.Contains(body, "set -easyops.auth") || !strings.Contains(body, "EVERYONE") {
		t.Errorf("%d: %s", code, body)
	}
}

// TestOperatorOnly: on this machine a browser that was led here by another
// site, and a proxy, are no operators.
func TestOperatorOnly(t *testing.T) {
	s := startEcho(t)
	for name, change := range map[string]func(*http.Request){
		"foreign host": func(r *http.Request) { r.Host = "evil.example" },
		"proxy":        func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
		"foreign site": func(r *http.Request) { r.Method = http.MethodPost; r.Header.Set("Origin", "https://evil.example") },
	} {
		if code, body := get(t, local(s.Server)+"/internal/pleaseshutdown", change); code != http.StatusForbidden && code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", name, code, body)
		}
		if code, body := get(t, local(s.Server)+"/internal/help", change); name != "foreign site" && code != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	say(t, dialEcho(t, s.Client()), "still there")
}

// TestNoPasswords: what a registry's URL may carry is for nobody's eyes.
func TestNoPasswords(t *testing.T) {
	var l logs
	url := (&watched{}).open() + "//ann:canary@host"
	s := startOff(t, &l, echoService(), easyops.WithAddr(""), easyops.WithRegistry(url))
	for _, path := range pages {
		if _, body := get(t, local(s)+path); strings.Contains(body, "canary") {
			t.Errorf("a password is on %s", path)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	err := startFault(t, echoService(), easyops.WithRegistry("unknown://ann:canary@host"))
	if log := l.String() + err.Error(); strings.Contains(log, "canary") {
		t.Errorf("a password is in the log or the error:\n%s", log)
	}
}

// TestLogOfALife: a line at the start that says what was decided, a line a
// step of the stop, and nothing of what callers sent.
func TestLogOfALife(t *testing.T) {
	var l logs
	everyone := easyops.WithAccess("echo.v1.EchoService/Echo", auth.Access{Allow: auth.Everyone}) // elsewhere tokens are refused
	s := startEcho(t, easyops.WithLogger(l.logger()), easyops.WithTags("zone", "a"), everyone)
	conn := plain(t, s.Server)
	for range 300 { // some are sampled
		ask(t, withToken{conn}, "/echo.v1.EchoService/Echo")
	}
	ask(t, withToken{conn}, "/echo.v1.EchoService/Missing")
	get(t, local(s.Server)+"/internal/help", func(r *http.Request) { r.Header.Set("Authorization", "Bearer canary") })
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	lines := l.with(t, "serving")
	if len(lines) != 1 {
		t.Fatalf("%d lines about the start:\n%s", len(lines), &l)
	}
	for key, want := range map[string]any{
		"level": "INFO", "addr": s.Addr().String(), "mode": "standalone, plaintext", "help": local(s.Server) + "/internal/help",
	} {
		if lines[0][key] != want {
			t.Errorf("%s is %v, want %v", key, lines[0][key], want)
		}
	}
	for _, key := range []string{"service", "registry", "instance"} {
		if lines[0][key] == nil {
			t.Errorf("the start says nothing of %s", key)
		}
	}
	for _, step := range []string{"stopping", "draining", "stopped"} {
		if n := len(l.with(t, step)); n != 1 {
			t.Errorf("%d lines %q", n, step)
		}
	}
	if strings.Contains(l.String(), "canary") {
		t.Errorf("a token is in the log:\n%s", &l)
	}
	calls := l.with(t, "call")
	if len(calls) == 0 || len(calls) > 50 {
		t.Errorf("%d lines for 301 calls", len(calls))
	}
}

// TestInfo: texts of the program's own, and one that panics.
func TestInfo(t *testing.T) {
	s := startEcho(t, easyops.WithInfo("queue", func() string { return "7 waiting" }),
		easyops.WithInfo("broken", func() string { panic("the secret") }))
	_, body := get(t, local(s.Server)+"/internal/service-info/infoproviders")
	mustContain(t, body, "queue", "7 waiting", "broken", "internal error")
	if strings.Contains(body, "secret") {
		t.Errorf("a panic is shown:\n%s", body)
	}
}
