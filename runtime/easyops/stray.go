package easyops

import (
	"net/http"
	"strings"
)

// strays answers requests to paths like those of gRPC's methods that are no calls
// of gRPC. What is wrong with them is for those who may call the method: nobody
// learns from the answer which methods there are.
type strays struct {
	methods map[string]http.Handler
	unknown http.Handler
}

// newStrays makes the handlers for the methods that are registered, and takes
// another for what is none.
func (s *Server) newStrays(other http.Handler) *strays {
	all := &strays{
		methods: make(map[string]http.Handler, len(s.methods)),
		unknown: s.handlerOf(route{pattern: s.unknown.name, handler: other}, nil),
	}
	for name, m := range s.methods { // grpc-go says what is wrong: 405, 415 or 505
		all.methods[name] = s.handlerOf(route{pattern: name, handler: s.grpcHTTP, access: m.access}, nil)
	}
	return all
}

func (all *strays) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := all.methods[strings.TrimPrefix(r.RequestURI, "/")]; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	all.unknown.ServeHTTP(w, r)
}

// has tells whether a request is to the path of a method that is registered.
func (all *strays) has(r *http.Request) bool {
	return all.methods[strings.TrimPrefix(r.URL.Path, "/")] != nil
}

// isStray tells whether the path of a request is like that of a method, as in
// /package.Service/Method.
func isStray(r *http.Request) bool {
	name, ok := strings.CutPrefix(r.RequestURI, "/")
	service, method, _ := strings.Cut(name, "/")
	return ok && service != "" && method != "" && !strings.ContainsAny(name, "?#") && !strings.Contains(method, "/")
}
