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
	return s.advertisedAt(s.statusLis.Addr().String())
}

// advertisedAt is the same for another listener than that of the port.
func (s *Server) advertisedAt(addr string) string {
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
	return &outward{
		Registry: s.registry, hosts: hosts, log: s.log, route: routeTo,
		said: map[string]string{}, sources: map[string]netip.Addr{},
	}
}

// outward is a registry of several machines, which is told of addresses that
// others can connect to: in the place of all interfaces that from which this
// machine reaches the registry. It is looked at for each registration, because it
// can change, and a name may not be known when the server starts. Where it cannot
// be told any more, because no name is known just now, it is taken to be as it was.
type outward struct {
	registry.Registry
	hosts   []string
	log     *slog.Logger
	route   func(ctx context.Context, network, host string) (netip.Addr, error) // [routeTo]
	mu      sync.Mutex
	said    map[string]string     // what was last logged, by listener
	sources map[string]netip.Addr // the last ones that are known, by listener
}

// Register implements [registry.Registry].
func (o *outward) Register(ctx context.Context, instances []registry.Instance) (registry.Lease, error) {
	seen, err := o.seen(ctx, addrsOf(instances))
	if err != nil {
		return nil, err
	}
	lease, err := o.Registry.Register(ctx, listedAt(instances, seen))
	if err != nil {
		return nil, err
	}
	return outwardLease{lease, seen}, nil
}

// addrsOf returns the addresses of entries, each once. They are all of one server,
// which has few.
func addrsOf(instances []registry.Instance) (all []string) {
	for _, i := range instances {
		all = append(all, i.Addr, i.StatusAddr)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// seen asks how others see the addresses, for all at the same time: names that are
// not known cost time, and a registration has little.
func (o *outward) seen(ctx context.Context, addrs []string) (map[string]string, error) {
	outside, errs := make([]string, len(addrs)), make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() { outside[i], errs[i] = o.outside(ctx, addr) })
	}
	wg.Wait()
	seen := map[string]string{}
	for i, addr := range addrs {
		seen[addr] = outside[i]
	}
	return seen, errors.Join(errs...)
}

// outwardLease is a lease of entries with other addresses.
type outwardLease struct {
	registry.Lease
	seen map[string]string // by the address of the listener
}

// Update implements [registry.Lease].
func (l outwardLease) Update(ctx context.Context, instances []registry.Instance) error {
	return l.Lease.Update(ctx, listedAt(instances, l.seen))
}

func listedAt(instances []registry.Instance, seen map[string]string) []registry.Instance {
	instances = slices.Clone(instances)
	for i := range instances {
		e := &instances[i]
		e.Addr, e.StatusAddr = seen[e.Addr], seen[e.StatusAddr]
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
	from, err := o.source(ctx, addr)
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

// source returns the address from which this machine reaches the registry, by the
// protocol that a listener speaks. What was known of other machines stays while
// their names are not.
func (o *outward) source(ctx context.Context, listener string) (netip.Addr, error) {
	from, err := o.sourceNow(ctx, listener)
	o.mu.Lock()
	defer o.mu.Unlock()
	last, known := o.sources[listener]
	switch {
	case known && err != nil:
		return last, nil
	case !from.IsValid():
		return from, err
	}
	o.sources[listener] = from
	return from, nil
}

// sourceTimeout is how long it may take to learn where the hosts are.
const sourceTimeout = 2 * time.Second

// sourceNow asks for the routes to all hosts at once. The first of them to another
// machine counts, and before our own, because a registry may have a part on every
// machine. With the latter, and where there is none, come the errors of others.
func (o *outward) sourceNow(ctx context.Context, listener string) (own netip.Addr, err error) {
	network := "udp"
	if ip, _ := netip.ParseAddr(hostOf(listener)); ip.Is4() {
		network = "udp4"
	}
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // who has not answered by then is not waited for
	var errs []error
	for _, answer := range o.ask(ctx, &wg, network) {
		switch r := <-answer; {
		case r.err != nil:
			errs = append(errs, r.err)
		case !r.from.IsLoopback():
			return r.from, nil
		default:
			own = r.from
		}
	}
	return own, errors.Join(errs...)
}

// sourceAddr is the source address of the route to a host, or why there is none.
type sourceAddr struct {
	from netip.Addr
	err  error
}

// ask looks for the routes to all hosts.
func (o *outward) ask(ctx context.Context, wg *sync.WaitGroup, network string) (answers []<-chan sourceAddr) {
	for _, host := range o.hosts {
		answer := make(chan sourceAddr, 1)
		answers = append(answers, answer)
		wg.Go(func() {
			from, err := o.route(ctx, network, host)
			answer <- sourceAddr{from, err}
		})
	}
	return answers
}

// routeTo returns the source address of the route to a host. For UDP nothing is
// sent to connect.
func routeTo(ctx context.Context, network, host string) (netip.Addr, error) {
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
