package easyops

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"github.com/go-easyops/easyops/runtime/auth"
)

// mtls is the specification of authentication by certificates.
const mtls = "mtls"

// hasTLS tells whether a server is to speak TLS.
func (c *config) hasTLS() bool { return c.tlsConfig != nil || c.tlsCert != "" || c.tlsKey != "" }

// caFile is the file of authorities; the system's do not vouch for services.
func (c *config) caFile() string {
	if c.tlsCA == auth.SystemRoots {
		return ""
	}
	return c.tlsCA
}

// checkCertificates opens what the server shows its callers, and what it
// verifies theirs against.
func (s *Server) checkCertificates() {
	c := s.cfg
	var err error
	switch {
	case c.tlsConfig != nil:
		s.tls, err = checkTLS(c.tlsConfig.Clone())
		c.fault(err)
	case c.hasTLS() || c.caFile() != "":
		s.loadCertificates()
	}
	if slices.Contains(c.authSpecs, mtls) {
		c.fault(c.checkMTLS())
	}
}

func (s *Server) loadCertificates() {
	c := s.cfg
	if (c.tlsCert == "") != (c.tlsKey == "") {
		c.fault(errors.New("-easyops.tls-cert and -easyops.tls-key (EASYOPS_TLS_CERT, EASYOPS_TLS_KEY) go together: set both or neither"))
		return
	}
	certs, err := auth.LoadCertificates(auth.CertFiles{Cert: c.tlsCert, Key: c.tlsKey, CA: c.tlsCA}, s.log)
	if err != nil {
		c.faultEach(fmt.Sprintf("-easyops.tls-cert or EASYOPS_TLS_CERT: %q, -easyops.tls-key or EASYOPS_TLS_KEY: %q, -easyops.tls-ca or EASYOPS_TLS_CA: %q", c.tlsCert, c.tlsKey, c.tlsCA), err)
		return
	}
	if s.tls = certs.Server(); s.tls != nil {
		s.certs = certs
		s.sources = append(s.sources, certs)
	}
}

// checkTLS finds out now what every handshake would find out later.
func checkTLS(t *tls.Config) (*tls.Config, error) {
	if len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		return nil, errors.New("WithTLSConfig: the configuration has no certificate: set Certificates or GetCertificate")
	}
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	return t, nil
}

// checkMTLS finds out what would make every certificate count for nothing, or
// for more than it is.
func (c *config) checkMTLS() error {
	const needs = "-easyops.auth or EASYOPS_AUTH (WithAuth) has mtls, which needs "
	switch t := c.tlsConfig; {
	case t != nil && t.GetConfigForClient == nil && t.ClientAuth < tls.VerifyClientCertIfGiven:
		return errors.New(needs + "certificates that are verified: set ClientAuth of WithTLSConfig to tls.VerifyClientCertIfGiven, and its ClientCAs")
	case t != nil && t.GetConfigForClient == nil && t.ClientCAs == nil:
		return errors.New(needs + "the authorities of callers: set ClientCAs of WithTLSConfig; without them those of the web would vouch for services")
	case t != nil:
		return nil
	case c.tlsCert == "" && c.tlsKey == "":
		return errors.New(needs + "TLS: set -easyops.tls-cert and -easyops.tls-key (EASYOPS_TLS_CERT, EASYOPS_TLS_KEY, WithTLSFiles)")
	case c.caFile() == "":
		return fmt.Errorf(needs+"a file of the authorities that vouch for callers: set -easyops.tls-ca (EASYOPS_TLS_CA, WithTLSFiles) to one, not to %q",
			cmp.Or(c.tlsCA, "nothing"))
	}
	return nil
}

// trustDomain is that of the server's own SPIFFE ID, "" for none.
func (s *Server) trustDomain() string {
	if s.certs == nil {
		return ""
	}
	return s.certs.TrustDomain()
}
