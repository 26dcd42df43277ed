package edge

import (
	"syscall"
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

// TestHandOver replaces the edge under load by another, which takes over its
// listeners. Nobody may notice.
func TestHandOver(t *testing.T) {
	t.Run("plaintext", func(t *testing.T) { handOver(t, nil) })
	t.Run("TLS", func(t *testing.T) {
		certs := serve.NewCerts(t)
		handOver(t, &certs)
	})
}

func handOver(t *testing.T, certs *serve.Certs) {
	_, e, l := startAll(t, 1, certs)
	for range restarts {
		next := e.Successor(t)
		if code := e.Wait(t); code != 0 {
			t.Fatalf("exit code %d of the former edge\n%s\nthe next:\n%s", code, tail(e.Log()), tail(next.Log()))
		}
		l.await(t, 20)
		e = next
	}
	l.wantNoFailure(t)
	if l.told == 0 {
		t.Error("no stream was ended by an edge: the test replaced nothing that mattered")
	}
	if t.Failed() {
		t.Logf("the last edge: %s", tail(e.Log()))
	}
}

// TestControlStopFirst stops the edge before the next one starts, in the same
// load. If that fails nothing, the test above is blind.
func TestControlStopFirst(t *testing.T) {
	_, e, l := startAll(t, 1, nil)
	for range 2 {
		e.Signal(t, syscall.SIGTERM)
		if code := e.Wait(t); code != 0 {
			t.Errorf("exit code %d\n%s", code, tail(e.Log()))
		}
		e = e.Again(t)
		l.await(t, 10)
	}
	for name, n := range l.report(t) {
		if n == 0 && name != "Collect" && name != "Echo" { // clients of gRPC connect again
			t.Errorf("%s: nothing failed: the load does not notice an edge that is gone", name)
		}
	}
}
