package easyops

import (
	"errors"
	"slices"

	"github.com/go-easyops/easyops/runtime/auth"
)

// checkIdentity settles how callers are authenticated and opens what that
// takes.
func (s *Server) checkIdentity() {
	c := s.cfg
	s.trust = standalone
	switch many := len(c.authSpecs) + len(c.authenticators); {
	case c.insecureNone && many > 0:
		c.fault(errors.New("-easyops.auth or EASYOPS_AUTH (WithAuth) is insecure-none together with other authenticators (WithAuthenticator counts): leave insecure-none out, or the others"))
		s.trust = authenticated
	case c.insecureNone:
		s.trust = insecure
	case many > 0:
		s.trust = authenticated
	}
	if len(c.operators) > 0 && s.trust != authenticated {
		c.fault(errors.New("-easyops.operators or EASYOPS_OPERATORS (WithOperators) names operators, and nobody can be one: " +
			"say how callers are authenticated by -easyops.auth (EASYOPS_AUTH, WithAuth)"))
	}
	s.openAuthenticators()
	s.checkCertificates()
}

// openAuthenticators makes the authenticators, in the order in which they are
// asked.
func (s *Server) openAuthenticators() {
	c := s.cfg
	var err error
	s.opened, err = auth.OpenAll(c.authSpecs, auth.Config{TrustDomain: s.trustDomain, Logger: s.log})
	c.faultEach("-easyops.auth or EASYOPS_AUTH (WithAuth)", err)
	s.authenticators = slices.Concat(s.opened, c.authenticators)
	for _, a := range s.authenticators {
		if source, ok := a.(auth.Source); ok {
			s.sources = append(s.sources, source)
		}
	}
}
