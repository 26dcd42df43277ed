package status

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// manyServices are 20 services of 90 methods, with two messages of 30 fields each.
func manyServices() []Service {
	message := func(name, holds string) *Message {
		m := &Message{Name: name, Fields: []Field{}}
		for i := range 29 {
			m.Fields = append(m.Fields, Field{Name: fmt.Sprint("field_", i), Number: i + 1, Type: "repeated string"})
		}
		m.Fields = append(m.Fields, Field{Name: "held", Number: 30, Type: holds, Message: holds})
		return m
	}
	var all []Service
	for i := range 20 {
		s := Service{Name: fmt.Sprintf("many.v1.Service%02d", i), Messages: []Message{*message("many.v1.Held", "many.v1.Held"), *message("many.v1.Idle", "many.v1.Idle")}}
		for j := range 90 {
			s.Methods = append(s.Methods, Method{
				Name: fmt.Sprintf("Method%02d", j), Kind: Unary, Rule: Rule{Access: "everyone"}, Comment: "It does something.", Example: "{}",
				Request: message("many.v1.Request", "many.v1.Held"), Response: message("many.v1.Response", "many.v1.Held"),
			})
		}
		all = append(all, s)
	}
	return all
}

func trafficOf(services []Service) []MethodTraffic {
	var all []MethodTraffic
	for i, s := range services {
		for j, m := range s.Methods {
			all = append(all, MethodTraffic{Method: s.Name + "/" + m.Name, TrafficData: TrafficData{Window: Seconds(5 * time.Minute), Calls: 300, Rate: float64(i*100 + j), Errors: 1, P50: 1, P99: 2}})
		}
	}
	return all
}

// manyPages is a server with 1,800 methods.
func manyPages(t testing.TB) *fixture {
	t.Helper()
	f := newFixture(t)
	services := manyServices()
	p, err := New(Config{Operator: testOperator, Logger: f.pages.cfg.Logger})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.HandleAPI(func() []Service { return services }, func() []MethodTraffic { return trafficOf(services) }); err != nil {
		t.Fatal(err)
	}
	f.Config.Handler = p.Handler()
	return f
}

func TestAPIPageOfManyMethodsStaysSmall(t *testing.T) {
	f := manyPages(t)
	for _, accept := range []string{"text/html", "application/json", "text/plain"} {
		for _, query := range []string{"", "?sort=-rate", "?service=many.v1.Service07", "?service=many.v1.Service07&method=Method12", "?limit=2000", "?method=Method12"} {
			a := f.asOperator("GET", apiPath+query, "Accept", accept)
			a.want(t, 200, "many.v1.Service")
			if most := 1 << 20; len(a.body) > most {
				t.Errorf("%s as %s has %d bytes", query, accept, len(a.body))
			}
			if accept == "text/html" {
				checkHTML(t, query, a.body)
			}
		}
	}
}

func TestAPIPageOfManyMethodsLeadsToEach(t *testing.T) {
	f := manyPages(t)
	f.asOperator("GET", apiPath, "Accept", "text/html").want(t, 200, "1 to 500 of 1,800 methods.", "method=Method00&amp;service=many.v1.Service00")
	f.asOperator("GET", apiPath+"?sort=-rate&limit=1").want(t, 200, "many.v1.Service19/Method89", "1989")
	f.asOperator("GET", apiPath+"?service=many.v1.Service07&limit=1").want(t, 200, "1 to 1 of 90 methods.")
	one := f.asOperator("GET", describedAt("many.v1.Service07", "Method12"))
	one.want(t, 200, "== many.v1.Service07 ==", "-- Method12", "712/s: 300 in 5 min", "many.v1.Held", "All services", "grpcurl")
	if strings.Contains(one.body, "many.v1.Idle") || strings.Contains(one.body, "Method13") {
		t.Error("the method's page has what the method does not need")
	}
	var d APIData
	a := f.asOperator("GET", apiPath+"?filter=service07/method1&format=json")
	if err := json.Unmarshal([]byte(a.body), &d); err != nil || d.Listed == nil || d.Matched != 10 || len(d.Services) != 1 || len(d.Services[0].Methods) != 10 {
		t.Errorf("%v: %s", err, a.body)
	}
	for query, want := range map[string]string{
		"?service=nosuch":                              "nothing here is called nosuch",
		"?service=many.v1.Service07&method=Echo":       "nothing here is called many.v1.Service07/Echo",
		"?service=%3Cscript%3E%1b&method=%E2%80%AEabc": `<script>\u{1b}/\u{202e}abc`,
	} {
		f.asOperator("GET", apiPath+query).want(t, 404, want, apiPath)
	}
	f.asOperator("GET", apiPath+"?sort=x").want(t, 400, "method, access, rate, errors, p50, p99")
}

// A small server describes all at once, and one of its services alone.
func TestAPIPageOfOneService(t *testing.T) {
	f := newFixture(t)
	a := f.asOperator("GET", apiPath+"?service=echo.v1.EchoService&method=Echo")
	a.want(t, 200, "-- Echo", "10/s: 3,000 in 5 min", "p50 1 ms, p99 20 ms", "0.2 %: 6, of which 2 are the server's")
	if strings.Contains(a.body, "Repeat") || strings.Contains(a.body, "grpc.health") {
		t.Error("there is more than was asked for")
	}
}

func BenchmarkAPIPageOfManyMethods(b *testing.B) {
	f := manyPages(b)
	for _, query := range []string{"", "?service=many.v1.Service07", "?filter=method1", "?service=many.v1.Service07&method=Method12"} {
		b.Run(query, func(b *testing.B) {
			for b.Loop() {
				f.asOperator("GET", apiPath+query, "Accept", "text/html")
			}
		})
	}
}
