package export

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/registry"
)

// Key is a service as a protocol of it.
type Key struct {
	Service string
	Kind    registry.Kind
}

// Instances are those that the proxy may lead to, as [Choose] has them.
type Instances map[Key][]registry.Instance

// Keys returns what the routes of a file lead to, sorted, where the registry lists
// services of these names: patterns of gRPC routes lead to what fits them. Names
// that the file has are there in any case.
func Keys(f *routes.File, listed []string) (keys []Key) {
	for _, r := range f.HTTP {
		keys = append(keys, Key{r.Service, registry.KindHTTP})
	}
	for _, r := range f.TCP {
		keys = append(keys, Key{r.Service, registry.KindTCP})
	}
	for _, r := range f.GRPC {
		for _, name := range named(r, listed) {
			keys = append(keys, Key{name, registry.KindGRPC})
		}
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Service, b.Service))
	})
	return slices.Compact(keys)
}

// Patterns reports whether a route leads to services that the file does not name.
func Patterns(f *routes.File) bool {
	return slices.ContainsFunc(f.GRPC, func(r routes.GRPCRoute) bool { return isPattern(r.Service) })
}

func isPattern(service string) bool { return strings.HasSuffix(service, "*") }

// named returns the services that a route leads to.
func named(r routes.GRPCRoute, listed []string) (names []string) {
	if !isPattern(r.Service) {
		return []string{r.Service}
	}
	for _, name := range listed {
		if routes.MatchService(r.Service, name) {
			names = append(names, name)
		}
	}
	return names
}

// Choose returns the instances of a kind that new connections may go to, in the
// order of their IDs: the READY ones, else those that are STOPPING, else those that
// were chosen before. Those with an owner or with tags other than the zone are for
// who asks for them. Of several at one address, the one that was started last is
// there.
func Choose(listed []registry.Instance, kind registry.Kind, before []registry.Instance) []registry.Instance {
	var ready, stopping []registry.Instance
	for _, i := range listed {
		switch {
		case !slices.Contains(i.Kinds, kind) || !isPlain(i) || !usable(i.Addr):
		case i.Health == registry.Ready:
			ready = append(ready, i)
		case i.Health == registry.Stopping:
			stopping = append(stopping, i)
		}
	}
	switch {
	case len(ready) > 0:
		return unique(ready)
	case len(stopping) > 0:
		return unique(stopping)
	}
	return before
}

const zoneTag = "zone"

func isPlain(i registry.Instance) bool {
	_, zoned := i.Tags[zoneTag]
	return i.Owner == "" && (len(i.Tags) == 0 || zoned && len(i.Tags) == 1)
}

// usable leaves out addresses that mean something on one machine only, and those
// that are none: others write to registries, and a proxy does not start with a
// configuration that has one wrong line.
func usable(addr string) bool {
	return registry.ValidAddr(addr) == nil && !strings.Contains(addr, "%")
}

func unique(list []registry.Instance) []registry.Instance {
	slices.SortFunc(list, func(a, b registry.Instance) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.ID, b.ID))
	})
	seen := map[string]bool{}
	list = slices.DeleteFunc(list, func(i registry.Instance) bool {
		known := seen[i.Addr]
		seen[i.Addr] = true
		return known
	})
	slices.SortFunc(list, func(a, b registry.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// onLoopback reports whether an address is on this machine for sure.
func onLoopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
