package easyops

import (
	"net"

	"github.com/go-easyops/easyops/runtime/registry"
)

// announce says what was decided.
func (s *Server) announce() {
	attrs := []any{"addr", s.Addr().String(), "service", s.serviceNames(), "mode", s.mode(), "registry", registry.Redact(s.cfg.registry), "instance", s.id}
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

// instances are the entries of this server, one a service.
func (s *Server) instances(health registry.Health) []registry.Instance {
	kinds := []registry.Kind{registry.KindGRPC}
	if !s.cfg.noStatus {
		kinds = append(kinds, registry.KindStatus)
	}
	all := make([]registry.Instance, 0, len(s.services))
	for _, name := range s.serviceNames() {
		all = append(all, registry.Instance{
			ID: s.id, Service: name, Addr: s.advertised(), Kinds: kinds, Health: health,
			Version: buildVersion(), Tags: s.cfg.tags, Owner: s.cfg.owner,
			StatusAddr: s.advertisedStatus(), Started: s.started,
		})
	}
	return all
}
