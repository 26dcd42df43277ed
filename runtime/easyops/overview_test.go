package easyops_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
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
