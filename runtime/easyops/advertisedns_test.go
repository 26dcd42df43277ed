package easyops

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// askedRegistry is a registry that notes what is listed, and how long it had for it.
type askedRegistry struct {
	registry.Registry
	listed registry.Instance
	left   time.Duration
}

func (n *askedRegistry) Register(ctx context.Context, all []registry.Instance) (registry.Lease, error) {
	end, _ := ctx.Deadline()
	n.listed, n.left = all[0], time.Until(end)
	return nil, ctx.Err()
}

// names is what hosts stand for. Others are not known, which takes until nobody
// waits any more.
type names map[string]string

func (n names) route(ctx context.Context, _, host string) (netip.Addr, error) {
	if from, ok := n[host]; ok {
		return netip.MustParseAddr(from), nil
	}
	<-ctx.Done()
	return netip.Addr{}, errors.New("no such host: " + host)
}

// TestAdvertisedWithoutNames: a registration has 5 s. Names that nobody knows any
// more leave it most of them, and change nothing.
func TestAdvertisedWithoutNames(t *testing.T) {
	const ours, next = "10.0.0.7", "10.0.0.8"
	for _, test := range []struct {
		name          string
		before, after names
		want          string // "" where it fails
		takes         time.Duration
	}{
		{"all are known", names{"a": ours, "b": ours, "c": ours}, names{"a": next, "b": ours, "c": ours}, next, 0},
		{"the first is enough", nil, names{"a": ours}, ours, 0},
		{"the last is known", nil, names{"c": ours}, ours, sourceTimeout},
		{"none any more", names{"a": ours, "b": ours, "c": ours}, nil, ours, sourceTimeout},
		{"none ever", nil, nil, "", sourceTimeout},
		{"only the part on this machine any more", names{"a": "127.0.0.1", "b": ours}, names{"a": "127.0.0.1"}, ours, sourceTimeout},
		{"only the part on this machine ever", nil, names{"a": "127.0.0.1"}, "127.0.0.1", sourceTimeout},
		{"all on this machine now", names{"a": ours}, names{"a": "127.0.0.1", "b": "127.0.0.1", "c": "127.0.0.1"}, "127.0.0.1", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n askedRegistry
				s := Server{registry: &n, log: slog.New(slog.DiscardHandler), cfg: &config{registry: "etcd://a,b,c"}}
				o := s.listedIn().(*outward)
				o.hosts = []string{"a", "b", "c"} // without ports
				register := func(known names) (time.Duration, error) {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					o.route, n.listed = known.route, registry.Instance{}
					start := time.Now()
					_, err := o.Register(ctx, []registry.Instance{{Addr: "[::]:4100", StatusAddr: "0.0.0.0:4101"}})
					return time.Since(start), err
				}
				if test.before != nil {
					if _, err := register(test.before); err != nil {
						t.Fatal(err)
					}
				}
				took, err := register(test.after)
				if took != test.takes {
					t.Errorf("it took %v", took)
				}
				if test.want == "" {
					if err == nil || !strings.Contains(err.Error(), "no such host: c") {
						t.Errorf("no error but %v", err)
					}
					return
				}
				if err != nil || n.listed.Addr != test.want+":4100" || n.listed.StatusAddr != test.want+":4101" || n.left < 3*time.Second {
					t.Errorf("listed as %q and %q with %v left: %v", n.listed.Addr, n.listed.StatusAddr, n.left, err)
				}
			})
		})
	}
}
