package edge

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/test/serve"
)

// TestReload changes the routes under load: a route comes and goes, and a file that
// is broken changes nothing. What is open stays.
func TestReload(t *testing.T) {
	lines, other := serve.FreeAddr(t), serve.FreeAddr(t)
	_, e, l := startAllAt(t, lines, 1, nil)
	usual := routesTo(lines)
	more := strings.Replace(usual, "tcp: [", "tcp: [{listen: \""+other+"\", service: lines}, ", 1)
	for range restarts {
		e.Write(t, more)
		e.Signal(t, syscall.SIGHUP)
		eventually(t, "the new route is served", func() bool { return exchange(other)(t.Context()) == nil })

		e.Write(t, "http: [{nonsense: 1}]\n")
		e.Signal(t, syscall.SIGHUP)
		eventually(t, "the log says what is wrong", func() bool { return strings.Contains(e.Log(), "nonsense") })
		if err := exchange(other)(t.Context()); err != nil {
			t.Errorf("with a broken file: %v", err)
		}

		e.Write(t, usual)
		e.Signal(t, syscall.SIGHUP)
		eventually(t, "the old route is gone", func() bool {
			conn, err := net.Dial("tcp", other)
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		})
		l.await(t, 10)
	}
	l.wantNoFailure(t)
	if t.Failed() {
		t.Logf("the edge: %s", tail(e.Log()))
	}
}

// eventually waits for something to be so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Fatalf("not in %v: %s", patience, what)
}
