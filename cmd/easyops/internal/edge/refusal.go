package edge

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// The answers to requests that no server behind the edge should see.
var (
	crooked     = refusing(http.StatusBadRequest, "the host, the path or the query of the request can be read in more than one way: write it plainly")
	tracing     = refusing(http.StatusMethodNotAllowed, "what comes is not sent back here: it has headers that pages must not see")
	callLike    = refusing(http.StatusUnsupportedMediaType, "calls of gRPC come by HTTP/2, with a content type of application/grpc: this request could be taken for one that has not been looked at as one")
	connectOnly = refusing(http.StatusBadRequest, "NTLM and Negotiate prove who a connection is of, and behind the edge connections are everybody's")
)

// refusing is a route to nowhere.
func refusing(code int, text string) *easyops.Route {
	return &easyops.Route{
		Name:   "refused",
		Access: auth.Access{Allow: auth.Everyone},
		HTTP:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, code) }),
	}
}

// refusalOf returns the answer to a request that goes by no route whatever its path
// is, and nil for others.
func refusalOf(r *http.Request) *easyops.Route {
	switch {
	case r.Method == http.MethodConnect || r.URL.Opaque != "" || !isHost(r.Host) || !isQuery(r.URL.RawQuery):
		return crooked
	case strings.EqualFold(r.Method, http.MethodTrace):
		return tracing
	case isGRPC(r.Header):
		return callLike
	case slices.ContainsFunc(r.Header[http.CanonicalHeaderKey(auth.UserHeader)], provesConnection):
		return connectOnly
	}
	return nil
}

// isQuery tells whether a query can stand in the first line of a request as it is. By
// HTTP/2 it may come with anything in it.
func isQuery(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
