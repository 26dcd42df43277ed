// Package edge tests the edge as a process, in front of servers that are processes
// too: services that are restarted behind it, the edge that is replaced by another,
// and what all kinds of clients see through it.
package edge

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	_ "github.com/go-easyops/easyops/runtime/registry/local" // local: URLs
	"github.com/go-easyops/easyops/test/edge/run"
	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) { serve.Main(m) }

// patience is how long anything may take that should take milliseconds.
const patience = 30 * time.Second

// names are the names that the kinds of a backend are registered by.
var names = map[string]string{"grpc": "echo.v1.EchoService", "http": "page", "tcp": "lines"}

// routesTo are routes to one service of each kind. The one for TCP listens on an
// address of its own.
func routesTo(lines string) string {
	return fmt.Sprintf(`
http: [{path: /, service: page}]
grpc: [{service: echo.v1.EchoService}]
tcp: [{listen: %q, service: lines}]
`, lines)
}

// fleet is backends of each kind, the oldest first, in a registry of the test's
// own.
type fleet struct {
	url   string
	reg   registry.Registry
	flags []string
	kinds map[string][]*serve.Server
}

// newFleet starts n backends of each kind.
func newFleet(t *testing.T, n int, flags ...string) *fleet {
	t.Helper()
	f := &fleet{url: "local:" + filepath.Join(t.TempDir(), "registry"), kinds: map[string][]*serve.Server{}}
	f.flags = append(flags, "-easyops.registry="+f.url)
	reg, err := registry.Open(f.url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	f.reg = reg
	for kind := range names {
		for range n {
			f.add(t, kind)
		}
	}
	return f
}

// add starts another backend and waits until it is registered.
func (f *fleet) add(t *testing.T, kind string) {
	t.Helper()
	started := len(f.instances(t, names[kind], 0))
	f.kinds[kind] = append(f.kinds[kind], serve.StartProgram(t, run.Backend, append(f.flags, "-serve="+kind)...))
	f.instances(t, names[kind], started+1)
}

// instances waits until that many instances of a service are ready, and returns
// their addresses.
func (f *fleet) instances(t *testing.T, service string, n int) (addrs []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f.reg.Watch(ctx, service, func(list []registry.Instance, err error) {
		addrs = nil
		for _, i := range list {
			if i.Health == registry.Ready {
				addrs = append(addrs, i.Addr)
			}
		}
		if err == nil && len(addrs) >= n {
			cancel()
		}
	})
	if len(addrs) < n {
		t.Fatalf("%d instances of %s are ready, want %d", len(addrs), service, n)
	}
	return slices.Clone(addrs)
}

// restart starts one more backend of each kind and stops the oldest.
func (f *fleet) restart(t *testing.T, stop func(*serve.Server)) (codes []int) {
	t.Helper()
	for kind := range names {
		f.add(t, kind)
	}
	var old []*serve.Server
	for kind, list := range f.kinds {
		stop(list[0])
		old, f.kinds[kind] = append(old, list[0]), list[1:]
	}
	for _, s := range old {
		codes = append(codes, s.Wait(t))
	}
	return codes
}
