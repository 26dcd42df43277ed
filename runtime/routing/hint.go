package routing

import "strings"

// hints are what to do about errors of connections that are likely mistakes, by
// a part of their text. The texts are those of grpc-go and crypto/tls, which
// have no values for them.
var hints = []struct{ part, cure string }{
	{"error reading server preface", "the server may expect TLS: set -easyops.tls-ca"},
	{"first record does not look like a TLS handshake", "the server speaks plaintext: give it -easyops.tls-cert and -easyops.tls-key, or leave out -easyops.tls-ca here"},
	{"certificate is valid for", "a server that is found through the registry proves that it may serve a service by a certificate with the service's full name as a DNS name"},
	{"certificate is not valid for any names", "a server that is found through the registry proves that it may serve a service by a certificate with the service's full name as a DNS name"},
	{"certificate signed by unknown authority", "name the authority of its certificate by -easyops.tls-ca"},
}

// hint returns what to do about an error, or nothing.
func hint(err error) string {
	for _, h := range hints {
		if strings.Contains(err.Error(), h.part) {
			return " (" + h.cure + ")"
		}
	}
	return ""
}
