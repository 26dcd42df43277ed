package easyops_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	_ "github.com/go-easyops/easyops/example/gen/greeter/v1" // linked in, and not dialled
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/status"
)

// asJSON reads a page.
func asJSON[T any](t *testing.T, s *easyopstest.Server, path string) (data T) {
	t.Helper()
	code, body := get(t, local(s.Server)+path, func(r *http.Request) { r.Header.Set("Accept", "application/json") })
	if code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, code, body)
	}
	if err := json.Unmarshal([]byte(body), &data); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return data
}

// clientsFrom returns the clients that find their service in a way.
func clientsFrom(t *testing.T, s *easyopstest.Server, source string) []status.Outbound {
	t.Helper()
	all := asJSON[status.ConnectionsData](t, s, "/internal/service-info/grpc-connections").Outbound
	return slices.DeleteFunc(all, func(o status.Outbound) bool { return !strings.Contains(o.Source, source) })
}

// sourceOf is how the help page of a server names its registry.
func sourceOf(t *testing.T, s *easyopstest.Server) string {
	t.Helper()
	return asJSON[status.HelpData](t, s, "/internal/help").Registry.Registry
}

// eventually waits for what is true soon.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not so: " + what)
		}
	}
}

// The page shows the clients of the process while they are open, and what their
// calls have done.
func TestConnectionsPage(t *testing.T) {
	s := startEcho(t)
	source := sourceOf(t, s)
	if got := clientsFrom(t, s, source); len(got) != 0 {
		t.Fatalf("before the first client: %+v", got)
	}
	client, conn, err := echov1.DialEchoService(s.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := clientsFrom(t, s, source); len(got) != 1 || got[0].State != "IDLE" || len(got[0].Instances) != 0 {
		t.Errorf("before the first call: %+v", got)
	}
	for range 3 {
		say(t, client, "hi")
	}
	// The balancer has a state a moment before gRPC tells it, and a call is
	// counted a moment after it has ended.
	var got []status.Outbound
	eventually(t, "the calls are counted", func() bool {
		got = clientsFrom(t, s, source)
		return len(got) == 1 && got[0].State == "READY" && len(got[0].Instances) == 1 && got[0].Instances[0].Calls == 3
	})
	o := got[0]
	if o.Service != "echo.v1.EchoService" || o.State != "READY" || o.Listed != 1 || o.Error != "" || o.ByTarget || time.Since(o.LastAnswer) > time.Minute {
		t.Errorf("client: %+v", o)
	}
	i := o.Instances[0]
	if i.Addr != s.Addr().String() || i.Health != "READY" || i.State != "READY" || i.Class != "plain" || i.Calls != 3 || i.Failures != 0 || i.InFlight != 0 || i.Latency <= 0 {
		t.Errorf("instance: %+v", i)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if got := clientsFrom(t, s, source); len(got) != 0 {
		t.Errorf("after the last client: %+v", got)
	}
}

// A client of a target has no registry to tell of.
func TestConnectionsOfATarget(t *testing.T) {
	s := startEcho(t)
	target := "passthrough:///" + s.Addr().String()
	client := dialEcho(t, apart(), easyops.DialTarget(target))
	say(t, client, "hi")
	var got []status.Outbound
	eventually(t, "the client is ready", func() bool {
		got = clientsFrom(t, s, target)
		return len(got) == 1 && got[0].State == "READY"
	})
	if !got[0].ByTarget || !got[0].LastAnswer.IsZero() {
		t.Errorf("%+v", got)
	}
	_, text := get(t, local(s.Server)+"/internal/service-info/grpc-connections")
	mustContain(t, text, "target "+target)
}

// A service that is dialled is a dependency, also of the server that serves it;
// one that is linked in is, where another serves it.
func TestDependenciesPage(t *testing.T) {
	s := startEcho(t)
	const path = "/internal/service-info/dependencies"
	find := func(service string) *status.Dependency {
		for _, d := range asJSON[status.DependenciesData](t, s, path).Dependencies {
			if d.Service == service {
				return &d
			}
		}
		return nil
	}
	if d := find("echo.v1.EchoService"); d != nil {
		t.Errorf("the service itself: %+v", d)
	}
	if d := find("greeter.v1.GreeterService"); d == nil || !d.Linked || d.Clients != 0 || d.State != "" {
		t.Errorf("linked in: %+v", d)
	}
	if d := find("grpc.reflection.v1.ServerReflection"); d != nil {
		t.Errorf("reflection: %+v", d)
	}
	say(t, dialEcho(t, s.Client()), "hi")
	eventually(t, "the service is dialled", func() bool {
		d := find("echo.v1.EchoService")
		return d != nil && d.Linked && d.Clients == 1 && d.State == "READY"
	})
}

// Who found a server by the registry does not find it any more once it is taken
// out; who is connected goes on.
func TestUnregisteredServerIsNotFound(t *testing.T) {
	s := startEcho(t)
	post := func(path string) {
		t.Helper()
		code, body := get(t, local(s.Server)+path, func(r *http.Request) { r.Method = http.MethodPost })
		if code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, code, body)
		}
	}
	old := dialEcho(t, s.Client())
	say(t, old, "before")
	post("/internal/unregister")
	eventually(t, "the clients of the process know", func() bool { return clientsFrom(t, s, sourceOf(t, s))[0].Listed == 0 })
	say(t, old, "meanwhile")
	fresh := dialEcho(t, s.Client(), easyops.WithLogLevel(1)) // shares nothing with the other
	_, err := fresh.Echo(within(t, 300*time.Millisecond), &echov1.EchoRequest{})
	if err == nil {
		t.Error("a server that is taken out of the registry is found there")
	}
	post("/internal/unregister?undo")
	say(t, fresh, "after")
}
