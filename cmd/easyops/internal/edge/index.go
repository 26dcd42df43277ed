package edge

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
)

// index are routes, and how they are found. It does not change once it is in force.
type index struct {
	http []*httpRoute // in the order of the file
	grpc []*grpcRoute

	paths    map[string][]*httpRoute          // by host, the longest first
	services map[string]map[string]*grpcRoute // by host and pattern
}

func newIndex() *index {
	return &index{paths: map[string][]*httpRoute{}, services: map[string]map[string]*grpcRoute{}}
}

func (x *index) addHTTP(r *httpRoute) {
	x.http = append(x.http, r)
	x.paths[r.Host] = append(x.paths[r.Host], r)
	slices.SortStableFunc(x.paths[r.Host], func(a, b *httpRoute) int { return cmp.Compare(len(b.Path), len(a.Path)) })
}

func (x *index) addGRPC(r *grpcRoute) {
	x.grpc = append(x.grpc, r)
	if x.services[r.Host] == nil {
		x.services[r.Host] = map[string]*grpcRoute{}
	}
	x.services[r.Host][r.Service] = r
}

// names tells whether a route names the very service of gRPC.
func (x *index) names(service string) bool {
	return slices.ContainsFunc(x.grpc, func(r *grpcRoute) bool { return r.Service == service })
}

// findHTTP returns the route of a host and a path, or nil.
func (x *index) findHTTP(host, path string) *httpRoute {
	for pattern := range patternsOf(host) {
		for _, r := range x.paths[pattern] {
			if routes.MatchPath(r.Path, path) {
				return r
			}
		}
	}
	return nil
}

// findGRPC returns the route of a host and a service, or nil.
func (x *index) findGRPC(host, service string) *grpcRoute {
	for pattern := range patternsOf(host) {
		services := x.services[pattern]
		if services == nil {
			continue
		}
		if r := services[service]; r != nil {
			return r
		}
		for end := strings.LastIndexByte(service, '.'); end > 0; end = strings.LastIndexByte(service[:end], '.') {
			if r := services[service[:end]+".*"]; r != nil {
				return r
			}
		}
		if r := services["*"]; r != nil {
			return r
		}
	}
	return nil
}

// patternsOf returns the hosts of routes that fit a host, the most specific first.
func patternsOf(host string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if host != "" && !yield(host) {
			return
		}
		for rest := host; ; {
			dot := strings.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			if rest = rest[dot+1:]; !yield("*." + rest) {
				return
			}
		}
		yield("")
	}
}

// hostOf returns the host of a Host header or an :authority as routes have it.
func hostOf(authority string) string {
	host, _, err := net.SplitHostPort(authority)
	if err != nil {
		host = strings.Trim(authority, "[]")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}
