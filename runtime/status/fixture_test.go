package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

// raceEnabled says that the race detector is on, which takes its time.
var raceEnabled = func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// operatorHeader is how requests of these tests say that an operator sends
// them.
const operatorHeader = "X-Test-Operator"

func testOperator(r *http.Request) (string, error) {
	if who := r.Header.Get(operatorHeader); who != "" {
		return who, nil
	}
	return "", errors.New("not an operator: ask one")
}

// fixture is a server with every page over a real listener.
type fixture struct {
	*httptest.Server
	t     testing.TB
	pages *Pages
	log   *lines

	mu        sync.Mutex
	shutdowns []string
	state     string
	registry  Registry
}

func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &lines{}, state: Ready, registry: Registry{Where: "etcd://127.0.0.1:2379", State: "registered", LastAnswer: time.Now()}}
	cfg := Config{Name: "echo.v1.EchoService", Operator: testOperator, Registry: f.registryNow, Logger: slog.New(slog.NewJSONHandler(f.log, nil))}
	for _, c := range change {
		c(&cfg)
	}
	p, err := New(cfg)
	services := echoServices(t)
	registry := prometheus.NewRegistry()
	err = errors.Join(err,
		p.HandleInfo(Info{
			Services: []string{"echo.v1.EchoService", "grpc.health.v1.Health"}, Instance: "i-1",
			RuntimeVersion: "v0.1.0", Started: time.Now(),
		}),
		p.HandleOverview(f.overview),
		p.HandleAPI(func() []Service { return services }, func() []MethodTraffic { return f.overview().Methods }),
		p.HandleMetrics(registry),
		p.HandleHealth(f.health),
		p.HandleShutdown(f.shutdown),
		p.HandleUnregister(f.unregister),
		p.HandleConnections(f.connections),
		p.HandleDependencies(f.dependencies),
		p.HandleDebug(false),
		p.HandleTexts(func() []NamedText { return []NamedText{{"queue", "7 waiting"}} }),
		p.Handle(Page{Path: "/internal/cache/{name}", Group: "Actions", Title: "Cache", Help: "Clears a cache.", Access: Operator, Get: getName, Post: postName}),
	)
	if err != nil {
		t.Fatal(err)
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "answer", Help: "The answer."}, func() float64 { return 42 }))
	f.pages, f.Server = p, httptest.NewServer(p.Handler())
	t.Cleanup(f.Close)
	return f
}

// secure moves the pages to TLS and HTTP/2.
func (f *fixture) secure() {
	f.Server = httptest.NewUnstartedServer(f.pages.Handler())
	f.EnableHTTP2 = true
	f.StartTLS()
	f.t.Cleanup(f.Close)
}

func getName(r *Request) (View, error) {
	return View{Data: map[string]string{"name": r.PathValue("name")}, Body: []Block{Text(r.PathValue("name"))}}, nil
}

func postName(r *Request) (View, error) {
	r.Changed(r.PathValue("name"), "3 entries", "empty")
	return View{Plain: "cleared"}, nil
}

func (f *fixture) health(context.Context) Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := Health{State: f.state, TakenOut: f.registry.TakenOut, Checks: []Check{{Name: "database"}}}
	if f.state == "NOT_READY" {
		h.Checks = append(h.Checks, Check{Name: "cache", Err: errors.New("password hunter2 refused")})
	}
	return h
}

// overview is one of a server that has had calls for 5 min.
func (f *fixture) overview() OverviewData {
	now := time.Now().UTC()
	minute := TrafficData{Window: Seconds(time.Minute), Calls: 600, Rate: 10, Errors: 6, P50: Seconds(time.Millisecond), P99: Seconds(20 * time.Millisecond), Average: Seconds(2 * time.Millisecond)}
	five := minute
	five.Window, five.Calls, five.Faults = Seconds(5*time.Minute), 3000, 2
	d := OverviewData{
		Now: now, InFlight: 3, Connections: 2, Traffic: []TrafficData{minute, five, five},
		Process:      ProcessData{Goroutines: 40, HeapBytes: 5 << 20, SystemBytes: 12 << 20, GCCycles: 7, GCPause: Seconds(time.Millisecond), MaxProcs: 2},
		History:      []HistoryData{{Step: Seconds(5 * time.Second), End: now}, {Step: Seconds(time.Minute), Points: []HistoryPoint{}}},
		RecentErrors: []RecentError{},
		Methods:      []MethodTraffic{{Method: "echo.v1.EchoService/Echo", TrafficData: five}, {Method: "other", TrafficData: minute}},
	}
	for i := range 60 {
		d.History[0].Points = append(d.History[0].Points, HistoryPoint{Calls: uint64(i % 7), Errors: uint64(i % 2), P99: minute.P99, Goroutines: 40 + i, HeapBytes: 5 << 20})
	}
	d.RecentErrors = append(d.RecentErrors, RecentError{Time: now, Count: 3, Fault: true, Method: "echo.v1.EchoService/Repeat", Code: "INTERNAL", Peer: "10.0.0.1:1", Error: "disk full"})
	return d
}

func (f *fixture) setState(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
}

func (f *fixture) shutdown(who string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shutdowns = append(f.shutdowns, who)
}

func (f *fixture) stopped() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.shutdowns...)
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

// ask sends a request. Headers are given as name, value, …; "Host" sets the
// host.
func (f *fixture) ask(method, path string, headers ...string) answer {
	f.t.Helper()
	r, err := http.NewRequest(method, f.URL+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	return f.send(r)
}

func (f *fixture) send(r *http.Request) answer {
	f.t.Helper()
	resp, err := f.Client().Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

// asOperator sends a request as alice.
func (f *fixture) asOperator(method, path string, headers ...string) answer {
	f.t.Helper()
	return f.ask(method, path, append([]string{operatorHeader, "alice"}, headers...)...)
}

func (a answer) want(t *testing.T, code int, parts ...string) {
	t.Helper()
	if a.StatusCode != code {
		t.Errorf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, code, a.body)
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			t.Errorf("%s %s: %q is missing in:\n%s", a.Request.Method, a.Request.URL.Path, part, a.body)
		}
	}
}

// lines is a log that may be written to concurrently.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// audits are the audit lines so far.
func (l *lines) audits(t testing.TB) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []map[string]any
	for line := range strings.Lines(l.b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] == "audit" {
			all = append(all, m)
		}
	}
	return all
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
