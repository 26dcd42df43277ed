package edge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
	"github.com/go-easyops/easyops/runtime/status"
)

// pagePath is where operators see the routes.
const pagePath = "/internal/edge"

// pageData is the page in JSON.
type pageData struct {
	File     fileStatus           `json:"file"`
	Routes   []RouteStatus        `json:"routes"`   // in the order of the file: http, grpc, tcp
	Services []routing.PoolStatus `json:"services"` // by name and kind
}

type fileStatus struct {
	Path    string    `json:"path"`
	Since   time.Time `json:"since"`           // the routes in force were read
	Error   string    `json:"error,omitempty"` // why what was read later is not in force
	ErrorAt time.Time `json:"error_at,omitzero"`
}

// RouteStatus is how a route is at a moment.
type RouteStatus struct {
	Kind        string    `json:"kind"` // "http", "grpc" or "tcp"
	Route       string    `json:"route"`
	Line        int       `json:"line"` // of the routes file
	Service     string    `json:"service"`
	Access      string    `json:"access,omitempty"` // the rule; none for tcp
	Open        int       `json:"open"`             // requests, calls or connections under way
	Total       uint64    `json:"total"`            // since the route is in force
	Failures    uint64    `json:"failures"`         // that the edge could not pass on
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Former      bool      `json:"former,omitempty"` // not in the file any more: its connections go on
}

// routesPage shows the routes, what they lead to, and how the routes file is.
func routesPage(file func() FileState, table *Table, tcp func() []TCPStatus) status.Page {
	return status.Page{
		Path: pagePath, Group: "This server", Title: "Routes of the edge", Nav: "Routes", Access: status.Operator,
		Help: "Where requests, calls and connections go: the routes in force, the instances behind them, and how the routes file is.",
		Get: func(*status.Request) (status.View, error) {
			return pageOf(file(), table.status(), tcp(), table.services()).view(time.Now()), nil
		},
	}
}

func pageOf(file FileState, routes []RouteStatus, tcp []TCPStatus, services []routing.PoolStatus) pageData {
	d := pageData{File: fileStatus{Path: file.Path, Since: file.Since.UTC()}, Routes: append([]RouteStatus{}, routes...)}
	if file.Err != nil {
		d.File.Error, d.File.ErrorAt = file.Err.Error(), file.ErrAt.UTC()
	}
	pools := slices.Clone(services)
	for _, s := range tcp {
		r := RouteStatus{Kind: "tcp", Route: s.Route.Name(), Line: s.Route.Line, Service: s.Route.Service, Open: s.Open, Total: s.Accepted, Failures: s.Failed, Former: s.Former}
		r.failedBy(s.LastErrorAt, s.LastError)
		d.Routes = append(d.Routes, r)
		pools = append(pools, s.Pool)
	}
	d.Services = merged(pools)
	return d
}

// failedBy notes why something failed the last time.
func (r *RouteStatus) failedBy(at time.Time, err error) {
	if err != nil {
		r.LastError, r.LastErrorAt = err.Error(), at.UTC()
	}
}

