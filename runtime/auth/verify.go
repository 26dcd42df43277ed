package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Client returns the TLS configuration of a client: it shows our certificate to
// servers that ask for one of its authorities, and takes a server whose
// certificate was issued by the authorities in force, is valid now, is one for
// servers, and passes check. A nil check wants the name that the connection is
// made to (ServerName) in the certificate, and knows no IP addresses: for those
// there is [ServesHost]. minVersion is of TLS; less than TLS 1.2 is raised to
// that.
//
// This is the one place that puts a verification of its own in the place of
// crypto/tls's, which can neither verify a server that is known by its SPIFFE ID
// nor follow authorities that change. VerifyConnection runs in each handshake,
// in those that resume a session as well, before a byte is sent to the server or
// taken from it.
func (c *Certificates) Client(check func(*x509.Certificate) error, minVersion uint16) *tls.Config {
	return &tls.Config{
		MinVersion:           max(minVersion, tls.VersionTLS12),
		GetClientCertificate: c.clientCertificate,
		InsecureSkipVerify:   true, //nolint:gosec // VerifyConnection verifies instead
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyServer(c.fresh().roots, state, check)
		},
	}
}

// verifyServer is crypto/tls's own verification, with check in the place of the
// host name.
func verifyServer(roots *x509.CertPool, state tls.ConnectionState, check func(*x509.Certificate) error) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	leaf := state.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots, // nil are the system's
		Intermediates: intermediates,
		CurrentTime:   time.Now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	if err := checkAuthorities(leaf, chains); err != nil {
		return err
	}
	if check == nil {
		check = ServesHost(state.ServerName)
	}
	return check(leaf)
}

// checkAuthorities refuses a SPIFFE ID that none of the chains may vouch for.
// What else is wrong with it is for those who ask for one.
func checkAuthorities(leaf *x509.Certificate, chains [][]*x509.Certificate) (err error) {
	id, _ := spiffeOf(leaf)
	for _, chain := range chains {
		var vouch string
		if vouch, err = authorityDomain(chain); err == nil {
			err = id.checkAuthority(vouch)
		}
		if err == nil {
			return nil
		}
	}
	return err
}

// clientCertificate returns our certificate where the server's authorities
// include its own, else none: a server that does not know it would refuse the
// connection. The server was verified just before, with a look at the files.
func (c *Certificates) clientCertificate(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if own := c.get().cert; own != nil && asked.SupportsCertificate(own) == nil {
		return own, nil
	}
	return &tls.Certificate{}, nil
}

// ServesAs returns a check for [Certificates.Client]: whether a certificate may
// serve the service, named in full. It may by a DNS name that is the service's,
// by a SPIFFE ID whose path ends in it, or by being that of serverID, a whole
// SPIFFE ID or DNS name, where that is not "". Wildcards name no service, nor
// does a common name.
func ServesAs(service, serverID string) func(*x509.Certificate) error {
	return servesAs(service, serverID, func() string { return "" })
}

// ServesAs returns the check of the function [ServesAs], for a client that has a
// SPIFFE ID itself: the SPIFFE IDs of other trust domains name no service to it,
// except as serverID.
func (c *Certificates) ServesAs(service, serverID string) func(*x509.Certificate) error {
	return servesAs(service, serverID, c.TrustDomain)
}

func servesAs(service, serverID string, ownDomain func() string) func(*x509.Certificate) error {
	return func(leaf *x509.Certificate) error {
		id, err := spiffeOf(leaf)
		if err != nil {
			return err
		}
		own := ownDomain()
		switch {
		case id != (spiffeID{}) && id.String() == serverID:
			return nil
		case hasDNSName(leaf, service), hasDNSName(leaf, serverID):
			return nil
		case strings.HasSuffix(id.path, "/"+service) && (own == "" || own == id.domain):
			return nil
		}
		return mayNotServe(leaf, service, serverID)
	}
}

// hasDNSName tells whether a DNS name of the certificate is the very one
// (RFC 4343: in capital letters or not).
func hasDNSName(leaf *x509.Certificate, name string) bool {
	return name != "" && !strings.Contains(name, "*") &&
		slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, name) })
}

func mayNotServe(leaf *x509.Certificate, service, serverID string) error {
	wanted := service
	if serverID != "" {
		wanted += " or " + serverID
	}
	return fmt.Errorf("the server's certificate is of %s and not of %s: it must name it as DNS name, or at the end of its SPIFFE ID", namesOf(leaf), wanted)
}

// ServesHost returns a check for [Certificates.Client]: whether a certificate is
// that of the host, a DNS name or an IP address, as browsers check it
// (RFC 6125: wildcards count, a common name does not).
func ServesHost(host string) func(*x509.Certificate) error {
	host = strings.TrimSuffix(host, ".")
	return func(leaf *x509.Certificate) error {
		if host == "" {
			return errors.New("the name of the server is not known, so its certificate cannot be checked")
		}
		return leaf.VerifyHostname(host)
	}
}
