package easyops

import (
	"cmp"
	"fmt"
	"net"
	"slices"

	"github.com/go-easyops/easyops/runtime/registry"
)

// announce says what was decided.
func (s *Server) announce() {
	attrs := []any{"addr", s.Addr().String(), "service", s.names(), "mode", s.mode(), "registry", registry.Redact(s.cfg.registry), "instance", s.id}
	if s.cfg.owner != "" {
		attrs = append(attrs, "owner", s.cfg.owner)
	}
	if len(s.cfg.tags) > 0 {
		attrs = append(attrs, "tags", tagText(s.cfg.tags))
	}
	if s.statusLis != nil { // it may be on a port that nobody has chosen
		attrs = append(attrs, "status", s.statusLis.Addr().String())
	}
	_, onNetwork := s.Addr().(*net.TCPAddr)
	if !s.cfg.noStatus && onNetwork && (s.trust == standalone || s.trust == authenticated) { // otherwise nobody can see it
		attrs = append(attrs, "help", s.helpURL())
	}
	s.log.Info("serving", attrs...)
	s.warnOfPersonal()
	s.warnOfOpenTCP()
	if s.trust == insecure {
		s.log.Warn("insecure-none: every caller is let in, and nobody is operator")
	}
	if s.plaintext {
		s.log.Warn("insecure-plaintext: tokens reach this server in plain text, unless something else encrypts the way")
	}
}

// warnOfOpenTCP names TCP services that other machines can connect to though nothing
// else of the server asks who calls. One whose rule is EVERYONE is meant so.
func (s *Server) warnOfOpenTCP() {
	if s.trust == authenticated || s.trust == insecure { // the latter has been told
		return
	}
	for _, t := range s.cfg.tcp {
		if !t.ruled && !isLocal(t.lis) {
			s.log.Warn("every machine that reaches this address can connect, and the server asks nobody who they are: listen on 127.0.0.1, set a rule by TCPTLS, or see that the protocol asks",
				"service", t.name, "addr", t.lis.Addr().String())
		}
	}
}

// warnOfPersonal names settings of personal instances that can have no effect.
func (s *Server) warnOfPersonal() {
	const nobody = "but nothing says here whose a call is (-easyops.auth, EASYOPS_AUTH, WithAuth)"
	users := s.takesTokens()
	if s.cfg.owner != "" && !users {
		s.log.Warn("an owner is named (-easyops.owner, EASYOPS_OWNER, WithOwner), "+nobody+": calls without a user never come to a personal instance", "owner", s.cfg.owner)
	}
	if s.cfg.owner != "" && s.registry == nil {
		s.log.Warn("an owner is named (-easyops.owner, EASYOPS_OWNER, WithOwner), but no registry lists this server: nobody finds it as a personal instance", "owner", s.cfg.owner)
	}
	if s.cfg.personal && !users {
		s.log.Warn("calls are to go to personal instances (-easyops.personal, EASYOPS_PERSONAL, WithPersonal), " + nobody + ": those that carry on a call have no user, and go to none")
	}
}

// mode describes how far callers are trusted, for the log.
func (s *Server) mode() string {
	mode := map[trust]string{standalone: "standalone", insecure: "insecure-none", open: "open to everyone", authenticated: "authenticated"}[s.trust]
	if s.tls == nil {
		return mode + ", plaintext"
	}
	return mode + ", TLS"
}

func (s *Server) helpURL() string {
	scheme, addr := "http://", reachable(s.Addr().String())
	if s.tls != nil {
		scheme = "https://"
	}
	if s.statusLis != nil {
		addr = reachable(s.statusLis.Addr().String())
	}
	return scheme + addr + "/internal/help"
}

func (s *Server) serviceNames() []string {
	names := make([]string, 0, len(s.services))
	for _, b := range s.services {
		names = append(names, b.desc.ServiceName)
	}
	return names
}

