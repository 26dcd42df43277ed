package status

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// connections are clients in every condition there is.
func (f *fixture) connections() ConnectionsData {
	now := time.Now()
	return ConnectionsData{Outbound: []Outbound{
		{
			Service: "shop.v1.OrderService", Source: "etcd://127.0.0.1:2379/easyops", State: "READY", Listed: 6, ListedAt: now, LastAnswer: now.Add(-3 * time.Second),
			Instances: []OutboundInstance{
				{ID: "8dksl2mfjw7cqzp4", Addr: "10.0.0.7:4100", Version: "v1.4.0", Class: "plain", Health: "READY", State: "READY", InFlight: 3, Calls: 120934, Failures: 12, Latency: Seconds(1834 * time.Microsecond), Since: now},
				{ID: "k2mfjw7cqzp48dks", Addr: "10.0.0.8:4100", Version: "v1.4.0", Class: "plain", Health: "READY", State: "READY", Ejections: 3, Calls: 812, Failures: 75, Latency: Seconds(2 * time.Second), EjectedUntil: now.Add(4 * time.Second), LastError: "DeadlineExceeded: context deadline exceeded"},
				{ID: "zp48dksk2mfjw7cq", Addr: "10.0.0.9:4100", Version: "v1.5.0-rc1", Class: "owner alice", Owner: "alice", Tags: map[string]string{"zone": "a"}, Health: "NOT_READY", State: "TRANSIENT_FAILURE", LastError: "connection error: desc = \"transport: Error while dialing: dial tcp 10.0.0.9:4100: connect: connection refused <script>\""},
				{ID: "aaa", Addr: "10.0.0.10:4100", Class: "plain", Health: "STOPPING", State: "IDLE"},
				{Addr: "10.0.0.11:4100", Class: "plain", Health: "READY", State: "READY", EjectedUntil: now.Add(-time.Second)},
			},
		},
		{Service: "shop.v1.OrderService", Source: "target dns:///orders.example.org:443", ByTarget: true, State: "IDLE"},
		{Service: "mail.v1.MailService", Source: "etcd://127.0.0.1:2379/easyops", State: "TRANSIENT_FAILURE", Error: "etcd cannot be asked: context deadline exceeded"},
	}}
}

func TestConnectionsPage(t *testing.T) {
	const path = "/internal/service-info/grpc-connections"
	f := newFixture(t)
	text := f.asOperator("GET", path)
	text.want(t, 200, "== Outbound ==", "shop.v1.OrderService [READY]", "6, connections to 5", "3 s ago", "120,934", "1.8 ms",
		"ejected for ", "on trial", "owner alice", "connection refused", "target dns:///orders.example.org:443", "never", "not known yet", "etcd cannot be asked", "There is no connection")
	if n := strings.Count(text.body, "Last answer"); n != 2 {
		t.Errorf("%d times of answers, want one for each client that asks a registry", n)
	}
	html := f.asOperator("GET", path, "Accept", "text/html")
	html.want(t, 200, `id="shop.v1.OrderService"`, `id="shop.v1.OrderService-2"`, `<span class="badge bad"><bdi>ejected for`)
	if strings.Contains(html.body, "<script>") {
		t.Error("an error is markup")
	}

	var d struct {
		Version  int
		Outbound []map[string]any
	}
	if err := json.Unmarshal([]byte(f.asOperator("GET", path, "Accept", "application/json").body), &d); err != nil {
		t.Fatal(err)
	}
	if d.Version != 1 || len(d.Outbound) != 3 {
		t.Fatalf("%+v", d)
	}
	instances := d.Outbound[0]["instances"].([]any)
	first, second := instances[0].(map[string]any), instances[1].(map[string]any)
	if first["latency_seconds"] != 0.001834 || first["in_flight"] != 3.0 || first["ejected_until"] != nil || first["last_error"] != nil {
		t.Errorf("first: %v", first)
	}
	if until, _ := second["ejected_until"].(string); !strings.HasSuffix(until, "Z") {
		t.Errorf("times are not in UTC: %v", second)
	}
	if l, ok := d.Outbound[1]["instances"].([]any); !ok || len(l) != 0 || d.Outbound[1]["by_target"] != true || d.Outbound[1]["last_answer"] != nil {
		t.Errorf("by target: %v", d.Outbound[1])
	}
}

