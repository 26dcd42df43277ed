package routing

import (
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
)

type noteKey struct{}

// annotated returns a resolver's state without addresses, but with a note for
// the balancer on why there are none, or where they come from.
func annotated(note string) resolver.State {
	var s resolver.State
	s.Attributes = s.Attributes.WithValue(noteKey{}, note)
	return s
}

// steady makes one of gRPC's own resolvers tell its errors in the way of ours.
// Without it an error before the first answer would never reach our balancer,
// and calls would wait for ever. It returns the target to use with the option.
//
// Targets of other schemes, such as those of a resolver that the caller's
// options bring, stay as they are.
func steady(target string, m *marker) (string, []grpc.DialOption) {
	u, err := url.Parse(target)
	if err != nil || resolver.Get(u.Scheme) == nil {
		if strings.Contains(target, "://") {
			return target, nil
		}
		u, target = &url.URL{Scheme: "dns"}, "dns:///"+target // gRPC's default
	}
	b := resolver.Get(u.Scheme)
	if _, ok := b.(resolver.AuthorityOverrider); ok || b == nil {
		return target, nil // a socket's path, which cannot fail
	}
	return target, []grpc.DialOption{grpc.WithResolvers(steadyBuilder{b, m})}
}

type steadyBuilder struct {
	resolver.Builder
	marker *marker
}

func (b steadyBuilder) Build(t resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	return b.Builder.Build(t, steadyConn{cc, b.marker}, opts)
}

type steadyConn struct {
	resolver.ClientConn
	marker *marker
}

// UpdateState hands on what was found.
func (c steadyConn) UpdateState(s resolver.State) error { return c.marker.update(c.ClientConn, s) }

// ReportError keeps what is known and says why there is nothing new.
func (c steadyConn) ReportError(err error) { _ = c.UpdateState(annotated(err.Error())) }
