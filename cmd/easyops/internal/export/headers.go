package export

import "strings"

// claims are headers by which proxies tell who calls or where a request came from,
// and families are the beginnings of others. From a client they are worth nothing.
// They are those that easyops edge takes out.
var (
	claims = words(`
		forwarded via x-real-ip x-client-ip x-client-cert x-cluster-client-ip true-client-ip cf-connecting-ip fastly-client-ip client-ip
		x-original-url x-original-uri x-original-host x-original-method x-original-forwarded-for x-rewrite-url x-host
		x-remote-user x-remote-ip x-remote-addr x-user x-user-id x-email x-groups x-webauth-user x-authenticated-user x-authenticated-userid
		remote-user remote-groups remote-email client-cert client-cert-chain proxy`)
	families = words(`
		easyops- x-easyops- x-forwarded x-auth- x-ssl- x-envoy- x-goog-authenticated- x-goog-iap- x-ms-client-principal x-amzn-oidc-
		x-amzn-mtls- tailscale-user- ssl-client- x-client-verify x-spiffe- proxy-`)
	// known are the ones of the families that are known: nginx removes headers by
	// their names only.
	known = words(`
		easyops-service-authorization
		x-forwarded x-forwarded-client-cert x-forwarded-email x-forwarded-groups x-forwarded-access-token x-forwarded-port x-forwarded-prefix
		x-forwarded-preferred-username x-forwarded-scheme x-forwarded-server x-forwarded-ssl x-forwarded-uri x-forwarded-user
		x-auth-email x-auth-groups x-auth-token x-auth-user x-auth-username x-auth-request-access-token x-auth-request-email
		x-auth-request-groups x-auth-request-preferred-username x-auth-request-user
		x-ssl-cert x-ssl-client-cert x-ssl-client-dn x-ssl-client-s-dn x-ssl-client-verify ssl-client-cert ssl-client-dn ssl-client-verify
		x-client-verify x-envoy-external-address x-envoy-internal x-envoy-original-path x-goog-authenticated-user-email
		x-goog-authenticated-user-id x-goog-iap-jwt-assertion x-ms-client-principal x-ms-client-principal-id x-ms-client-principal-name
		x-amzn-oidc-accesstoken x-amzn-oidc-data x-amzn-oidc-identity x-amzn-mtls-clientcert x-amzn-mtls-clientcert-subject
		tailscale-user-login tailscale-user-name x-spiffe-id proxy-authorization proxy-connection`)
)

func words(s string) []string { return strings.Fields(s) }

// ClaimsRegexp fits the names of claims, for HAProxy, which has them in small
// letters. To some an underscore is a dash.
func (*plan) ClaimsRegexp() string {
	all := "^(" + strings.Join(claims, "$|") + "$|" + strings.Join(families, "|") + ")"
	return strings.ReplaceAll(all, "-", "[-_]")
}

// Claims are the names of claims that nginx removes.
func (*plan) Claims() []string { return append(append([]string{}, claims...), known...) }
