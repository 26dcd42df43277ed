package edge

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// TableConfig is what the routes of a Table share.
type TableConfig struct {
	Registry registry.Registry // HTTP services are found in
	// TLS returns the configuration of connections to instances of an HTTP
	// service: it verifies that they may serve it, and shows no certificate of our
	// own. Nil means plaintext.
	TLS func(service string) *tls.Config
	// Dial are the options of connections to gRPC services. They have the registry,
	// the authorities and the logger, and nothing that says who we are.
	Dial []easyops.DialOption
	Zone string
	// Leaving tells whether connections of clients are to end after their next
	// answer; nil means never.
	Leaving func() bool
	Logger  *slog.Logger // nil means slog.Default()

	patience time.Duration   // see patience
	open     *sync.WaitGroup // what holds connections and is not closed yet
}

// Table is the routes of HTTP and gRPC that are in force. It is the
// [easyops.Proxy] of an edge. Its methods may be called concurrently.
type Table struct {
	config  TableConfig
	now     atomic.Pointer[index]
	clients *clients

	mu       sync.Mutex // of Set and Close
	closed   bool
	backends map[backendKey]*backend
	tallies  map[string]*tally // by kind and name of the route

	strays strays
}

// backendKey tells backends apart.
type backendKey struct {
	service string
	timeout time.Duration
}

var _ easyops.Proxy = (*Table)(nil)

// NewTable returns a table without routes.
func NewTable(c TableConfig) *Table {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.open, c.patience = new(sync.WaitGroup), patience
	t := &Table{config: c, backends: map[backendKey]*backend{}, tallies: map[string]*tally{}}
	t.strays.log = c.Logger
	t.clients = newClients(&t.config)
	t.now.Store(newIndex())
	return t
}

// Set puts the routes of a file in force, all at once. What is under way goes on by
// the routes that it began with; connections that no route needs any more are closed
// a while after the last of it has ended. After an error the routes are those of before.
func (t *Table) Set(f *routes.File) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errEnded
	}
	made, err := t.prepare(f)
	if err != nil {
		t.clean()
		return err
	}
	for key, b := range made {
		t.backends[key] = b
	}
	t.now.Store(t.index(f))
	t.clean()
	return nil
}

// prepare makes the backends of a file that there are not yet, and keeps the others.
func (t *Table) prepare(f *routes.File) (map[backendKey]*backend, error) {
	made := map[backendKey]*backend{}
	for _, r := range f.HTTP {
		key := backendKey{r.Service, r.ConnectTimeout}
		if b := t.backends[key]; b != nil && b.keep(true) || made[key] != nil {
			continue
		}
		b, err := newBackend(&t.config, r.Service, r.ConnectTimeout)
		if err != nil {
			return nil, errors.Join(err, endAll(made))
		}
		made[key] = b
	}
	for _, r := range f.GRPC {
		if strings.Contains(r.Service, "*") {
			continue
		}
		if err := t.clients.prepare(r.Service); err != nil {
			return nil, errors.Join(err, endAll(made))
		}
	}
	return made, nil
}

func endAll(backends map[backendKey]*backend) (err error) {
	for _, b := range backends {
		err = errors.Join(err, b.end(true))
	}
	return err
}

// index makes the routes of a file, whose backends there are.
func (t *Table) index(f *routes.File) *index {
	x := newIndex()
	for _, r := range f.HTTP {
		h := newHTTPRoute(r, t.backends[backendKey{r.Service, r.ConnectTimeout}], t.tally("http "+r.Name()), t.config.Logger)
		h.leaving, h.patience = t.config.Leaving, t.config.patience
		x.addHTTP(h)
	}
	for _, r := range f.GRPC {
		x.addGRPC(newGRPCRoute(r, t.clients, t.tally("grpc "+r.Name()), t.config.Logger))
	}
	return x
}

func (t *Table) tally(name string) *tally {
	if t.tallies[name] == nil {
		t.tallies[name] = new(tally)
	}
	return t.tallies[name]
}

// clean lets go of what the routes in force do not need.
func (t *Table) clean() {
	x := t.now.Load()
	needed, counted := map[*backend]bool{}, map[string]bool{}
	for _, r := range x.http {
		needed[r.backend], counted["http "+r.Name()] = true, true
	}
	for _, r := range x.grpc {
		counted["grpc "+r.Name()] = true
	}
	for key, b := range t.backends {
		if !b.keep(needed[b]) {
			delete(t.backends, key)
		}
	}
	for name := range t.tallies {
		if !counted[name] {
			delete(t.tallies, name)
		}
	}
	t.clients.keep(x.names)
}

// Close ends all connections. Requests that come later find no route.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.now.Store(newIndex())
	err := errors.Join(t.clients.close(), endAll(t.backends))
	clear(t.backends)
	t.config.open.Wait() // for what was being closed anyway
	return err
}

// HTTPRoute implements [easyops.Proxy].
func (t *Table) HTTPRoute(r *http.Request) *easyops.Route {
	if refused := refusalOf(r); refused != nil {
		return refused
	}
	read, ok := reading(r.URL.EscapedPath())
	if !ok {
		return crooked
	}
	x, host := t.now.Load(), hostOf(r.Host)
	found := x.findHTTP(host, r.URL.Path)
	if read != r.URL.Path && x.findHTTP(host, read) != found {
		return crooked
	}
	if found == nil {
		t.strays.request(r)
		return nil
	}
	return found.route
}

// GRPCRoute implements [easyops.Proxy].
func (t *Table) GRPCRoute(fullMethod string, md metadata.MD) *easyops.Route {
	to := t.grpcRoute(fullMethod, md)
	if to == nil {
		t.strays.call(fullMethod, md)
	}
	return to
}

func (t *Table) grpcRoute(fullMethod string, md metadata.MD) *easyops.Route {
	service, method, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	if !registry.ValidService(service) || !registry.ValidService(method) || routes.IsReserved(fullMethod) {
		return nil // no method is called that, and what is behind could take it for another path
	}
	host := ""
	if authority := md[":authority"]; len(authority) == 1 {
		if !isHost(authority[0]) {
			return nil
		}
		host = hostOf(authority[0])
	}
	if found := t.now.Load().findGRPC(host, service); found != nil {
		return found.route
	}
	return nil
}

// Routes implements [easyops.Proxy].
func (t *Table) Routes() []*easyops.Route {
	x := t.now.Load()
	all := make([]*easyops.Route, 0, len(x.http)+len(x.grpc))
	for _, r := range x.http {
		all = append(all, r.route)
	}
	for _, r := range x.grpc {
		all = append(all, r.route)
	}
	return all
}
