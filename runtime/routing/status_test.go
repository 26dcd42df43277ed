package routing

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestStatus(t *testing.T) {
	a, b := startServer(t, "a"), startServer(t, "b")
	gone := startServer(t, "gone")
	gone.stop()
	m := newMemory(a.instance(registry.Ready), with(b.instance(registry.Ready), "v", "x"),
		owned(gone.instance(registry.Ready), "alice"), a.instance(registry.NotReady))
	c := dial(t, Config{Registry: m, Personal: true, User: userOf}, grpc.WithIdleTimeout(200*time.Millisecond))
	if s := c.Status(); s.State != "IDLE" || s.Listed != 0 || len(s.Instances) != 0 || s.Service != service || s.Source != m.String() {
		t.Errorf("before the first call: %+v", s)
	}
	start := time.Now()
	always(t.Context(), t, c, "a")
	always(WithTags(t.Context(), tags("v", "x")), t, c, "b")
	always(as(t.Context(), "alice"), t, c, "a")
	m.say(errors.New("down"))
	for c.Status().RegistryError == "" {
		time.Sleep(time.Millisecond)
	}
	s := c.Status()
	if s.State != "READY" || s.Listed != 4 || s.ListedAt.Before(start) || !strings.Contains(s.RegistryError, "down") {
		t.Errorf("status %+v", s)
	}
	if len(s.Instances) != 3 {
		t.Fatalf("instances %+v", s.Instances)
	}
	for n, want := range []InstanceStatus{
		{Class: "owner alice", State: "TRANSIENT_FAILURE"}, {Class: "plain", State: "READY", Calls: 60}, {Class: "tags v=x", State: "READY", Calls: 30},
	} {
		i := s.Instances[n]
		if i.Class != want.Class || i.State != want.State || i.Calls != want.Calls || i.Failures != 0 || i.InFlight != 0 {
			t.Errorf("instance %d is %+v, want %+v", n, i, want)
		}
		if dead := i.State != "READY"; dead != strings.Contains(i.LastError, "refused") || dead == (i.Latency > 0) || i.Since.Before(start) {
			t.Errorf("instance %d is %+v", n, i)
		}
	}
	if text, err := json.Marshal(s); err != nil || !strings.Contains(string(text), `"in_flight":0`) || strings.Contains(string(text), "ejected_until") {
		t.Errorf("in JSON %s (%v)", text, err)
	}
	for c.State() != connectivity.Idle {
		time.Sleep(time.Millisecond)
	}
	idle := func(i InstanceStatus) bool { return i.State == "IDLE" }
	for end := time.Now().Add(10 * time.Second); !idle(c.Status().Instances[1]) || !idle(c.Status().Instances[2]); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("idle, it is %+v", c.Status())
		}
	}
	if i := c.Status().Instances[1]; i.Calls != 60 {
		t.Errorf("idle, it forgot its calls: %+v", i)
	}
}

func TestStatusOfTarget(t *testing.T) {
	s := startServer(t, "a")
	c := dial(t, Config{Target: "dns:///" + s.addr})
	want(t, c, "a")
	got := c.Status()
	if len(got.Instances) != 1 || got.Instances[0].Addr != s.addr || got.Instances[0].Class != "plain" || got.Source != "target dns:///"+s.addr {
		t.Errorf("status %+v", got)
	}
	stranger := dial(t, Config{Target: failingScheme + ":///echo", MaxWait: time.Millisecond})
	_, _ = who(t.Context(), stranger)
	if got := stranger.Status(); len(got.Instances) != 0 {
		t.Errorf("status %+v", got)
	}
}
