package edge

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/auth"
)

// isDisguised tells whether a name could be taken for that of another header: of those
// with a meaning to proxies none has an underscore.
func isDisguised(name string) bool {
	if !strings.Contains(name, "_") {
		return false
	}
	switch strings.ReplaceAll(strings.ToLower(name), "_", "-") {
	case auth.UserHeader, "content-length", "content-type", "transfer-encoding", "host", "connection", "upgrade":
		return true
	}
	return false
}

// passOn takes out of a request what only a claim is, and tells what the edge knows.
// in is the request as it came.
func passOn(out http.Header, in *http.Request) {
	for name := range out {
		if routes.IsClaim(name) || isDisguised(name) {
			delete(out, name)
		}
	}
	if host, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
		out.Set("X-Forwarded-For", host)
	}
	passUpgrade(out, in)
	out.Set("X-Forwarded-Host", in.Host)
	out.Set("X-Forwarded-Proto", protoOf(in.TLS))
	out.Set("Via", viaOf(in.ProtoMajor, in.ProtoMinor))
}

// passUpgrade leaves a request what makes it a WebSocket, and nothing that would have
// it become another protocol: by h2c all that follows, to whatever path, would be
// looked at by nobody. Servers answer such requests as if it had not been asked for.
func passUpgrade(out http.Header, in *http.Request) {
	out.Del("HTTP2-Settings")
	if !isWebSocket(in) {
		out.Del("Upgrade")
		out.Del("Connection")
	}
}

// isWebSocket tells whether a request is to become a WebSocket, and nothing else.
func isWebSocket(r *http.Request) bool {
	to := r.Header["Upgrade"]
	return r.Method == http.MethodGet && len(to) == 1 && strings.EqualFold(strings.TrimSpace(to[0]), "websocket")
}

// isGRPC tells whether a request could be taken for a call by what it is sent on to.
func isGRPC(h http.Header) bool {
	const beginning = "application/grpc"
	for _, value := range h["Content-Type"] {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); len(part) >= len(beginning) && strings.EqualFold(part[:len(beginning)], beginning) {
				return true
			}
		}
	}
	return false
}

// provesConnection tells whether a value of Authorization, or a challenge for one, is of
// a scheme that proves once who is at the other end of a connection, for all requests
// that follow. Behind a proxy these are of others.
func provesConnection(value string) bool {
	scheme, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	return strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate")
}

// passChallenges takes out of an answer the challenges to prove such things.
func passChallenges(h http.Header) {
	const name = "Www-Authenticate"
	var left []string
	for _, value := range h[name] {
		challenges := slices.DeleteFunc(strings.Split(value, ","), provesConnection)
		if len(challenges) > 0 {
			left = append(left, strings.TrimSpace(strings.Join(challenges, ",")))
		}
	}
	if delete(h, name); len(left) > 0 {
		h[name] = left
	}
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
		if !routes.IsClaim(name) && !isDisguised(name) && !strings.EqualFold(name, auth.UserHeader) {
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
		if !strings.HasPrefix(name, ":") && !hopByHop[name] && !routes.IsClaim(name) && !isDisguised(name) {
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
