package export

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/registry"
)

// plan is what the templates write.
type plan struct {
	Options

	File   string
	Limits []string // what the proxy does not do, for people
	Bind   bind     // of HTTP and gRPC; its Addr is "" where there are none
	TLS    bool
	Certs  []cert
	Rules  []*rule // gRPC's first, each in the order in which they are asked
	TCP    []*tcpPort

	Backends []*backend
}

// HTTP reports whether there is a listener for HTTP and gRPC.
func (p *plan) HTTP() bool { return p.Bind.Addr != "" }

// Scheme is that of the listener.
func (p *plan) Scheme() string {
	if p.TLS {
		return "https"
	}
	return "http"
}

// CAFile is the file of the authorities, as the proxy names them.
func (p *plan) CAFile() string {
	switch {
	case p.CA != "system":
		return absolute(p.CA)
	case p.Proxy == HAProxy:
		return "@system-ca"
	}
	return "/etc/ssl/certs/ca-certificates.crt"
}

// cert is a certificate of the listener.
type cert struct {
	Cert, Key string
	Names     []string // the hosts that it is for
}

// tcpPort is a port that leads to a TCP service.
type tcpPort struct {
	ID      string
	Bind    bind
	Route   routes.TCPRoute
	Backend *backend
}

// Most is how many connections there may be at a time, and MostOfOne of one client.
func (p *tcpPort) Most() int      { all, _ := p.Route.Bounds(math.MaxInt); return all }
func (p *tcpPort) MostOfOne() int { _, one := p.Route.Bounds(math.MaxInt); return one }

// Idle is how long a connection may be that nothing passes by.
func (p *tcpPort) Idle() time.Duration { return cmp.Or(p.Route.IdleTimeout, 24*time.Hour) }

// bind is an address to listen at.
type bind struct {
	Addr string // host:port; the host is [::] where it stands for all
	All  bool   // for both IPv4 and IPv6
}

func bindAt(addr string) bind {
	if port, all := strings.CutPrefix(addr, ":"); all {
		return bind{"[::]:" + port, true}
	}
	return bind{Addr: addr}
}

// plan gathers all that is written.
func (o Options) plan(f *routes.File, have Instances) (*plan, error) {
	p := &plan{Options: o, File: f.Name, TLS: len(f.TLS) > 0}
	if err := p.listen(f); err != nil {
		return nil, err
	}
	b := &backends{options: o, have: have, names: map[string]bool{}}
	p.Rules = append(grpcRules(f, b), httpRules(f, b)...)
	for n, r := range f.TCP {
		back := b.of(Key{r.Service, registry.KindTCP}, r.ConnectTimeout, r.ProxyProtocol)
		p.TCP = append(p.TCP, &tcpPort{fmt.Sprintf("port_%d", n+1), bindAt(r.Listen), r, back})
	}
	p.Backends = b.all
	p.Limits = o.limits(f)
	return p, nil
}

// listen plans the listener of HTTP and gRPC.
func (p *plan) listen(f *routes.File) error {
	if len(f.HTTP)+len(f.GRPC) == 0 {
		return nil
	}
	if f.Listen == "" {
		return fmt.Errorf(`%s: there is no address to listen at: write one, such as listen: ":8443"`, f.Name)
	}
	if p.Proxy == Nginx && !p.TLS && len(f.HTTP) > 0 && len(f.GRPC) > 0 {
		return fmt.Errorf("%s: nginx cannot serve HTTP/1.1 and gRPC at one address without TLS: name a certificate (tls:), or write two files with addresses of their own", f.Name)
	}
	p.Bind = bindAt(f.Listen)
	for n, c := range f.TLS {
		names, err := hostsOf(c.Cert)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", f.Name, c.Line, err)
		}
		plan := cert{Cert: absolute(c.Cert), Key: absolute(c.Key), Names: names}
		if p.Proxy == HAProxy && c.Key != c.Cert && c.Key != c.Cert+".key" {
			if p.Links == "" {
				return fmt.Errorf("%s:%d: HAProxy looks for the key of %s in %s.key: name it so, or write to a file (-o), beside which links are made", f.Name, c.Line, c.Cert, c.Cert)
			}
			plan.Cert = p.linkName(n)
		}
		p.Certs = append(p.Certs, plan)
	}
	return nil
}

// hostsOf returns the hosts that a certificate is for.
func hostsOf(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", path, err)
		}
		return slices.DeleteFunc(c.DNSNames, func(name string) bool { return !plainWord.MatchString(name) }), nil
	}
	return nil, fmt.Errorf("%s holds no certificate in PEM", path)
}

// Modules are the modules of nginx that pass requests on.
func (p *plan) Modules() (names []string) {
	if p.uses(func(r *rule) bool { return !r.GRPC }) {
		names = append(names, "proxy")
	}
	if p.uses(func(r *rule) bool { return r.GRPC }) {
		names = append(names, "grpc")
	}
	return names
}

// OnlyGRPC reports whether there is no route for HTTP.
func (p *plan) OnlyGRPC() bool { return !p.uses(func(r *rule) bool { return !r.GRPC }) }

// AnyBare reports whether a service must not be sent tokens.
func (p *plan) AnyBare() bool { return p.uses(func(r *rule) bool { return r.Backend.Bare }) }

func (p *plan) uses(kind func(*rule) bool) bool { return slices.ContainsFunc(p.Rules, kind) }
