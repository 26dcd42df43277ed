package export

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// backend are the instances of a service.
type backend struct {
	Name    string // for the proxy
	Service string
	Kind    registry.Kind
	Timeout time.Duration // to connect
	Proxy   int           // the version of the PROXY protocol that it is sent, 0 for none
	Servers []*server
	Note    string // for people, where there is something to say
	Bare    bool   // tokens would go to another machine in plain text, so none are passed on
}

// HTTP, GRPC and TCP report what is spoken.
func (b *backend) HTTP() bool { return b.Kind == registry.KindHTTP }
func (b *backend) GRPC() bool { return b.Kind == registry.KindGRPC }
func (b *backend) TCP() bool  { return b.Kind == registry.KindTCP }

// ZoneSize is how much memory nginx shares between its workers for a backend, in
// KiB.
func (b *backend) ZoneSize() int { return 64 + 2*len(b.Servers) }

// server is an instance.
type server struct {
	ID, Addr string
	Probe    string // host:port of the probes; "" where it is not known
	Backup   bool
	Zone     string
}

// backends makes those that are needed, each once.
type backends struct {
	options Options
	have    Instances
	all     []*backend
	names   map[string]bool // in small letters: nginx takes names that differ in case for one
}

// services are those with instances that speak gRPC, sorted.
func (b *backends) services() (names []string) {
	for key, list := range b.have {
		if key.Kind == registry.KindGRPC && len(list) > 0 {
			names = append(names, key.Service)
		}
	}
	slices.Sort(names)
	return names
}

func (b *backends) of(key Key, timeout time.Duration, proxy int) *backend {
	i := slices.IndexFunc(b.all, func(x *backend) bool {
		return x.Service == key.Service && x.Kind == key.Kind && x.Timeout == timeout && x.Proxy == proxy
	})
	if i >= 0 {
		return b.all[i]
	}
	back := &backend{Name: b.name(key), Service: key.Service, Kind: key.Kind, Timeout: timeout, Proxy: proxy}
	b.fill(back, b.have[key])
	b.all = append(b.all, back)
	return back
}

// name is one that no other backend has.
func (b *backends) name(key Key) string {
	name := string(key.Kind) + "_" + key.Service
	for n := 2; b.names[strings.ToLower(name)]; n++ {
		name = fmt.Sprintf("%s_%s_%d", key.Kind, key.Service, n)
	}
	b.names[strings.ToLower(name)] = true
	return name
}

func (b *backends) fill(back *backend, list []registry.Instance) {
	own := slices.ContainsFunc(list, func(i registry.Instance) bool { return i.Tags[zoneTag] == b.options.Zone })
	for _, i := range list {
		if !b.options.starts(i.Addr) {
			back.Note = "an instance is left out, as its address " + i.Addr + " is not known"
			continue
		}
		s := &server{ID: i.ID, Addr: i.Addr, Probe: i.StatusAddr, Zone: i.Tags[zoneTag]}
		if s.Probe == "" && back.Kind != registry.KindTCP {
			s.Probe = i.Addr
		}
		if !usable(s.Probe) {
			s.Probe = ""
		}
		s.Backup = b.options.Zone != "" && own && s.Zone != b.options.Zone
		if b.options.CA == "" && !b.options.InsecurePlaintext && !back.TCP() && !onLoopback(s.Addr) {
			back.Bare = true
		}
		back.Servers = append(back.Servers, s)
	}
	switch {
	case back.Note != "":
	case len(list) == 0:
		back.Note = "no instance is listed that connections may go to"
	case list[0].Health != registry.Ready:
		back.Note = "none is READY: these are the last ones that are known"
	}
}

// starts reports whether the proxy starts with an address.
func (o Options) starts(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	return o.Proxy != Nginx || o.Resolves == nil || net.ParseIP(host) != nil || o.Resolves(host)
}

// ProbeHost and ProbePort are the parts of where the probes are.
func (s *server) ProbeHost() string { host, _, _ := net.SplitHostPort(s.Probe); return host }

// ProbePort is the port of the probes.
func (s *server) ProbePort() string { _, port, _ := net.SplitHostPort(s.Probe); return port }
