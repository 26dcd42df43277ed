package easyops

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/cache/caches"
	"github.com/go-easyops/easyops/runtime/flags"
	"github.com/go-easyops/easyops/runtime/status"
)

// newPages prepares the status API. The pages are made for the first request: few
// servers get one at once, and to make them is a good part of a start.
func (s *Server) newPages() error {
	parameters, group := s.parameters(), s.newCaches()
	s.pages = sync.OnceValue(func() *status.Pages {
		return s.pagesOr(func() (*status.Pages, error) { return s.makePages(parameters, group) })
	})
	if s.statusLis != nil {
		s.statusHTTP = s.httpServer(s.whenAsked((*status.Pages).Handler))
		if s.tls != nil {
			s.statusHTTP.TLSConfig = s.tls.Clone()
		}
	}
	return errors.Join(s.checkPages(parameters, group), s.metrics.Collect(cacheMetrics{group}))
}

// checkPages makes the pages once more where the program has some of its own, so that
// what is wrong with those is said at the start.
func (s *Server) checkPages(parameters *flags.Set, group *caches.Group) error {
	if len(s.cfg.ownPages) == 0 || s.cfg.noStatus {
		return nil
	}
	_, err := s.makePages(parameters, group)
	return err
}

// pagesOr makes the pages, or returns nil and says why in the log.
func (s *Server) pagesOr(make func() (*status.Pages, error)) (pages *status.Pages) {
	var err error
	panicked := s.guard(s.life, "status pages", func() { pages, err = make() })
	if err = errors.Join(err, panicked); err != nil {
		s.log.Error("status pages", "err", err)
	}
	return pages
}

// whenAsked serves pages that are made for the first request.
func (s *Server) whenAsked(of func(*status.Pages) http.Handler) http.Handler {
	pages := sync.OnceValue(func() http.Handler {
		if p := s.pages(); p != nil {
			return of(p)
		}
		return s.withoutPages()
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { pages().ServeHTTP(w, r) })
}

// withoutPages serves the probes where the pages could not be made: a server whose
// calls are served must not be taken for a dead one.
func (s *Server) withoutPages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if h := s.healthPage(r.Context()); h.State != status.Ready {
			http.Error(w, h.State, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the status pages could not be made: the server's log says why", http.StatusInternalServerError)
	})
	return mux
}

// makePages makes the status API and its handlers. An error is a mistake of the
// runtime's own.
func (s *Server) makePages(parameters *flags.Set, group *caches.Group) (*status.Pages, error) {
	pages, err := status.New(status.Config{
		Name:       s.title(),
		Logger:     s.log,
		Audit:      withoutLevel(s.log),
		Operator:   s.operator(),
		Metrics:    s.metricsReader(),
		MetricsFor: s.metricsFor(),
		Hosts:      s.hosts(),
		GRPCAddr:   s.elsewhere(),
		Identity:   s.identityPage,
		Registry:   s.registryPage,

		Tokens:       s.takesTokens(),
		Certificates: s.takesCertificates(),
	})
	if err != nil {
		return nil, err
	}
	return pages, errors.Join(
		pages.HandleOverview(s.overview),
		pages.HandleHealth(s.healthPage),
		pages.HandleInfo(status.Info{
			Services: s.names(), Instance: s.id, RuntimeVersion: runtimeVersion(), Started: s.started,
		}),
		pages.HandleAPI(sync.OnceValue(s.describe), s.traffic),
		pages.HandleMetrics(s.metrics),
		pages.HandleConnections(s.connectionsPage),
		pages.HandleCallers(s.callersPage),
		pages.HandleDependencies(s.dependencies),
		pages.HandleUnregister(s.setTakenOut),
		pages.HandleShutdown(func(who string) { s.stop("asked for by " + who) }),
		pages.HandleDebug(s.cfg.heapDump),
		pages.HandleParameters(parameters),
		pages.HandleCaches(group),
		pages.HandleTexts(s.texts),
		s.addOwnPages(pages),
	)
}

