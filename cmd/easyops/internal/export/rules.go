package export

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/registry"
)

// rule leads to a backend what fits it.
type rule struct {
	ID      string // for the proxy, such as http_1
	Route   string // for people
	Line    int    // of the routes file
	Host    string // as routes has it
	Path    string // begins and ends with a slash
	GRPC    bool
	Backend *backend
	Access  string // whom the service lets in, "" for everyone
}

// Bare is the path without the slash at its end, which fits too. For gRPC there
// is none.
func (r *rule) Bare() string {
	if r.GRPC {
		return ""
	}
	return strings.TrimSuffix(r.Path, "/")
}

// Wild reports whether the rule is for all hosts below one, and Suffix what they
// end with.
func (r *rule) Wild() bool     { return strings.HasPrefix(r.Host, "*") }
func (r *rule) Suffix() string { return strings.TrimPrefix(r.Host, "*") }

// grpcRules has a rule for each service that a route leads to.
func grpcRules(f *routes.File, b *backends) (rules []*rule) {
	list := slices.Clone(f.GRPC)
	slices.SortStableFunc(list, func(x, y routes.GRPCRoute) int {
		return cmp.Or(byHost(x.Host, y.Host), -cmp.Compare(weight(x.Service), weight(y.Service)))
	})
	seen := map[string]bool{}
	for _, r := range list {
		for _, service := range named(r, b.services()) {
			back := b.of(Key{service, registry.KindGRPC}, r.ConnectTimeout, 0)
			key := r.Host + "/" + service
			if seen[key] {
				continue
			}
			seen[key] = true
			rules = append(rules, &rule{
				ID: fmt.Sprintf("grpc_%d", len(rules)+1), Route: r.Name(), Line: r.Line, Host: r.Host, Path: "/" + service + "/",
				GRPC: true, Backend: back, Access: accessText(r.Access),
			})
		}
	}
	return rules
}

// weight orders services of routes: names before patterns, longer ones first.
func weight(service string) int {
	if isPattern(service) {
		return len(service)
	}
	return 1 << 16
}

func httpRules(f *routes.File, b *backends) (rules []*rule) {
	list := slices.Clone(f.HTTP)
	slices.SortStableFunc(list, func(x, y routes.HTTPRoute) int {
		return cmp.Or(byHost(x.Host, y.Host), -cmp.Compare(len(x.Path), len(y.Path)))
	})
	for n, r := range list {
		rules = append(rules, &rule{
			ID: fmt.Sprintf("http_%d", n+1), Route: r.Name(), Line: r.Line, Host: r.Host, Path: r.Path,
			Backend: b.of(Key{r.Service, registry.KindHTTP}, r.ConnectTimeout, 0), Access: accessText(r.Access),
		})
	}
	return rules
}

// byHost puts more specific hosts first.
func byHost(x, y string) int {
	special := func(host string) int {
		n, _ := routes.MatchHost(host, strings.Replace(host, "*", "x", 1))
		return n
	}
	return cmp.Or(-cmp.Compare(special(x), special(y)), cmp.Compare(x, y))
}

// accessText is a rule as routes files have it.
func accessText(a auth.Access) string {
	if a.Allow == auth.Everyone {
		return ""
	}
	text := fmt.Sprint(a.Allow)
	if len(a.Groups) > 0 {
		text += " of the groups " + strings.Join(a.Groups, ", ")
	}
	if len(a.Services) > 0 {
		text += " that are the services " + strings.Join(a.Services, ", ")
	}
	return text
}
