package edge

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"unicode"

	"google.golang.org/grpc/metadata"
)

// strays are the requests and calls that no route is for.
type strays struct {
	log        *slog.Logger
	http, grpc tally
}

var errNoRoute = errors.New("no route is for it")

func (s *strays) request(r *http.Request) {
	s.http.all.Add(1)
	s.http.fail(s.log, "requests without a route", errNoRoute, "host", cleaned(r.Host), "path", cleaned(r.URL.Path))
}

func (s *strays) call(method string, md metadata.MD) {
	s.grpc.all.Add(1)
	s.grpc.fail(s.log, "calls without a route", errNoRoute, "host", cleaned(strings.Join(md[":authority"], " ")), "path", cleaned(method))
}

// status returns a row for each kind of which there were any.
func (s *strays) status() (all []RouteStatus) {
	for _, of := range []struct {
		kind, service string
		*tally
	}{{"http", "answered 404", &s.http}, {"grpc", "answered UNIMPLEMENTED", &s.grpc}} {
		if n := of.all.Load(); n > 0 {
			all = append(all, RouteStatus{Kind: of.kind, Route: noRoute, Service: of.service, Total: n})
		}
	}
	return all
}

// noRoute stands in the place of a route.
const noRoute = "no route"

// cleaned makes what a caller sent fit for a log: printable, and not long.
func cleaned(s string) string {
	const most = 200
	clean, n := strings.Builder{}, 0
	for _, r := range s {
		if n++; n > most {
			clean.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			r = '?'
		}
		clean.WriteRune(r)
	}
	return clean.String()
}