// addOwnPages adds the program's own pages.
func (s *Server) addOwnPages(pages *status.Pages) (err error) {
	for _, pg := range s.cfg.ownPages {
		if e := pages.Handle(pg); e != nil {
			err = errors.Join(err, fmt.Errorf("WithPage: %s", withoutPlaces(e.Error())))
		}
	}
	return err
}

// title is what pages call the server.
func (s *Server) title() string {
	if names := s.names(); len(names) > 0 {
		return names[0]
	}
	return "easyops server"
}

// elsewhere is the gRPC address, where the pages have one of their own.
func (s *Server) elsewhere() string {
	if s.statusLis == nil {
		return ""
	}
	return reachable(s.Addr().String())
}

// hosts are the names under which the server is known to itself, beside its
// addresses: what it advertises, and what its certificates name.
func (s *Server) hosts() []string {
	var names []string
	if host, _, err := net.SplitHostPort(s.cfg.advertise); err == nil {
		names = append(names, host)
	}
	if s.tls == nil {
		return names
	}
	if s.certs != nil {
		return append(names, s.certs.DNSNames()...)
	}
	for _, cert := range s.tls.Certificates {
		if leaf := cert.Leaf; leaf != nil {
			names = append(names, leaf.DNSNames...)
		}
	}
	return names
}

// takesTokens tells whether a token can say who calls: mtls alone knows none.
func (s *Server) takesTokens() bool {
	if s.trust != authenticated {
		return false
	}
	return len(s.cfg.authenticators) > 0 || slices.ContainsFunc(s.cfg.authSpecs, func(spec string) bool { return spec != mtls })
}

// takesCertificates tells whether a certificate can say who calls.
func (s *Server) takesCertificates() bool { return slices.Contains(s.cfg.authSpecs, mtls) }

// onPort serves what the status API has on the gRPC port.
func (s *Server) onPort() http.Handler {
	if s.cfg.noStatus || s.statusLis != nil {
		return s.whenAsked((*status.Pages).ProbesHandler)
	}
	return s.whenAsked((*status.Pages).Handler)
}

// texts are those of WithInfo.
func (s *Server) texts() []status.NamedText {
	all := make([]status.NamedText, 0, len(s.cfg.infos))
	for _, i := range s.cfg.infos {
		t := status.NamedText{Name: i.name}
		if err := s.guard(s.life, "WithInfo "+i.name, func() { t.Text = i.text() }); err != nil {
			t.Text = err.Error()
		}
		all = append(all, t)
	}
	return all
}

// describe describes every service, from its descriptor where that is linked in.
func (s *Server) describe() []status.Service {
	served := s.grpc.GetServiceInfo()
	var all []status.Service
	for _, b := range s.services {
		name := b.desc.ServiceName
		all = append(all, s.describeService(name, b.comments, served[name]))
		delete(served, name)
	}
	for _, name := range slices.Sorted(maps.Keys(served)) { // what is left is the runtime's
		d := s.describeService(name, nil, served[name])
		d.Infrastructure = true
		all = append(all, d)
	}
	return all
}

func (s *Server) describeService(name string, comments Comments, info grpc.ServiceInfo) status.Service {
	rule := func(method string) status.Rule {
		m := s.methods[name+"/"+method]
		if m == nil { // the descriptor is newer than the registered code
			return status.Rule{Access: "not served: generate the code again"}
		}
		return status.Rule{
			Access: m.access.String(), Deadline: status.Seconds(m.timeout), Token: s.takesTokens(),
			NotEnforced: (s.trust == standalone || s.trust == insecure) && m.access.Allow != auth.Everyone,
		}
	}
	if d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name)); err == nil {
		if sd, ok := d.(protoreflect.ServiceDescriptor); ok {
			return status.Describe(sd, comments, rule)
		}
	}
	d := status.Service{Name: name, Comment: comments[""], Methods: []status.Method{}}
	for _, m := range info.Methods {
		d.Methods = append(d.Methods, status.Method{
			Name: m.Name, Comment: comments[m.Name], Rule: rule(m.Name),
			Kind: status.KindOf(m.IsClientStream, m.IsServerStream),
		})
	}
	return d
}