// A client without an instance says why, and nothing that is not so.
func TestClientWithoutInstances(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name string
		o    Outbound
		want string
	}{
		{"not called yet", Outbound{State: "IDLE"}, "a client connects with its first call"},
		{"listed, and not called", Outbound{State: "IDLE", Listed: 2, ListedAt: now}, "a client connects with its first call"},
		{"waiting for the registry", Outbound{State: "CONNECTING"}, "not known yet"},
		{"none", Outbound{State: "TRANSIENT_FAILURE", ListedAt: now}, "None is listed."},
		{"others'", Outbound{State: "TRANSIENT_FAILURE", Listed: 2, ListedAt: now}, "No listed instance is for the calls so far"},
		{"a target", Outbound{State: "READY", ByTarget: true}, "No instance is known"},
	} {
		if got := test.o.empty(); !strings.Contains(got, test.want) || strings.Contains(got, "first call") != (test.o.State == "IDLE") {
			t.Errorf("%s: %s", test.name, got)
		}
	}
	o := Outbound{Service: "a.B", State: "TRANSIENT_FAILURE", Listed: 2, ListedAt: now, Error: "etcd cannot be asked"}
	var text bytes.Buffer
	writeText(&text, viewOf(t, ConnectionsData{Outbound: []Outbound{o}}))
	for _, want := range []string{"2, connections to 0", "etcd cannot be asked", "No listed instance"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in %s", want, &text)
		}
	}
}

// viewOf is what the page shows to a request without a query.
func viewOf(t *testing.T, d ConnectionsData) View {
	t.Helper()
	v, err := d.view(&Request{Request: httptest.NewRequest(http.MethodGet, connectionsPath, nil)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A process without clients has an empty list, and not none.
func TestNoConnections(t *testing.T) {
	b, err := json.Marshal(viewOf(t, ConnectionsData{}).Data)
	if err != nil || !strings.HasPrefix(string(b), `{"outbound":[],"inbound":[],`) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestShortDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		2345678 * time.Microsecond: "2.3 s", 1834567: "1.8 ms", 1500: "1.5 µs", 999: "999 ns", 90 * time.Second: "1 min 30 s",
	} {
		if got := short(d); got != want {
			t.Errorf("%d ns: %s, want %s", d, got, want)
		}
	}
}

func TestSecondsThereAndBack(t *testing.T) {
	for _, want := range []Seconds{0, 1, 1834567, Seconds(90 * time.Second), Seconds(365 * 24 * time.Hour)} {
		var got Seconds
		b, err := json.Marshal(want)
		if err == nil {
			err = json.Unmarshal(b, &got)
		}
		if err != nil || got != want {
			t.Errorf("%d: %s, %d, %v", want, b, got, err)
		}
	}
	var s Seconds
	if err := json.Unmarshal([]byte(`"1s"`), &s); err == nil {
		t.Error("a string is a number of seconds")
	}
}

func (f *fixture) dependencies() []Dependency {
	return []Dependency{
		{Service: "mail.v1.MailService", Linked: true},
		{Service: "shop.v1.OrderService", Linked: true, Clients: 2, State: "READY"},
		{Service: "unlinked.Service", Clients: 1, State: "TRANSIENT_FAILURE"},
	}
}

func TestDependenciesPage(t *testing.T) {
	const path = "/internal/service-info/dependencies"
	f := newFixture(t)
	f.asOperator("GET", path).want(t, 200, "mail.v1.MailService   linked in, not dialled", "dialled, 2 times", "TRANSIENT_FAILURE")
	f.asOperator("GET", path, "Accept", "text/html").want(t, 200, `href="/internal/service-info/grpc-connections#shop.v1.OrderService"`)
	f.asOperator("GET", path, "Accept", "application/json").want(t, 200, `"clients": 2`, `"linked": false`)
	f.asOperator("GET", connectionsPath, "Accept", "text/html").want(t, 200, `<a href="`+path+`">Dependencies</a>`)
	b, err := json.Marshal(dependenciesView(nil).Data)
	if err != nil || string(b) != `{"dependencies":[]}` {
		t.Errorf("none: %s, %v", b, err)
	}
}

// TestHealthOfAnInstanceThatIsGone is not shown as good.
func TestHealthOfAnInstanceThatIsGone(t *testing.T) {
	for _, c := range []struct {
		health, state string
		gone          bool
		want          Cell
	}{
		{Ready, "READY", false, Cell{Text: Ready, Tone: Good}},
		{Ready, "TRANSIENT_FAILURE", false, Cell{Text: Ready, Tone: Neutral}},
		{"NOT_READY", "TRANSIENT_FAILURE", false, Cell{Text: "NOT_READY", Tone: Bad}},
		{Ready, "TRANSIENT_FAILURE", true, Cell{Text: "READY when last listed", Tone: Muted}},
		{Ready, "READY", true, Cell{Text: "READY when last listed", Tone: Muted}},
		{"", "READY", true, Str(none)},
	} {
		i := OutboundInstance{ID: "a", Health: c.health, State: c.state}
		if got := i.health(c.gone); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	o := Outbound{Listed: 0, ListedAt: time.Unix(1, 0), Instances: []OutboundInstance{{Health: Ready, State: "TRANSIENT_FAILURE"}}}
	if cell := o.table(time.Unix(2, 0)).Rows[0][3]; cell.Tone == Good {
		t.Errorf("none is listed: %+v", cell)
	}
}
