package edge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
	"github.com/go-easyops/easyops/runtime/status"
)

// problems are what is wrong with the edge, for its overview.
func (e *Edge) problems() []status.Problem {
	sources := e.certs.states()
	if e.backends != nil {
		sources = append(sources, e.backends.State())
	}
	d := pageOf(e.State(), e.table.status(), e.ports.status(), e.table.services())
	return append(d.problems(), sourceProblems(sources, time.Now())...)
}

func bad(what, why, at string) status.Problem {
	return status.Problem{Level: "bad", What: what, Why: why, Link: pagePath + at}
}

// problems are those of the routes file, the registry and the services of the routes.
func (d pageData) problems() (all []status.Problem) {
	if d.File.Error != "" {
		first, _, _ := strings.Cut(d.File.Error, "\n")
		all = append(all, bad("routes file", "what it says now is not in force: "+first, ""))
	}
	var unasked []routing.PoolStatus
	for _, s := range d.Services {
		routes := d.leadingTo(s)
		if len(routes) == 0 { // a caller may name any service where a route has a *
			continue
		}
		if s.RegistryError != "" {
			unasked = append(unasked, s)
		}
		if why := nothingServes(s); why != "" {
			all = append(all, bad(s.Service, why+": nothing answers "+strings.Join(routes, ", "), "#routes"))
		}
	}
	if len(unasked) > 0 {
		all = append(all, bad("registry", fmt.Sprintf("it fails for %d of the services that routes lead to, which are as they were known last: %s", len(unasked), unasked[0].RegistryError), "#instances"))
	}
	return all
}

// leadingTo are the routes of the file that lead to a service.
func (d pageData) leadingTo(s routing.PoolStatus) (routes []string) {
	for _, r := range d.Routes {
		if name := r.Kind + " " + r.Route; !r.Former && r.Service == s.Service && r.Kind == string(s.Kind) && !slices.Contains(routes, name) {
			routes = append(routes, name)
		}
	}
	return routes
}

// nothingServes says why a service has no instance that works, as far as that is
// known; empty where one does.
func nothingServes(s routing.PoolStatus) string {
	switch {
	case s.ListedAt.IsZero():
		return ""
	case len(s.Instances) == 0:
		return "the registry lists no instance"
	case slices.ContainsFunc(s.Instances, works):
		return ""
	}
	return fmt.Sprintf("none of its instances works (%d)", len(s.Instances))
}

// works tells whether an instance is one that connections are made to first.
func works(i routing.PoolInstance) bool {
	return i.Health == registry.Ready && i.OutUntil.IsZero() && !i.Lost
}

// sourceProblems are the certificates that cannot be renewed, or have expired.
func sourceProblems(sources []auth.SourceState, now time.Time) (all []status.Problem) {
	for _, s := range sources {
		name := s.Name + " " + s.Where
		if s.Err != nil {
			all = append(all, bad(name, "what is there now is not in force: "+s.Err.Error(), ""))
		}
		if !s.Expires.IsZero() && !s.Expires.After(now) {
			all = append(all, bad(name, "has expired "+ago(s.Expires, now), ""))
		}
	}
	return all
}
