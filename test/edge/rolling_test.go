package edge

import (
	"crypto/tls"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/go-easyops/easyops/test/edge/run"
	"github.com/go-easyops/easyops/test/serve"
)

// streams is how many are always open.
const streams = 5

// draining is how backends drain: they serve on for a moment after they have said
// so.
var draining = []string{"-easyops.drain-delay=500ms", "-easyops.stream-grace=2s"}

// startAll runs backends, an edge in front of them and a load through it, over TLS
// where there are certificates. The backends are open to everyone: without
// authenticators a server is for its own machine, and takes nothing from a proxy.
func startAll(t *testing.T, n int, certs *serve.Certs, flags ...string) (*fleet, *run.Edge, *load) {
	t.Helper()
	return startAllAt(t, serve.FreeAddr(t), n, certs, flags...)
}

// startAllAt is startAll with an address for the TCP service.
func startAllAt(t *testing.T, lines string, n int, certs *serve.Certs, flags ...string) (*fleet, *run.Edge, *load) {
	t.Helper()
	f := newFleet(t, n, append(flags, "-open")...)
	routes, secure := routesTo(lines), (*tls.Config)(nil)
	if certs != nil {
		routes += fmt.Sprintf("tls: [{cert: %q, key: %q}]\n", certs.Cert, certs.Key)
		secure = &tls.Config{RootCAs: certs.Pool, MinVersion: tls.VersionTLS12}
	}
	e := run.Start(t, routes, "-easyops.registry="+f.url, "-easyops.stream-grace=1s")
	client := dialEcho(t, e.Addr, secure)
	l := startLoad(t, streams, client, slices.Concat(httpKinds(t, e.Addr, secure), grpcKinds(client), tcpKinds(lines))...)
	l.await(t, 10)
	return f, e, l
}

// TestRollingRestart restarts three instances of each kind in turn, the
// replacement first, as a deployment does. Nobody at the edge may notice.
func TestRollingRestart(t *testing.T) {
	f, e, l := startAll(t, 3, nil, draining...)
	for range restarts {
		for _, code := range f.restart(t, func(s *serve.Server) { s.Signal(t, syscall.SIGTERM) }) {
			if code != 0 {
				t.Errorf("exit code %d of a backend after SIGTERM", code)
			}
		}
		l.await(t, 20)
	}
	l.wantNoFailure(t)
	if l.told == 0 {
		t.Error("no stream was ended by a server: the test restarted nothing that mattered")
	}
	if t.Failed() {
		t.Logf("the edge: %s", tail(e.Log()))
	}
}

// TestControlKill kills the backends under the same load. If that fails nothing,
// the test above is blind. Of what is over in a millisecond it may take several
// kills before one meets it.
func TestControlKill(t *testing.T) {
	f, _, l := startAll(t, 3, nil)
	unhurt := []string{"POST", "Collect", "connection"}
	for kills := 0; len(unhurt) > 0 && kills < 12; kills++ {
		f.restart(t, func(s *serve.Server) { s.Signal(t, syscall.SIGKILL) })
		l.await(t, 10)
		unhurt = slices.DeleteFunc(unhurt, l.hasFailed)
	}
	l.report(t)
	for _, group := range unhurt {
		t.Errorf("%s: nothing failed: the load does not notice servers that die", group)
	}
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-8000):] }
