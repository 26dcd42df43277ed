package routes

import "strings"

// Claims are headers by which proxies tell what they know of a request, such as who
// sends it, and some of the servers behind them believe, in small letters. From a
// client they are a claim that nobody has looked at, so none of them gets through,
// neither of HTTP nor in the metadata of gRPC. ClaimFamilies are the beginnings of others.
// Both are to be read only.
//
// The token in "authorization" is another matter: it is a proof.
var (
	Claims = strings.Fields(`
		forwarded via true-client-ip fastly-client-ip client-ip client-cert client-cert-chain proxy
		x-real-ip x-client-ip x-cluster-client-ip x-azure-clientip x-azure-socketip x-host
		x-original-url x-original-uri x-original-host x-original-method x-original-forwarded-for x-rewrite-url
		x-email x-groups x-principal x-identity x-credential-identifier eppn x-method-override`)
	ClaimFamilies = strings.Fields(`
		easyops- x-easyops- x-forwarded x-envoy- x-spiffe- proxy-
		x-auth- x-authenticated- x-webauth- x-remote- remote- x-user x-impersonate- x-consumer-
		x-ssl- ssl-client- x-tls- tls-client- x-client-cert x-clientcert x-client-dn x-client-verify x-client-subject x-arr-client
		cf-access- cf-connecting- x-pomerium- x-vouch- oidc- shib- tailscale-user-
		x-goog-authenticated- x-goog-iap- x-appengine- x-ms-client-principal x-amzn-oidc- x-amzn-mtls- x-http-method`)
)

// KnownClaims are those of the families that are known, for who looks headers up by
// their whole names.
var KnownClaims = strings.Fields(`
	easyops-service-authorization
	x-forwarded x-forwarded-client-cert x-forwarded-email x-forwarded-groups x-forwarded-access-token x-forwarded-port x-forwarded-prefix
	x-forwarded-preferred-username x-forwarded-scheme x-forwarded-server x-forwarded-ssl x-forwarded-uri x-forwarded-user
	x-envoy-external-address x-envoy-internal x-envoy-original-path x-spiffe-id proxy-authorization proxy-connection
	x-auth-email x-auth-groups x-auth-token x-auth-user x-auth-username x-auth-request-access-token x-auth-request-email
	x-auth-request-groups x-auth-request-preferred-username x-auth-request-user
	x-authenticated-user x-authenticated-userid x-authenticated-email x-authenticated-groups x-authenticated-scope
	x-webauth-user x-webauth-name x-webauth-email x-webauth-groups x-webauth-role
	x-remote-user x-remote-group x-remote-groups x-remote-ip x-remote-addr x-remote-email remote-user remote-name remote-groups remote-email
	x-user x-user-id x-user-name x-user-email x-user-groups x-user-role x-user-roles x-userinfo x-username
	x-impersonate-user x-impersonate-group x-consumer-id x-consumer-custom-id x-consumer-username x-consumer-groups
	x-ssl-cert x-ssl-client-cert x-ssl-client-dn x-ssl-client-s-dn x-ssl-client-verify ssl-client-cert ssl-client-dn ssl-client-s-dn ssl-client-verify
	x-tls-client-cert x-tls-client-dn x-tls-client-subject tls-client-cert
	x-client-cert x-client-dn x-client-verify x-clientcert-subject x-arr-clientcert
	cf-access-authenticated-user-email cf-access-jwt-assertion cf-access-client-id cf-connecting-ip cf-connecting-ipv6
	x-pomerium-jwt-assertion x-pomerium-claim-email x-pomerium-claim-groups x-pomerium-claim-sub x-vouch-user
	oidc-claim-sub oidc-claim-email oidc-claim-groups oidc-claim-preferred-username oidc-access-token oidc-id-token
	shib-identity-provider shib-session-id tailscale-user-login tailscale-user-name
	x-goog-authenticated-user-email x-goog-authenticated-user-id x-goog-iap-jwt-assertion x-appengine-user-email x-appengine-user-id
	x-ms-client-principal x-ms-client-principal-id x-ms-client-principal-name
	x-amzn-oidc-accesstoken x-amzn-oidc-data x-amzn-oidc-identity x-amzn-mtls-clientcert x-amzn-mtls-clientcert-subject
	x-http-method x-http-method-override`)

// claims are Claims, to look up.
var claims = func() map[string]bool {
	all := map[string]bool{}
	for _, name := range Claims {
		all[name] = true
	}
	return all
}()

// maxClaim is how long the longest of Claims and ClaimFamilies is, with binary behind.
const maxClaim = 32

// binary is what names of metadata end with whose values are binary.
const binary = "-bin"

// IsClaim tells whether a header, however its letters and dashes are written, is one
// of the Claims or of their families. To CGI and its like an underscore is a dash.
func IsClaim(name string) bool {
	var plain [maxClaim]byte
	n := min(len(name), maxClaim)
	for i := range n {
		plain[i] = plainByte(name[i])
	}
	whole := strings.TrimSuffix(string(plain[:n]), binary)
	if len(name) == n && claims[whole] {
		return true
	}
	for _, family := range ClaimFamilies {
		if strings.HasPrefix(whole, family) {
			return true
		}
	}
	return false
}

// plainByte returns a byte of a name in small letters, and a dash for an underscore.
func plainByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
}
