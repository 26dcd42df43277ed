package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// someCallers are as many callers as a server keeps, with all that a row can have.
func someCallers(n int) []Caller {
	var all []Caller
	for i := range n {
		all = append(all, Caller{
			Method: fmt.Sprintf("shop.orders.v1.OrderService/ListOrdersOfCustomer%d", i%20), Kind: []string{"service", "user"}[i%2],
			Caller: fmt.Sprintf("spiffe://example.org/ns/production/sa/caller-%04d", i), Calls: uint64(i * i), Failed: uint64(3 * i),
			Errors: map[string]uint64{"NOT_FOUND": uint64(i), "DEADLINE_EXCEEDED": uint64(2 * i)},
			Last:   time.Now().Add(-time.Duration(i) * time.Second), P50: Seconds(i * 1e6), P99: Seconds(i * 1e7),
		})
	}
	return all
}

// someInbound are connections of that kind.
func someInbound(n int) []Inbound {
	var all []Inbound
	for i := range n {
		all = append(all, Inbound{
			Peer: fmt.Sprintf("10.0.%d.%d:%d", i/250, i%250, 30000+i), Protocol: []string{"gRPC", "HTTP/1", "HTTP/2", "new"}[i%4],
			User: fmt.Sprintf("user-%d@example.org", i), Service: fmt.Sprintf("spiffe://example.org/ns/production/sa/caller-%04d", i),
			TLS: "TLS 1.3", Since: time.Now().Add(-time.Duration(i) * time.Second), InFlight: int64(i % 7), Calls: uint64(i * 31),
			Received: uint64(i) << 12, Sent: uint64(i) << 16,
		})
	}
	return all
}

// Pages of as many rows as there can be are small and quick, in every form, order
// and filter. The time is bounded widely: what else the machine does is in it.
func TestLongLists(t *testing.T) {
	p, err := New(Config{Name: "test", Operator: testOperator})
	if err != nil {
		t.Fatal(err)
	}
	callers := CallersData{Callers: append(someCallers(1024), Caller{Method: "a.B/C", Kind: "other", Calls: 7}), Unlisted: 7}
	inbound := ConnectionsData{Inbound: someInbound(10_000), InboundOpen: 12_000}
	if err := p.HandleCallers(func() CallersData { return callers }); err != nil {
		t.Fatal(err)
	}
	if err := p.HandleConnections(func() ConnectionsData { return inbound }); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{callersPath, connectionsPath} {
		for _, form := range []string{"html", "json", "text"} {
			queries := []string{"", "&filter=caller-0", "&sort=calls", "&limit=2000", "&offset=900"}
			if form != "text" { // which is as long as it is asked for
				queries = append(queries, "&limit=10000")
			}
			for _, query := range queries {
				r := httptest.NewRequest(http.MethodGet, path+"?format="+form+query, nil)
				r.Header.Set(operatorHeader, "alice")
				r.Host = "localhost"
				w := httptest.NewRecorder()
				begun := time.Now()
				p.Handler().ServeHTTP(w, r)
				took := time.Since(begun)
				t.Logf("%s %s %s: %d KiB in %v", path, form, query, w.Body.Len()>>10, took.Round(time.Millisecond/10))
				if w.Code != http.StatusOK || w.Body.Len() > 1e6 || took > 5*time.Second {
					t.Errorf("%s: %d, %d bytes in %v: %.300s", r.URL, w.Code, w.Body.Len(), took, w.Body)
				}
			}
		}
	}
}

