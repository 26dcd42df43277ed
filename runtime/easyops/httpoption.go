package easyops

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/status"
)

// WithHTTP serves an HTTP handler on the gRPC port. The pattern is one of
// [http.ServeMux]; "/internal/", "/metrics", "/livez" and "/readyz" are taken.
// Without a rule callers must be authenticated; of a standalone server, they must
// have named this machine as the Host. A request lasts no longer than the
// identity of its caller: its context ends, and nothing more is written.
func WithHTTP(pattern string, h http.Handler, access ...auth.Access) ServerOption {
	return withRoute(route{pattern: pattern, handler: h}, access)
}

// WithHTTPService is [WithHTTP] for a service that others find by its name: it is
// listed in the registry, as kind "http", for proxies such as easyops edge. A name
// may be given several times, with other patterns, and may be that of a gRPC service
// too.
func WithHTTPService(name, pattern string, h http.Handler, access ...auth.Access) ServerOption {
	return withRoute(route{service: name, named: true, pattern: pattern, handler: h}, access)
}

func withRoute(r route, access []auth.Access) ServerOption {
	return serverOption(func(c *config) {
		if len(access) > 1 {
			c.fault(fmt.Errorf("%s: %d access rules: pass one at most", r.option(), len(access)))
		}
		if len(access) > 0 {
			r.access = access[0]
		}
		c.routes = append(c.routes, r)
	})
}

// WithProxy passes on what the server has no handler for: requests and calls go to
// the routes of p, by their rules and behind the same way in as those of the server's
// own methods. There is one proxy at most.
func WithProxy(p Proxy) ServerOption {
	return serverOption(func(c *config) {
		switch {
		case p == nil:
			c.fault(errors.New("WithProxy: the proxy is nil"))
		case c.proxy != nil:
			c.fault(errors.New("WithProxy is given twice: a server has one proxy at most"))
		default:
			c.proxy = p
		}
	})
}

// WithPage adds a page of the program's own to the status pages, below /internal/:
// it is guarded, linked on the help page and shown in all forms as the others are. A
// page that says too little of itself, or whose path is taken, is an error at the
// start. [WithoutStatus] leaves it out too.
func WithPage(p status.Page) ServerOption {
	return serverOption(func(c *config) { c.ownPages = append(c.ownPages, p) })
}
