package routing

import (
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

func TestTarget(t *testing.T) {
	s := startServer(t, "a")
	_, port, _ := net.SplitHostPort(s.addr)
	for _, target := range []string{s.addr, "dns:///127.0.0.1:" + port, "passthrough:///" + s.addr} {
		c := dial(t, Config{Target: target})
		want(t, c, "a")
		if c.Instances() != nil {
			t.Error("a target has no instances")
		}
	}
	s.stop()
	c := dial(t, Config{Target: s.addr, MaxWait: 200 * time.Millisecond})
	_, err := who(t.Context(), c)
	wantStatus(t, err, codes.Unavailable, service, "target "+s.addr, "last error", "waited 200ms")

	start := time.Now()
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		time.Sleep(100 * time.Millisecond)
		startServerAt(t, "again", s.addr, 0)
	}()
	c = dial(t, Config{Target: s.addr})
	want(t, c, "again")
	<-restarted
	t.Logf("back after %v", time.Since(start))
}

// A resolver that fails from the start does not make calls wait for ever.
func TestFailingTarget(t *testing.T) {
	c := dial(t, Config{Target: failingScheme + ":///echo", MaxWait: 200 * time.Millisecond})
	for range 2 {
		_, err := who(t.Context(), c)
		wantStatus(t, err, codes.Unavailable, service, "the name is unknown", "waited 200ms")
	}
}

func TestSteady(t *testing.T) {
	for target, want := range map[string]string{
		"h:1":             "dns:///h:1",
		"dns:///h:1":      "dns:///h:1",
		"passthrough:h:1": "passthrough:h:1",
		"unix:/tmp/x":     "unix:/tmp/x",
		"other://a/b":     "other://a/b",
		"127.0.0.1:1":     "dns:///127.0.0.1:1",
		"localhost:4100":  "dns:///localhost:4100",
		"[::1]:1":         "dns:///[::1]:1",
	} {
		if got, _ := steady(target, &marker{}); got != want {
			t.Errorf("%s became %s, want %s", target, got, want)
		}
	}
}