func TestCallersPage(t *testing.T) {
	now := time.Now()
	data := CallersData{Unlisted: 12, Callers: []Caller{
		{Method: "a.B/Get", Kind: "service", Caller: "shop", Calls: 12345, Failed: 12, Errors: map[string]uint64{"NOT_FOUND": 2, "INTERNAL": 10}, Last: now.Add(-90 * time.Second), P50: Seconds(1500 * time.Microsecond), P99: Seconds(2 * time.Second)},
		{Method: "a.B/Get", Kind: "user", Caller: "<script>", Calls: 3, Last: now},
		{Method: "a.B/Get", Kind: "nobody", Calls: 20000, Last: now},
		{Method: "a.B/Get", Kind: "other", Calls: 12, Last: now},
	}}
	f := newFixture(t)
	if err := f.pages.HandleCallers(func() CallersData { return data }); err != nil {
		t.Fatal(err)
	}
	text := f.asOperator("GET", callersPath)
	text.want(t, 200, "12 calls of callers without a row", "service shop", "12,345", "12: INTERNAL 10, NOT_FOUND 2", "1 min 30 s ago", "1.5 ms", "2 s", "all others", "nobody")
	if strings.Index(text.body, "nobody") > strings.Index(text.body, "service shop") {
		t.Error("who has called most is not first")
	}
	html := f.asOperator("GET", callersPath+"?sort=caller", "Accept", "text/html")
	html.want(t, 200, "user &lt;script&gt;")
	if strings.Contains(html.body, "<script>") {
		t.Error("an ID is markup")
	}
	f.asOperator("GET", callersPath+"?filter=service+shop").want(t, 200, "12,345", "of 4")
	f.asOperator("GET", callersPath+"?sort=age").want(t, 400, "use one of method, caller, calls, errors, last, p50, p99")
	f.ask("GET", callersPath).want(t, 403)

	var d CallersData
	if err := json.Unmarshal([]byte(f.asOperator("GET", callersPath+"?filter=shop", "Accept", "application/json").body), &d); err != nil {
		t.Fatal(err)
	}
	if d.Total != 4 || d.Matched != 1 || d.Unlisted != 12 || len(d.Callers) != 1 || d.Callers[0].Errors["INTERNAL"] != 10 || d.Callers[0].P99 != Seconds(2*time.Second) {
		t.Errorf("%+v", d)
	}
	data = CallersData{}
	f.asOperator("GET", callersPath).want(t, 200, "Nobody has called this server yet.")
	f.asOperator("GET", callersPath, "Accept", "application/json").want(t, 200, `"callers": []`, `"total": 0`)
}

func TestInboundPage(t *testing.T) {
	now := time.Now()
	data := ConnectionsData{InboundOpen: 11_000, Inbound: []Inbound{
		{Peer: "10.0.0.7:4100", Protocol: "gRPC", User: "alice", Service: "shop", TLS: "TLS 1.3", Since: now.Add(-2 * time.Hour), InFlight: 3, Calls: 1234, Received: 5 << 20, Sent: 700},
		{Peer: "10.0.0.8:4100", Protocol: "new", Since: now.Add(-3 * time.Hour)},
	}}
	f := newFixture(t)
	p, err := New(Config{Name: "test", Operator: testOperator})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.HandleConnections(func() ConnectionsData { return data }); err != nil {
		t.Fatal(err)
	}
	f.Config.Handler = p.Handler()
	text := f.asOperator("GET", connectionsPath)
	text.want(t, 200, "== Inbound ==", "11,000 connections are open", "user alice by service shop", "TLS 1.3", "2 h", "1,234", "5 MiB", "700 B", "== Outbound ==", "no open client")
	if strings.Index(text.body, "10.0.0.8") > strings.Index(text.body, "10.0.0.7") {
		t.Error("the oldest is not first")
	}
	f.asOperator("GET", connectionsPath+"?sort=-calls&limit=1", "Accept", "text/html").want(t, 200, `id="inbound"`, "10.0.0.7:4100", "#inbound")
	f.asOperator("GET", connectionsPath+"?sort=state").want(t, 400, "peer, identity, protocol, tls, age, in-flight, calls, received, sent")
	var d ConnectionsData
	if err := json.Unmarshal([]byte(f.asOperator("GET", connectionsPath+"?filter=alice", "Accept", "application/json").body), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Inbound) != 1 || d.Inbound[0].Received != 5<<20 || d.Inbound[0].InFlight != 3 || d.InboundListed.Total != 2 || d.InboundListed.Matched != 1 || d.InboundOpen != 11_000 || d.Outbound == nil {
		t.Errorf("%+v", d)
	}
}

func TestTCPServices(t *testing.T) {
	var data ConnectionsData
	f := newFixture(t)
	p, err := New(Config{Name: "test", Operator: testOperator})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.HandleConnections(func() ConnectionsData { return data }); err != nil {
		t.Fatal(err)
	}
	f.Config.Handler = p.Handler()
	if text := f.asOperator("GET", connectionsPath); strings.Contains(text.body, "TCP") {
		t.Errorf("a server without TCP services has\n%s", text.body)
	}
	if text := f.asOperator("GET", connectionsPath, "Accept", "application/json"); strings.Contains(text.body, "tcp_services") {
		t.Errorf("a server without TCP services has\n%s", text.body)
	}
	data.TCP = []TCPService{{Service: "lines", Addr: "127.0.0.1:4200", TLS: true, Open: 3, Accepted: 1234, Refused: 7, Received: 5 << 20, Sent: 700}}
	f.asOperator("GET", connectionsPath).want(t, 200, "== TCP services ==", "lines", "127.0.0.1:4200", "yes", "1,234", "7", "5 MiB", "700 B")
	f.asOperator("GET", connectionsPath, "Accept", "text/html").want(t, 200, `id="tcp"`)
	f.asOperator("GET", connectionsPath, "Accept", "application/json").want(t, 200, `"tcp_services": [`, `"accepted": 1234`, `"sent_bytes": 700`)
}