// merged returns one status for each service and kind: several pools know the same
// instances.
func merged(pools []routing.PoolStatus) []routing.PoolStatus {
	all := []routing.PoolStatus{}
	slices.SortStableFunc(pools, func(a, b routing.PoolStatus) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	for _, p := range pools {
		if n := len(all); n > 0 && all[n-1].Service == p.Service && all[n-1].Kind == p.Kind {
			all[n-1] = together(all[n-1], p)
			continue
		}
		p.Instances = append([]routing.PoolInstance{}, p.Instances...)
		all = append(all, p)
	}
	return all
}

// together adds what a second pool has to do to a first one.
func together(a, b routing.PoolStatus) routing.PoolStatus {
	for _, i := range b.Instances {
		n := slices.IndexFunc(a.Instances, func(o routing.PoolInstance) bool { return o.ID == i.ID && o.Addr == i.Addr })
		if n < 0 {
			a.Instances = append(a.Instances, i)
			continue
		}
		same := &a.Instances[n]
		same.InUse, same.Picks, same.Failures = same.InUse+i.InUse, same.Picks+i.Picks, same.Failures+i.Failures
		same.LastError = cmp.Or(same.LastError, i.LastError)
	}
	a.LastError = cmp.Or(a.LastError, b.LastError)
	return a
}

// status returns how the routes of HTTP and gRPC are.
func (t *Table) status() (all []RouteStatus) {
	x := t.now.Load()
	for _, r := range x.http {
		all = append(all, r.tally.status(RouteStatus{Kind: "http", Route: r.Name(), Line: r.Line, Service: r.Service, Access: r.Access.String()}))
	}
	for _, r := range x.grpc {
		all = append(all, r.tally.status(RouteStatus{Kind: "grpc", Route: r.Name(), Line: r.Line, Service: r.Service, Access: r.Access.String()}))
	}
	return append(all, t.strays.status()...)
}

func (t *tally) status(s RouteStatus) RouteStatus {
	s.Open, s.Total, s.Failures = int(t.open.Load()), t.all.Load(), t.failures.Load()
	s.failedBy(t.lastFailure())
	return s
}

// services returns what is known of the services that there are connections to.
func (t *Table) services() (all []routing.PoolStatus) {
	t.mu.Lock()
	for _, b := range t.backends {
		all = append(all, b.pool.Status())
	}
	t.mu.Unlock()
	return append(all, t.clients.status()...)
}

func (d pageData) view(now time.Time) status.View {
	body := []status.Block{d.File.pairs(now)}
	if d.File.Error != "" {
		body = append(body, status.Code(d.File.Error))
	}
	body = append(body, d.routes())
	if failures := d.failures(now); len(failures.Rows) > 0 {
		body = append(body, status.Section{ID: "failures", Title: "What failed last", Body: []status.Block{failures}})
	}
	return status.View{Data: d, Body: append(body, d.services()), Live: true}
}

func (f fileStatus) pairs(now time.Time) status.KV {
	kv := status.KV{
		{Name: "Routes file", Value: status.Name(f.Path)},
		{Name: "In force", Value: status.Str("as read " + ago(f.Since, now))},
	}
	if f.Error != "" {
		kv = append(kv, status.Pair{Name: "Not in force", Value: status.Cell{Text: "what was found " + ago(f.ErrorAt, now), Tone: status.Bad}})
	}
	return kv
}

func (d pageData) routes() status.Section {
	t := status.Table{
		Columns: []string{"Kind", "Route", "Service", "For", "Served by", "Under way", "Total", "Failures"},
		Empty:   "There are no routes.",
	}
	for _, r := range d.Routes {
		t.Rows = append(t.Rows, []status.Cell{
			status.Str(r.Kind), r.name(), status.Name(r.Service), status.Str(r.Access), d.servedBy(r),
			status.Str(fmt.Sprint(r.Open)), status.Str(fmt.Sprint(r.Total)), status.Str(fmt.Sprint(r.Failures)),
		})
	}
	return status.Section{ID: "routes", Title: "Routes", Body: []status.Block{t}}
}

func (r RouteStatus) name() status.Cell {
	if r.Route == noRoute {
		return status.Cell{Text: noRoute, Tone: status.Muted}
	}
	if r.Former {
		return status.Cell{Text: r.Route + " (gone from the file)", Tone: status.Muted}
	}
	return status.Name(r.Route)
}

// failures are the last ones of each route.
func (d pageData) failures(now time.Time) status.Table {
	t := status.Table{Columns: []string{"Kind", "Route", "When", "Why"}, Wide: 4}
	for _, r := range d.Routes {
		if r.LastError != "" {
			t.Rows = append(t.Rows, []status.Cell{status.Str(r.Kind), r.name(), status.Str(ago(r.LastErrorAt, now)), status.Str(r.LastError)})
		}
	}
	return t
}

// servedBy says in few words whether a route leads anywhere.
func (d pageData) servedBy(r RouteStatus) status.Cell {
	if r.Route == noRoute {
		return status.Str("")
	}
	if strings.Contains(r.Service, "*") {
		return status.Cell{Text: "as the call says", Tone: status.Muted}
	}
	for _, s := range d.Services {
		if s.Service == r.Service && string(s.Kind) == r.Kind {
			return summary(s)
		}
	}
	return status.Cell{Text: "not known yet", Tone: status.Muted}
}

func summary(s routing.PoolStatus) status.Cell {
	ready := 0
	for _, i := range s.Instances {
		if i.Health == registry.Ready && i.OutUntil.IsZero() && !i.Lost {
			ready++
		}
	}
	switch text := fmt.Sprintf("%d of %d instances", ready, len(s.Instances)); {
	case s.RegistryError != "":
		return status.Cell{Text: text + ", and the registry fails", Tone: status.Warn}
	case s.ListedAt.IsZero():
		return status.Cell{Text: "not known yet", Tone: status.Muted}
	case len(s.Instances) == 0:
		return status.Cell{Text: "no instance", Tone: status.Bad}
	case ready == 0:
		return status.Cell{Text: text, Tone: status.Bad}
	case ready < len(s.Instances):
		return status.Cell{Text: text, Tone: status.Warn}
	default:
		return status.Cell{Text: text, Tone: status.Good}
	}
}

func (d pageData) services() status.Section {
	t := status.Table{
		Columns: []string{"Service", "Kind", "Instance", "Address", "Health", "Under way", "Chosen", "Failures", "Last error"},
		Wide:    9, Empty: "Nothing is known of any instance.",
	}
	for _, s := range d.Services {
		for _, i := range s.Instances {
			t.Rows = append(t.Rows, []status.Cell{
				status.Name(s.Service), status.Str(string(s.Kind)), status.Name(i.ID), status.Name(i.Addr), health(i),
				used(s, uint64(i.InUse)), used(s, i.Picks), used(s, i.Failures), lastError(s, i),
			})
		}
	}
	return status.Section{ID: "instances", Title: "Instances", Body: []status.Block{t}}
}

// used is a figure that pools know of all but gRPC, which chooses by itself.
func used(s routing.PoolStatus, n uint64) status.Cell {
	if s.Kind == registry.KindGRPC {
		return status.Cell{Text: "–", Tone: status.Muted}
	}
	return status.Str(fmt.Sprint(n))
}

// lastError is why an instance could not be reached; for gRPC it is where the figures
// are that pools do not know.
func lastError(s routing.PoolStatus, i routing.PoolInstance) status.Cell {
	if s.Kind == registry.KindGRPC {
		return status.Link("/internal/service-info/grpc-connections", "see Connections")
	}
	return status.Str(i.LastError)
}

func health(i routing.PoolInstance) status.Cell {
	switch {
	case i.Lost:
		return status.Cell{Text: "not listed any more", Tone: status.Warn}
	case !i.OutUntil.IsZero():
		return status.Cell{Text: string(i.Health) + ", left out", Tone: status.Bad}
	case i.Health == registry.Ready:
		return status.Cell{Text: string(i.Health), Tone: status.Good}
	}
	return status.Cell{Text: string(i.Health), Tone: status.Warn}
}

// ago is how long ago something was, for people.
func ago(at, now time.Time) string {
	d := now.Sub(at)
	switch {
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}
