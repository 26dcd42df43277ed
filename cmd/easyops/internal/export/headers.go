package export

import (
	"regexp"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
)

// ClaimsRegexp fits the names of headers that only claim something, for HAProxy, which
// has them in small letters. To some an underscore is a dash.
func (*plan) ClaimsRegexp() string {
	all := "^((" + strings.Join(routes.Claims, "|") + ")(-bin)?$|" + strings.Join(routes.ClaimFamilies, "|") + ")"
	return strings.ReplaceAll(all, "-", "[-_]")
}

// Claims are the names of such headers that a module of nginx removes, for it knows
// whole names only. The one of gRPC has room for about 100, and complains about more: it
// leaves those to themselves that only web servers and their login pages know.
func (*plan) Claims(module string) []string {
	all := slices.Concat(routes.Claims, routes.KnownClaims)
	if module == "grpc" {
		all = slices.DeleteFunc(all, func(name string) bool { return ofWeb.MatchString(name) })
	}
	return all
}

var ofWeb = regexp.MustCompile(`^(x-original-|x-rewrite-|x-method-|x-http-method|x-host|proxy$|eppn|shib-|oidc-|x-webauth-|x-vouch-|x-appengine-|x-ms-|x-arr-|x-azure-|tailscale-|x-impersonate-|x-amzn-|cf-access-|x-auth-request-|x-goog-|x-pomerium-)`)
