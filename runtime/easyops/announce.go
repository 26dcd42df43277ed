package easyops

import (
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
	_, onNetwork := s.Addr().(*net.TCPAddr)
	if !s.cfg.noStatus && s.trust == standalone && onNetwork { // otherwise nobody can see it
		attrs = append(attrs, "help", s.helpURL())
	}
	s.log.Info("serving", attrs...)
	s.warnOfPersonal()
	if s.trust == insecure {
		s.log.Warn("insecure-none: every caller is let in, and nobody is operator")
	}
	if s.plaintext {
		s.log.Warn("insecure-plaintext: tokens reach this server in plain text, unless something else encrypts the way")
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

// instances are the entries of this server, one a name: those of gRPC and HTTP
// services, which are at the port, and those of TCP services.
func (s *Server) instances(health registry.Health) []registry.Instance {
	var all []registry.Instance
	add := func(name, addr, statusAddr string, kinds ...registry.Kind) {
		if !s.cfg.noStatus {
			kinds = append(kinds, registry.KindStatus)
		}
		all = append(all, registry.Instance{
			ID: s.id, Service: name, Addr: addr, Kinds: kinds, Health: health,
			Version: buildVersion(), Tags: s.cfg.tags, Owner: s.cfg.owner,
			StatusAddr: statusAddr, Started: s.started,
		})
	}
	atPort, statusAddr := s.advertised(), s.advertisedStatus()
	names, kinds := s.namesAtPort()
	for _, name := range names {
		add(name, atPort, statusAddr, kinds[name]...)
	}
	if statusAddr == "" && !s.cfg.noStatus {
		statusAddr = atPort
	}
	for _, t := range s.cfg.tcp {
		add(t.name, s.advertisedAt(t.lis.Addr().String()), statusAddr, registry.KindTCP)
	}
	return all
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