// checkNames finds names by which one entry of the registry would have to be two.
func (s *Server) checkNames() {
	seen := map[string]string{}
	for _, b := range s.services {
		if b.desc != nil { // checked with the service
			seen[b.desc.ServiceName] = "a gRPC service"
		}
	}
	for _, r := range s.cfg.routes {
		if r.service != "" && seen[r.service] == "" {
			seen[r.service] = "an HTTP service"
		}
	}
	for _, t := range s.cfg.tcp {
		if !registry.ValidService(t.name) {
			s.cfg.fault(fmt.Errorf("%s: not a name of a service: it has 1 to 255 letters, digits, dots, dashes or underscores", t.option()))
		}
		if other := seen[t.name]; other != "" {
			s.cfg.fault(fmt.Errorf("%s: %s of this server has the same name, and another address: choose one of its own", t.option(), other))
		}
		seen[t.name] = "another TCP service"
	}
}

// instances are the entries of this server that can be listed.
func (s *Server) instances(health registry.Health) []registry.Instance {
	return slices.DeleteFunc(s.allInstances(health), func(i registry.Instance) bool { return listable(i.Addr) != nil })
}

// listable returns why a registry cannot list an address, or nil.
func listable(addr string) error { return registry.ValidAddr(reachable(addr)) }

// warnOfUnlisted names services whose address nobody could connect to.
func (s *Server) warnOfUnlisted() {
	unlisted := map[string][]string{}
	for _, i := range s.allInstances(registry.Ready) {
		if listable(i.Addr) != nil {
			unlisted[i.Addr] = append(unlisted[i.Addr], i.Service)
		}
	}
	for addr, services := range unlisted {
		s.log.Warn("not listed in the registry: advertise an address that clients can connect to (-easyops.advertise)", "service", services, "err", listable(addr))
	}
}

// allInstances are the entries of this server, one a name: those of gRPC and HTTP
// services, which are at the port, and those of TCP services.
func (s *Server) allInstances(health registry.Health) []registry.Instance {
	var all []registry.Instance
	port := s.advertised()
	pages := s.pagesAt(port)
	add := func(name, addr string, kinds ...registry.Kind) {
		i := registry.Instance{
			ID: s.id, Service: name, Addr: addr, Kinds: kinds, Health: health,
			Version: buildVersion(), Tags: s.cfg.tags, Owner: s.cfg.owner, Started: s.started,
		}
		if pages != "" {
			i.Kinds = append(i.Kinds, registry.KindStatus)
		}
		if pages != addr {
			i.StatusAddr = pages
		}
		all = append(all, i)
	}
	names, kinds := s.namesAtPort()
	for _, name := range names {
		add(name, port, kinds[name]...)
	}
	for _, t := range s.cfg.tcp {
		add(t.name, s.advertisedAt(t.lis.Addr().String()), registry.KindTCP)
	}
	return all
}

// pagesAt returns where the status pages are, with those that are at the port; "" for
// none that others could open.
func (s *Server) pagesAt(port string) string {
	at := cmp.Or(s.advertisedStatus(), port)
	if s.cfg.noStatus || listable(at) != nil {
		return ""
	}
	return at
}

// namesAtPort are the names of what is at the port, in their order, and the kinds of
// each.
func (s *Server) namesAtPort() (names []string, kinds map[string][]registry.Kind) {
	kinds = map[string][]registry.Kind{}
	add := func(name string, kind registry.Kind) {
		if len(kinds[name]) == 0 {
			names = append(names, name)
		}
		if !slices.Contains(kinds[name], kind) {
			kinds[name] = append(kinds[name], kind)
		}
	}
	for _, name := range s.serviceNames() {
		add(name, registry.KindGRPC)
	}
	for _, r := range s.cfg.routes {
		if r.service != "" {
			add(r.service, registry.KindHTTP)
		}
	}
	return names, kinds
}

// names are all names of this server: of gRPC, HTTP and TCP services.
func (s *Server) names() []string {
	names, _ := s.namesAtPort()
	for _, t := range s.cfg.tcp {
		names = append(names, t.name)
	}
	return names
}
