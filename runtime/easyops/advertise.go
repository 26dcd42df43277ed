package easyops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// advertised returns the address under which others reach the server. Of a
// listener on all interfaces it is left to outward, where the registry is not
// this machine's alone.
func (s *Server) advertised() string {
	if s.cfg.advertise != "" {
		return s.cfg.advertise
	}
	return s.listed(s.Addr().String())
}

// advertisedStatus is the same for the address of the status pages, "" where they
// have none of their own. On all interfaces they are where the server is.
func (s *Server) advertisedStatus() string {
	if s.cfg.noStatus || s.statusLis == nil {
		return ""
	}
	addr := s.statusLis.Addr().String()
	if host, _, err := net.SplitHostPort(s.cfg.advertise); err == nil && isUnspecified(addr) {
		return withHost(addr, host)
	}
	return s.listed(addr)
}

func (s *Server) listed(addr string) string {
	if len(registryHosts(s.cfg.registry)) > 0 {
		return addr
	}
	return reachable(addr)
}

// reachable replaces the address of a listener on all interfaces by one that
// can be connected to on this machine.
func reachable(addr string) string {
	if !isUnspecified(addr) {
		return addr
	}
	return withHost(addr, "127.0.0.1")
}

func isUnspecified(addr string) bool {
	ip, err := netip.ParseAddr(hostOf(addr))
	return err == nil && ip.IsUnspecified()
}

func isLoopback(addr string) bool {
	ip, err := netip.ParseAddr(hostOf(addr))
	return err == nil && ip.IsLoopback()
}

// withHost returns an address with another host.
func withHost(addr, host string) string {
	_, port, _ := net.SplitHostPort(addr) // of a listener
	return net.JoinHostPort(host, port)
}

// registryHosts returns where a registry is, each as host:port; none for one of
// this machine.
func registryHosts(url string) (all []string) {
	scheme, rest, _ := strings.Cut(url, ":")
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok || scheme == "local" {
		return nil
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	for addr := range strings.SplitSeq(rest[strings.LastIndex(rest, "@")+1:], ",") {
		if _, _, err := net.SplitHostPort(addr); err != nil && addr != "" {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), "2379") // no packet is sent, so any port does
		}
		if addr != "" {
			all = append(all, addr)
		}
	}
	return all
}

// listedIn returns the registry as it is to be told of this server.
func (s *Server) listedIn() registry.Registry {
	hosts := registryHosts(s.cfg.registry)
	if len(hosts) == 0 {
		return s.registry
	}
	return &outward{Registry: s.registry, hosts: hosts, log: s.log, said: map[string]string{}}
}

// outward is a registry of several machines, which is told of addresses that
// others can connect to: in the place of all interfaces that from which this
// machine reaches the registry. It is looked at for each registration, because it
// can change, and a name may not be known when the server starts.
type outward struct {
	registry.Registry
	hosts []string
	log   *slog.Logger
	mu    sync.Mutex
	said  map[string]string // what was last logged, by listener
}

// Register implements [registry.Registry].
func (o *outward) Register(ctx context.Context, instances []registry.Instance) (registry.Lease, error) {
	one := instances[0] // they are all of one server
	addr, err1 := o.outside(ctx, one.Addr)
	statusAddr, err2 := o.outside(ctx, one.StatusAddr)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	lease, err := o.Registry.Register(ctx, listedAt(instances, addr, statusAddr))
	if err != nil {
		return nil, err
	}
	return outwardLease{lease, addr, statusAddr}, nil
}

// outwardLease is a lease of entries with other addresses.
type outwardLease struct {
	registry.Lease
	addr, statusAddr string
}

// Update implements [registry.Lease].
func (l outwardLease) Update(ctx context.Context, instances []registry.Instance) error {
	return l.Lease.Update(ctx, listedAt(instances, l.addr, l.statusAddr))
}

func listedAt(instances []registry.Instance, addr, statusAddr string) []registry.Instance {
	instances = slices.Clone(instances)
	for i := range instances {
		instances[i].Addr, instances[i].StatusAddr = addr, statusAddr
	}
	return instances
}

// outside returns the address by which others connect to one of a listener, and
// has the log told where they cannot.
func (o *outward) outside(ctx context.Context, addr string) (string, error) {
	all, alone := isUnspecified(addr), isLoopback(addr)
	if !all && !alone {
		return addr, nil
	}
	from, err := sourceOf(ctx, addr, o.hosts)
	if alone {
		if err == nil && !from.IsLoopback() && o.isNews(addr, addr) {
			o.log.Warn("the address that is listed is of this machine alone, and the registry is not: others cannot connect to it, so listen elsewhere (-easyops.addr) or advertise another (-easyops.advertise)", "addr", addr)
		}
		return addr, nil
	}
	if err != nil {
		return "", fmt.Errorf("by which address others connect to %s cannot be told, name it by -easyops.advertise (EASYOPS_ADVERTISE, WithAdvertise): %w", addr, err)
	}
	listed := withHost(addr, from.String())
	switch news := o.isNews(addr, listed); {
	case news && from.IsLoopback():
		o.log.Warn("the registry is on this machine, so the address that is listed is of this machine alone: for others advertise another (-easyops.advertise)", "addr", listed)
	case news:
		o.log.Info("listed by the address from which the registry is reached", "addr", listed)
	}
	return listed, nil
}

// isNews notes what is listed in the place of a listener's address.
func (o *outward) isNews(listener, addr string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	news := o.said[listener] != addr
	o.said[listener] = addr
	return news
}

// sourceTimeout is how long it may take to learn where one host is.
const sourceTimeout = 2 * time.Second

// sourceOf returns the address from which this machine reaches the hosts, by the
// protocol that a listener speaks. One of another machine counts before our own:
// a registry may have a part on every machine.
func sourceOf(ctx context.Context, listener string, hosts []string) (own netip.Addr, err error) {
	network := "udp"
	if ip, _ := netip.ParseAddr(hostOf(listener)); ip.Is4() {
		network = "udp4"
	}
	var errs []error
	for _, host := range hosts {
		from, err := routeTo(ctx, network, host)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !from.IsLoopback():
			return from, nil
		default:
			own = from
		}
	}
	if own.IsValid() {
		return own, nil
	}
	return own, errors.Join(errs...)
}

// routeTo returns the source address of the route to a host. For UDP nothing is
// sent to connect.
func routeTo(ctx context.Context, network, host string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, host)
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	from := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if from.Zone() != "" {
		return from, fmt.Errorf("the route to %s has the source %s, which is good on one link only", host, from)
	}
	return from, nil
}
