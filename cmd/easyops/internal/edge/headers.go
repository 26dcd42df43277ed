package edge

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/go-easyops/easyops/runtime/auth"
)

// Headers by which proxies tell what they know of a request, and some of the servers
// behind them believe. From a client they are a claim that nobody has looked at, so
// none of them gets through: neither of HTTP nor in the metadata of gRPC.
//
// The token in "authorization" is another matter: the edge has verified it, or the
// route leaves that to what is behind.
var claims = map[string]bool{
	"forwarded":                true,
	"via":                      true,
	"x-real-ip":                true,
	"x-client-ip":              true,
	"x-client-cert":            true,
	"x-cluster-client-ip":      true,
	"x-original-url":           true,
	"x-original-uri":           true,
	"x-original-host":          true,
	"x-original-method":        true,
	"x-original-forwarded-for": true,
	"x-rewrite-url":            true,
	"x-host":                   true,
	"x-remote-user":            true,
	"x-remote-ip":              true,
	"x-remote-addr":            true,
	"x-user":                   true,
	"x-user-id":                true,
	"x-email":                  true,
	"x-groups":                 true,
	"x-webauth-user":           true,
	"x-authenticated-user":     true,
	"x-authenticated-userid":   true,
	"remote-user":              true,
	"remote-groups":            true,
	"remote-email":             true,
	"true-client-ip":           true,
	"cf-connecting-ip":         true,
	"fastly-client-ip":         true,
	"client-ip":                true,
	"client-cert":              true, // RFC 9440
	"client-cert-chain":        true,
	"proxy":                    true, // to CGI it is HTTP_PROXY
}

// claimFamilies are the beginnings of others of them.
var claimFamilies = []string{
	"easyops-", "x-easyops-", "x-forwarded", "x-auth-", "x-ssl-", "x-envoy-", "x-goog-authenticated-", "x-goog-iap-",
	"x-ms-client-principal", "x-amzn-oidc-", "x-amzn-mtls-", "tailscale-user-", "ssl-client-", "x-client-verify", "x-spiffe-", "proxy-",
}

// maxClaim is how long the longest of those names is.
const maxClaim = 32

// isClaim tells whether a header, however its letters and dashes are written, is one
// of those. To CGI and its like an underscore is a dash.
func isClaim(name string) bool {
	var plain [maxClaim]byte
	n := min(len(name), maxClaim)
	for i := range n {
		plain[i] = plainByte(name[i])
	}
	if len(name) == n && claims[string(plain[:n])] {
		return true
	}
	for _, family := range claimFamilies {
		if n >= len(family) && string(plain[:len(family)]) == family {
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

// isDisguised tells whether a name could be taken for that of another header: of those
// with a meaning to proxies none has an underscore.
func isDisguised(name string) bool {
	if !strings.Contains(name, "_") {
		return false
	}
	switch strings.ReplaceAll(strings.ToLower(name), "_", "-") {
	case auth.UserHeader, "content-length", "transfer-encoding", "host", "connection", "upgrade":
		return true
	}
	return false
}

// passOn takes out of a request what only a claim is, and tells what the edge knows.
// in is the request as it came.
func passOn(out http.Header, in *http.Request) {
	for name := range out {
		if isClaim(name) || isDisguised(name) {
			delete(out, name)
		}
	}
	if host, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
		out.Set("X-Forwarded-For", host)
	}
	out.Set("X-Forwarded-Host", in.Host)
	out.Set("X-Forwarded-Proto", protoOf(in.TLS))
	out.Set("Via", viaOf(in.ProtoMajor, in.ProtoMinor))
}

func protoOf(state *tls.ConnectionState) string {
	if state != nil {
		return "https"
	}
	return "http"
}

// viaOf is what RFC 9110, 7.6.3, has a gateway say: the version of the protocol that
// the request came by, and who it is.
func viaOf(major, minor int) string {
	if major == 2 {
		return "2.0 " + pseudonym
	}
	if minor == 0 {
		return "1.0 " + pseudonym
	}
	return "1.1 " + pseudonym
}

const pseudonym = "easyops-edge"

// passTrailers leaves of the trailers of a request what may pass.
func passTrailers(out, in http.Header) {
	for name, values := range in {
		if !isClaim(name) && !isDisguised(name) && !strings.EqualFold(name, auth.UserHeader) {
			out[name] = values
		}
	}
}

// hopByHop are the metadata that are of one connection or one server, not of the call.
// Those of gRPC itself, such as grpc-timeout, it makes anew.
var hopByHop = map[string]bool{
	"connection": true, "keep-alive": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true,
	"host": true, "content-type": true, "content-length": true, "user-agent": true, "accept-encoding": true,
	"grpc-accept-encoding": true, "grpc-encoding": true, "grpc-timeout": true,
}

// caller is what the edge knows of the sender of a call.
type caller struct {
	addr net.Addr
	tls  bool
}

// metadataFor returns the metadata of a call as it goes on to a service.
func metadataFor(in metadata.MD, from caller) metadata.MD {
	out := make(metadata.MD, len(in)+4)
	for name, values := range in {
		if !strings.HasPrefix(name, ":") && !hopByHop[name] && !isClaim(name) && !isDisguised(name) {
			out[name] = values
		}
	}
	if from.addr != nil {
		if host, _, err := net.SplitHostPort(from.addr.String()); err == nil {
			out.Set("x-forwarded-for", host)
		}
	}
	if authority := in[":authority"]; len(authority) == 1 {
		out.Set("x-forwarded-host", authority[0])
	}
	proto := "http"
	if from.tls {
		proto = "https"
	}
	out.Set("x-forwarded-proto", proto)
	out.Set("via", "2.0 "+pseudonym)
	return out
}
