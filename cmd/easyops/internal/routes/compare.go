package routes

import (
	"net"
	"strconv"
)

// compare looks at what the parts of a file say of each other: routes that would
// never have a request, and ports that two of them want.
func (p *parser) compare(f *File, line int) {
	p.compareHTTP(f)
	p.compareGRPC(f)
	p.comparePorts(f)
	if len(p.faults) == 0 && len(f.HTTP)+len(f.GRPC)+len(f.TCP) == 0 {
		p.fault(line, "", "there are no routes: list some under http, grpc or tcp")
	}
	if len(p.faults) == 0 && len(f.TLS) > 0 && len(f.HTTP)+len(f.GRPC) == 0 {
		p.fault(f.TLS[0].Line, "tls", "is for routes of HTTP and gRPC, and there are none: leave it out")
	}
}

func (p *parser) compareHTTP(f *File) {
	type place struct{ host, path string }
	seen := map[place]int{}
	for _, r := range f.HTTP {
		at := place{r.Host, r.Path}
		if first, twice := seen[at]; twice {
			p.fault(r.Line, "http", "no request comes here: the route in line %d has the same host and path: leave one of them out", first)
			continue
		}
		seen[at] = r.Line
	}
}

func (p *parser) compareGRPC(f *File) {
	type place struct{ host, service string }
	seen := map[place]int{}
	for _, r := range f.GRPC {
		at := place{r.Host, r.Service}
		if first, twice := seen[at]; twice {
			p.fault(r.Line, "grpc", "no call comes here: the route in line %d has the same host and service: leave one of them out", first)
			continue
		}
		seen[at] = r.Line
	}
}

// comparePorts finds addresses that cannot both be listened on. Port 0 is another
// one each time.
func (p *parser) comparePorts(f *File) {
	type taken struct {
		what string
		addr string
	}
	all := []taken{{"listen", f.Listen}, {"admin", f.Admin}}
	find := func(line int, what, addr string) {
		for _, t := range all {
			if collide(t.addr, addr) {
				p.fault(line, what, "%s collides with %s of %s: choose another port", addr, t.addr, t.what)
				return
			}
		}
		all = append(all, taken{what + " in line " + strconv.Itoa(line), addr})
	}
	if collide(f.Listen, f.Admin) {
		p.fault(p.adminLine, "admin", "%s collides with %s of listen: choose another port", f.Admin, f.Listen)
	}
	for _, r := range f.TCP {
		find(r.Line, "tcp.listen", r.Listen)
	}
}

// collide tells whether two addresses cannot be listened on both.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || isAll(hostA) || isAll(hostB)
}

func isAll(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
