package export

import (
	"slices"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/auth"
)

// limits says what easyops edge does with the same routes file and the proxy does
// not.
func (o Options) limits(f *routes.File) (lines []string) {
	say := func(line string, when bool) {
		if when {
			lines = append(lines, line)
		}
	}
	guarded := slices.ContainsFunc(f.HTTP, func(r routes.HTTPRoute) bool { return r.Access.Allow != auth.Everyone }) ||
		slices.ContainsFunc(f.GRPC, func(r routes.GRPCRoute) bool { return r.Access.Allow != auth.Everyone })
	say("Nobody is authenticated here: allow, groups and services of routes are not checked. Services check the token of each request by rules of their own.", guarded)
	say("A token is passed on as it came, verified or not.", len(f.HTTP)+len(f.GRPC) > 0)
	say("max_message is not looked at: services have limits of their own.", slices.ContainsFunc(f.GRPC, func(r routes.GRPCRoute) bool { return r.MaxMessage != routes.DefaultMaxMessage }))
	say("Services must prove who they are by a DNS name in their certificate: a SPIFFE ID is not enough.", o.CA != "")
	say("admin is not served: the proxy has status pages of its own.", f.Admin != "")
	say("What is under way at a reload ends after "+seconds(o.Linger)+", TCP connections as well: --linger gives it another time.", true)
	if o.Proxy == Nginx {
		o.nginxLimits(f, say)
	}
	return lines
}

func (Options) nginxLimits(f *routes.File, say func(string, bool)) {
	say("Services behind nginx are not asked how they are: one that dies without a word is left out for 5 s by each worker that fails to connect.", true)
	v2 := func(r routes.TCPRoute) bool { return r.ProxyProtocol == 2 }
	say("nginx speaks version 1 of the PROXY protocol only, so that is what services are sent.", slices.ContainsFunc(f.TCP, v2))
	accepts := func(r routes.TCPRoute) bool { return len(r.AcceptProxy) > 0 }
	say("Where PROXY headers are accepted, nginx wants one of every peer; addresses are believed only of those in accept_proxy_protocol_from.", slices.ContainsFunc(f.TCP, accepts))
	say("Each address is a client of its own, also of IPv6.", len(f.TCP) > 0)
	say("Headers that tell who calls are removed by name: an X-Auth-* or X-Forwarded-* that is not known is passed on.", len(f.HTTP)+len(f.GRPC) > 0)
	say("nginx drops headers, and metadata of gRPC, with an underscore or a dot in their names.", len(f.HTTP)+len(f.GRPC) > 0)
}
