package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// pageTimeout is how long a response may take to be written. Profiles set
// their own.
const pageTimeout = 30 * time.Second

// Authorizer decides whether a request comes from somebody who may see a
// page, and gives the caller a name for the audit line. Its error is shown to
// the caller: an [*Error] with its code, any other as 403. It may be called
// concurrently.
type Authorizer func(*http.Request) (who string, err error)

// Anyone lets everybody in.
func Anyone(*http.Request) (string, error) { return "", nil }

// Config is what the pages need to know about their server.
type Config struct {
	// Name is what the pages call the server, such as its first service.
	Name string
	// Logger gets the faults of pages. Nil discards.
	Logger *slog.Logger
	// Audit gets the audit lines. Its level must let INFO through, whatever
	// is left out elsewhere: who turns the level up must not go unseen. Nil
	// means Logger.
	Audit *slog.Logger
	// Operator says who is an operator. It must be set: see
	// [LocalOperator] and [NobodyOperator].
	Operator Authorizer
	// Metrics says who may read the metrics: nil means operators, [Anyone]
	// everyone.
	Metrics Authorizer
	// MetricsFor names them on the help page: "operator" where it is empty.
	MetricsFor string
	// Hosts are the names under which operators reach the server, without
	// ports, beside localhost and its own addresses. Requests for other
	// names are refused, so that a web site cannot point its own name here.
	Hosts []string
	// GRPCAddr is where example commands send their calls, where that is
	// another address than that of the pages.
	GRPCAddr string
	// Tokens and Certificates say by what callers may be known, for commands
	// to copy and for browsers that are nobody.
	Tokens, Certificates bool
	// Identity says how callers are authenticated, for the help page. Nil
	// leaves that out. It may be called concurrently.
	Identity func() Identity
	// Registry says what the registry has of the server, for the help page.
	// Nil leaves that out. It may be called concurrently, and must not wait.
	Registry func() Registry
}

// Pages is the status API of one server. Its methods may be called
// concurrently.
type Pages struct {
	cfg    Config
	hosts  map[string]bool
	origin *http.CrossOriginProtection
	all    *http.ServeMux
	probes *http.ServeMux

	mu    sync.RWMutex
	pages []*Page

	services  atomic.Pointer[func() []Service]
	health    atomic.Pointer[func(context.Context) Health]
	profiling atomic.Bool
	refused   struct{ known, unknown refusals } // lines of callers with and without an identity
	actions   actions
	info      atomic.Pointer[Info]
}

// New makes the status API with its help page and nothing else.
func New(cfg Config) (*Pages, error) {
	if cfg.Operator == nil {
		return nil, errors.New("status pages: nobody decides who is operator: set Config.Operator")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Audit = cmp.Or(cfg.Audit, cfg.Logger)
	cfg.Operator = once(direct(cfg.Operator))
	if cfg.Metrics == nil {
		cfg.Metrics = cfg.Operator
	}
	cfg.Name = cmp.Or(cfg.Name, "server")
	cfg.MetricsFor = cmp.Or(cfg.MetricsFor, Operator.String())
	p := &Pages{
		cfg: cfg, hosts: make(map[string]bool), origin: http.NewCrossOriginProtection(),
		all: http.NewServeMux(), probes: http.NewServeMux(),
	}
	for _, h := range cfg.Hosts {
		p.hosts[canonicalHost(h)] = true
	}
	p.all.HandleFunc("/", p.notFound)
	p.probes.HandleFunc("/", p.notHere)
	return p, p.handleAll(p.helpPages())
}

// Handle registers a page, links and describes it on the help page, and
// protects it. A page that says too little about itself, or whose path is
// taken, is an error.
func (p *Pages) Handle(page Page) error {
	if err := page.check(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pg := &page
	if err := handle(p.all, pg, p.serve); err != nil {
		return err
	}
	if pg.Probe {
		if err := handle(p.probes, pg, p.serve); err != nil {
			return err
		}
	}
	p.pages = append(p.pages, pg)
	return nil
}

// handle turns ServeMux's panic about a taken or malformed path into an error.
func handle(mux *http.ServeMux, pg *Page, serve func(http.ResponseWriter, *http.Request, *Page)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("status page %q: %v", pg.Path, r)
		}
	}()
	mux.HandleFunc(pg.pattern(), func(w http.ResponseWriter, r *http.Request) { serve(w, r, pg) })
	return nil
}

func (p *Pages) handleAll(pages []Page) error {
	var errs []error
	for _, pg := range pages {
		errs = append(errs, p.Handle(pg))
	}
	return errors.Join(errs...)
}

// Handler serves every page. The server routes to it what [Reserved] names.
func (p *Pages) Handler() http.Handler { return p.handler(p.all) }

// ProbesHandler serves the probes alone: for the gRPC port where the pages
// have an address of their own, and for servers without status pages.
func (p *Pages) ProbesHandler() http.Handler { return p.handler(p.probes) }

func (p *Pages) handler(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		// A connection without deadlines, as in tests, has none to set.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pageTimeout))
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), decisionKey{}, &decision{})))
	})
}

// setHeaders makes a browser treat every answer with care, errors too.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "+
		"img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	// Not "no-referrer": with that, browsers send the forms of our own pages
	// with "Origin: null".
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

func (p *Pages) notFound(w http.ResponseWriter, r *http.Request) {
	p.writeError(w, r, Errorf(http.StatusNotFound, "there is no such page here: /internal/help lists the pages of this server"))
}

func (p *Pages) notHere(w http.ResponseWriter, r *http.Request) {
	p.writeError(w, r, Errorf(http.StatusNotFound, "there is no such page here: the status pages are off, or on an address of their own: ask there, -easyops.status-addr names it"))
}

// list is a copy of the pages in the order in which they were registered.
func (p *Pages) list() []*Page {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Clone(p.pages)
}

// canonicalHost is a host name or address without port in the spelling that
// is compared.
func canonicalHost(h string) string {
	h = strings.ToLower(strings.TrimSuffix(strings.Trim(h, "[]"), "."))
	if ip, err := netip.ParseAddr(h); err == nil {
		return ip.Unmap().String()
	}
	return h
}
