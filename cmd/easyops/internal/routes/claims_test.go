package routes

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestClaims(t *testing.T) {
	for _, name := range slices.Concat(Claims, KnownClaims) {
		for _, spelling := range []string{name, http.CanonicalHeaderKey(name), strings.ToUpper(strings.ReplaceAll(name, "-", "_")), name + "-bin", name + "_Bin"} {
			if !IsClaim(spelling) {
				t.Errorf("%s passes", spelling)
			}
		}
	}
	for _, name := range ClaimFamilies {
		if len(name) > maxClaim || !IsClaim(name+"x") || !IsClaim(http.CanonicalHeaderKey(name+"some-thing-that-is-longer-than-all-of-them")) {
			t.Errorf("%s… passes", name)
		}
	}
	for _, name := range Claims {
		if len(name+binary) > maxClaim {
			t.Errorf("%s is longer than what is looked at", name)
		}
	}
	for _, name := range []string{"X-Webauth-Groups", "X-Authenticated-Groups", "Cf-Access-Jwt-Assertion", "X-Pomerium-Claim-Email", "X-Consumer-Custom-Id", "Oidc_claim_sub", "Shib-Session-Index", "X-Impersonate-Extra-Scopes", "X-Groups-Bin"} {
		if !IsClaim(name) {
			t.Errorf("%s passes", name)
		}
	}
	for _, name := range []string{
		"accept", "authorization", "cookie", "x-own", "x", "", "x-request-id", "traceparent", "x-requested-with", "user-agent", "content-type", "origin", "viaduct", "x-csrf-token",
		"x-api-key", "x-access-token", "trace-bin", "-bin", "via-binary", "x-client-data", "idempotency-key",
	} {
		if IsClaim(name) {
			t.Errorf("%s does not pass", name)
		}
	}
	if n := testing.AllocsPerRun(100, func() { IsClaim("X-Forwarded_For"); IsClaim("Accept-Language") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
