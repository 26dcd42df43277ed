package easyops_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/status"
)

func TestOverview(t *testing.T) {
	s := startEcho(t, easyops.WithCheck("database", func(context.Context) error { return errors.New("no route to host") }))
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil { // the registry names no server whose checks fail
		t.Fatal(err)
	}
	defer conn.Close()
	client := echov1.NewEchoServiceClient(conn)
	for range 3 {
		if _, err := client.Echo(t.Context(), &echov1.EchoRequest{Message: "secret-payload"}); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := client.Repeat(t.Context(), &echov1.RepeatRequest{Message: "secret-payload"}); err == nil {
		_, err = st.Recv()
		if err == nil {
			t.Fatal("Repeat is not implemented here, and answers")
		}
	}
	code, body := get(t, local(s.Server)+"/internal/?format=json")
	if code != http.StatusOK || strings.Contains(body, "secret-payload") {
		t.Fatalf("%d: %s", code, body)
	}
	var d status.OverviewData
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Traffic) != 3 || d.Traffic[0].Calls != 4 || d.Traffic[0].Errors != 1 || d.Traffic[0].Faults != 1 || d.Traffic[0].P99 == 0 {
		t.Errorf("traffic: %+v", d.Traffic)
	}
	if len(d.RecentErrors) != 1 || d.RecentErrors[0].Code != "UNIMPLEMENTED" || d.RecentErrors[0].Peer == "" {
		t.Errorf("errors: %+v", d.RecentErrors)
	}
	if len(d.Methods) != 2 || d.Methods[0].Method != "echo.v1.EchoService/Echo" || d.Methods[0].Calls != 3 {
		t.Errorf("methods: %+v", d.Methods)
	}
	if d.Instance == "" || d.Build.GoVersion == "" || d.Process.Goroutines == 0 || d.Process.SystemBytes == 0 || d.Connections == 0 || d.Registry == nil {
		t.Errorf("overview: %+v", d)
	}
	if len(d.Health.Checks) != 1 || !strings.Contains(d.Health.Checks[0].Error, "no route to host") && !strings.Contains(d.Health.Checks[0].Error, "not checked yet") {
		t.Errorf("health: %+v", d.Health)
	}
	_, api := get(t, local(s.Server)+"/internal/service-info/api")
	if !strings.Contains(api, "3 in ") {
		t.Errorf("the API page has no calls: %s", api)
	}
}

// TestOverviewOfRequests: handlers of HTTP are counted as methods are.
func TestOverviewOfRequests(t *testing.T) {
	s := startEcho(t, easyops.WithHTTP("GET /items/{id}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "9" {
			http.Error(w, "the disk is full", http.StatusInternalServerError)
		}
	})))
	for id := range 10 {
		get(t, fmt.Sprintf("%s/items/%d", local(s.Server), id))
	}
	d := asJSON[status.OverviewData](t, s, "/internal/")
	if len(d.Methods) != 1 || d.Methods[0].Method != "HTTP /items/{id}" || d.Methods[0].Calls != 10 || d.Methods[0].Faults != 1 || d.Methods[0].P50 == 0 {
		t.Errorf("methods: %+v", d.Methods)
	}
	if d.Traffic[0].Calls != 10 || d.Traffic[0].Errors != 1 || d.Judged[0].Faults != 1 {
		t.Errorf("traffic: %+v, judged: %+v", d.Traffic, d.Judged)
	}
}

// TestOwnProblems: what the program finds is shown; a panic in it hides nothing.
func TestOwnProblems(t *testing.T) {
	s := startEcho(t,
		easyops.WithProblems(func() []status.Problem { panic("no") }),
		easyops.WithProblems(func() []status.Problem {
			return []status.Problem{{Level: "bad", What: "stock", Why: "the shelf is empty", Link: "/internal/stock"}}
		}))
	got := asJSON[status.OverviewData](t, s, "/internal/").Problems
	if !slices.Contains(got, status.Problem{Level: "bad", What: "stock", Why: "the shelf is empty", Link: "/internal/stock"}) {
		t.Errorf("%+v", got)
	}
	if err := startFault(t, echoService(), easyops.WithProblems(nil)); err == nil || !strings.Contains(err.Error(), "WithProblems") {
		t.Errorf("nil: %v", err)
	}
}

// A service that this process cannot call is a problem here, too.
func TestOverviewOfAServiceThatIsDown(t *testing.T) {
	s := startEcho(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	conn, err := easyops.Dial("greeter.v1.GreeterService", easyops.DialTarget(dead), apart())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	of := func() []status.Problem {
		all := asJSON[status.OverviewData](t, s, "/internal/").Problems
		return slices.DeleteFunc(all, func(p status.Problem) bool { return p.What != "greeter.v1.GreeterService" })
	}
	if got := of(); len(got) != 0 {
		t.Errorf("before the first call: %+v", got)
	}
	if _, err := greeterv1.NewGreeterServiceClient(conn).Greet(t.Context(), &greeterv1.GreetRequest{}); err == nil {
		t.Fatal("nobody is there, and answers")
	}
	got := of()
	if len(got) != 1 || got[0].Level != "bad" || !strings.Contains(got[0].Why, "no instance can be called: ") || !strings.Contains(got[0].Why, "refused") ||
		!strings.HasSuffix(got[0].Link, "#greeter.v1.GreeterService") {
		t.Errorf("%+v", got)
	}
}
