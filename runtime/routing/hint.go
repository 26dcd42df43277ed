package routing

import (
	"strconv"
	"strings"
	"unicode"
)

// hints are what to do about errors of connections that are likely mistakes, by
// a part of their text. The texts are those of grpc-go and crypto/tls, which
// have no values for them.
var hints = []struct{ part, cure string }{
	{"remote error: tls: unknown certificate authority", refused},
	{"remote error: tls: bad certificate", refused},
	{"remote error: tls: expired certificate", refused},
	{"remote error: tls: certificate required", "the server takes only clients with a certificate: set -easyops.tls-cert and -easyops.tls-key"},
	{"first record does not look like a TLS handshake", "the server speaks plaintext: give it -easyops.tls-cert and -easyops.tls-key, or leave out -easyops.tls-ca here"},
	{"certificate is valid for", "a server that is found through the registry proves that it may serve a service by a certificate with the service's full name as a DNS name"},
	{"certificate is not valid for any names", "a server that is found through the registry proves that it may serve a service by a certificate with the service's full name as a DNS name"},
	{"certificate signed by unknown authority", "name the authority of its certificate by -easyops.tls-ca"},
}

const refused = "the server refuses our certificate, -easyops.tls-cert: it must be one for clients that is valid now, by an authority of the server's -easyops.tls-ca"

// wantsTLS is for a server that hangs up on what it is sent at first, or answers
// with a record of TLS.
const wantsTLS = "the server may expect TLS: set -easyops.tls-ca"

// hungUp tells whether a server ended a connection by itself before it sent
// anything that is HTTP/2. One that is silent, or that we gave up, did not.
func hungUp(cause string) bool {
	_, why, ok := strings.Cut(cause, "error reading server preface: ")
	return ok && (why == "EOF" || strings.HasSuffix(why, "connection reset by peer") || strings.Contains(why, "http2: frame too large"))
}

// explain returns the text of an error of a connection with what to do about it.
// Who has been reached before is not said to be one of a mistake that would have
// kept it from that: its process may have ended.
func explain(err error, reached bool) string {
	cause := causeOf(err)
	if hungUp(cause) && !reached {
		return cause + " (" + wantsTLS + ")"
	}
	return cause + hint(cause)
}

// hint returns what to do about an error of a connection, or nothing.
func hint(cause string) string {
	for _, h := range hints {
		if strings.Contains(cause, h.part) {
			return " (" + h.cure + ")"
		}
	}
	return ""
}

// maxCause bounds the text of an error, of which the server chooses a part: the
// names in its certificate.
const maxCause = 256 // bytes

// causeOf returns the text of an error of a connection without what grpc-go
// puts around each.
func causeOf(err error) string {
	text := err.Error()
	if quoted, ok := strings.CutPrefix(text, "connection error: desc = "); ok {
		if plain, err := strconv.Unquote(quoted); err == nil {
			text = plain
		}
	}
	text = strings.TrimPrefix(text, "transport: ")
	text = strings.TrimPrefix(text, "authentication handshake failed: ")
	if len(text) > maxCause {
		text = strings.ToValidUTF8(text[:maxCause], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
