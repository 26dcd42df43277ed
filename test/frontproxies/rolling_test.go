//go:build real

package frontproxies

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

// rolls is how many servers are replaced, of three.
const rolls = 6

// TestRollingRestart replaces servers one after the other under load, the
// replacement first, with nothing between them and the proxy but the registry.
// Nobody may notice.
func TestRollingRestart(t *testing.T) {
	everywhere(t, func(t *testing.T, p proxy) {
		certs := serve.NewCerts(t, "page", "echo.v1.EchoService")
		t.Run("plaintext", func(t *testing.T) { testRollingRestart(t, p, nil, nil) })
		t.Run("tls", func(t *testing.T) { testRollingRestart(t, p, certs.Flags(), []string{"--ca", certs.CA}) })
	})
}

// testRollingRestart does it with flags of servers and of easyops export.
func testRollingRestart(t *testing.T, p proxy, servers, export []string) {
	url := newRegistry(t)
	running := startBackends(t, 3, url, servers...)
	f := startFront(t, p, url, export...)
	f.follow(t, export...)
	f.await(t)
	l := startLoad(t, f)
	for n := range rolls {
		running = append(running, startBackends(t, 1, url, servers...)...)
		if n%2 == 0 {
			l.await(t, 20) // the proxy has time to learn of it
		}
		running[0].Signal(t, syscall.SIGTERM)
		if code := running[0].Wait(t); code != 0 {
			t.Errorf("exit code %d after SIGTERM\n%s", code, running[0].Log())
		}
		running = running[1:]
		l.await(t, 20)
	}
	if failed := l.report(t); failed > 0 {
		t.Errorf("%d failed", failed)
	}
	if l.told == 0 {
		t.Error("no stream was ended by a server: the test restarted nothing that mattered")
	}
	if t.Failed() {
		t.Logf("export:\n%s", f.watch.log.String())
	}
}

// TestControlNotFollowed does the same with a configuration that nobody keeps up
// to date. If that fails nothing, the test above is blind.
func TestControlNotFollowed(t *testing.T) {
	everywhere(t, func(t *testing.T, p proxy) {
		url := newRegistry(t)
		running := startBackends(t, 2, url)
		f := startFront(t, p, url)
		f.await(t)
		l := startLoad(t, f)
		startBackends(t, 2, url)
		for _, s := range running {
			s.Signal(t, syscall.SIGTERM)
		}
		for _, s := range running {
			s.Wait(t)
		}
		eventually(t, "failures of all kinds", func() error {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, kind := range []string{gets, fresh, posts, multi, unary, dialled, bytes2} {
				if len(l.failed[kind]) == 0 {
					return fmt.Errorf("of %s none", kind)
				}
			}
			return nil
		})
		l.report(t)
	})
}
