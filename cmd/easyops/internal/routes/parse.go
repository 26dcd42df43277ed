package routes

import (
	"cmp"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/go-easyops/easyops/runtime/auth"
)

// file takes a whole file apart.
func (p *parser) file(text []byte) *File {
	f := &File{Name: p.name}
	doc := p.document(text)
	if doc == nil {
		return f
	}
	p.mapping("", doc,
		key{"listen", func(at string, n *yaml.Node) { f.Listen = p.address(at, n) }},
		key{"admin", func(at string, n *yaml.Node) { f.Admin, p.adminLine = p.address(at, n), n.Line }},
		key{"tls", func(at string, n *yaml.Node) {
			p.list(at, n, func(at string, n *yaml.Node) { p.certificate(f, at, n) })
		}},
		key{"http", func(at string, n *yaml.Node) { p.list(at, n, func(at string, n *yaml.Node) { p.http(f, at, n) }) }},
		key{"grpc", func(at string, n *yaml.Node) { p.list(at, n, func(at string, n *yaml.Node) { p.grpc(f, at, n) }) }},
		key{"tcp", func(at string, n *yaml.Node) { p.list(at, n, func(at string, n *yaml.Node) { p.tcp(f, at, n) }) }},
	)
	p.compare(f, doc.Line)
	return f
}

func (p *parser) certificate(f *File, at string, n *yaml.Node) {
	c := Certificate{Line: n.Line}
	before := len(p.faults)
	p.mapping(at, n,
		key{"cert", func(at string, n *yaml.Node) { c.Cert = p.path(at, n) }},
		key{"key", func(at string, n *yaml.Node) { c.Key = p.path(at, n) }},
	)
	if len(p.faults) == before {
		p.want(n, at, "cert", c.Cert != "", "name the file of the certificate, PEM")
		p.want(n, at, "key", c.Key != "", "name the file of its private key, PEM")
	}
	f.TLS = append(f.TLS, c)
}

func (p *parser) http(f *File, at string, n *yaml.Node) {
	r := HTTPRoute{Line: n.Line, Path: "/", ConnectTimeout: DefaultConnectTimeout}
	before := len(p.faults)
	keys := []key{
		{"host", func(at string, n *yaml.Node) { r.Host = p.host(at, n) }},
		{"path", func(at string, n *yaml.Node) { r.Path = p.prefix(at, n) }},
		{"service", func(at string, n *yaml.Node) { r.Service = p.service(at, n) }},
	}
	keys = append(keys, p.access(&r.Access)...)
	keys = append(keys, p.connectTimeout(&r.ConnectTimeout))
	p.mapping(at, n, keys...)
	p.checkAccess(n, at, r.Access, before)
	if len(p.faults) == before {
		p.want(n, at, "service", r.Service != "", "name the service as it is registered, such as greet-page")
		f.HTTP = append(f.HTTP, r)
	}
}

func (p *parser) grpc(f *File, at string, n *yaml.Node) {
	r := GRPCRoute{Line: n.Line, MaxMessage: DefaultMaxMessage, ConnectTimeout: DefaultConnectTimeout}
	before := len(p.faults)
	keys := []key{
		{"service", func(at string, n *yaml.Node) { r.Service = p.servicePattern(at, n) }},
		{"host", func(at string, n *yaml.Node) { r.Host = p.host(at, n) }},
	}
	keys = append(keys, p.access(&r.Access)...)
	keys = append(keys, p.connectTimeout(&r.ConnectTimeout),
		key{"max_message", func(at string, n *yaml.Node) { r.MaxMessage = p.size(at, n) }})
	p.mapping(at, n, keys...)
	p.checkAccess(n, at, r.Access, before)
	if len(p.faults) == before {
		p.want(n, at, "service", r.Service != "", "name the service in full, such as echo.v1.EchoService, or several by echo.v1.* or \"*\"")
		f.GRPC = append(f.GRPC, r)
	}
}

func (p *parser) tcp(f *File, at string, n *yaml.Node) {
	r := TCPRoute{Line: n.Line, ConnectTimeout: DefaultConnectTimeout}
	before := len(p.faults)
	p.mapping(at, n,
		key{"listen", func(at string, n *yaml.Node) { r.Listen = p.address(at, n) }},
		key{"service", func(at string, n *yaml.Node) { r.Service = p.service(at, n) }},
		key{"proxy_protocol", func(at string, n *yaml.Node) { r.ProxyProtocol = p.proxyVersion(at, n) }},
		key{"accept_proxy_protocol_from", func(at string, n *yaml.Node) {
			p.list(at, n, func(at string, n *yaml.Node) { r.AcceptProxy = append(r.AcceptProxy, p.network(at, n)) })
		}},
		key{"max_connections", func(at string, n *yaml.Node) { r.MaxConnections = p.count(at, n) }},
		key{"max_connections_per_client", func(at string, n *yaml.Node) { r.MaxPerClient = p.count(at, n) }},
		key{"idle_timeout", func(at string, n *yaml.Node) { r.IdleTimeout = p.duration(at, n, minIdle, maxIdle) }},
		p.connectTimeout(&r.ConnectTimeout),
	)
	if most := cmp.Or(r.MaxConnections, DefaultMaxConnections); r.MaxPerClient > most && len(p.faults) == before {
		p.fault(n.Line, at+".max_connections_per_client", "%d is more than max_connections, which is %d: make this one less or that one more", r.MaxPerClient, most)
	}
	if len(p.faults) == before {
		p.want(n, at, "listen", r.Listen != "", "name the address of the port, such as :5432")
		p.want(n, at, "service", r.Service != "", "name the service as it is registered")
		f.TCP = append(f.TCP, r)
	}
}

// access are the keys of a rule.
func (p *parser) access(a *auth.Access) []key {
	return []key{
		{"allow", func(at string, n *yaml.Node) { a.Allow = p.allow(at, n) }},
		{"groups", func(at string, n *yaml.Node) { a.Groups = p.names(at, n) }},
		{"services", func(at string, n *yaml.Node) { a.Services = p.names(at, n) }},
	}
}

// checkAccess looks at a rule whose parts are sound.
func (p *parser) checkAccess(n *yaml.Node, at string, a auth.Access, before int) {
	if err := a.Validate(); err != nil && len(p.faults) == before {
		p.fault(n.Line, at+".allow", "%v: leave one of them out", err)
	}
}

func (p *parser) connectTimeout(to *time.Duration) key {
	return key{"connect_timeout", func(at string, n *yaml.Node) { *to = p.duration(at, n, minConnect, maxConnect) }}
}

// want finds a key that is missing.
func (p *parser) want(n *yaml.Node, at, name string, given bool, cure string) {
	if !given {
		p.fault(n.Line, at+"."+name, "is missing: %s", cure)
	}
}

// path returns the name of a file.
func (p *parser) path(at string, n *yaml.Node) string {
	path := p.text(at, n)
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.dir, path)
}
