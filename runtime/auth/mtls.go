package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxRemembered is for how many certificates the identity is remembered: as many
// as a server has connections.
const maxRemembered = 16 << 10

// MTLS returns the authenticator of client certificates. A service is who the
// SPIFFE ID of its certificate says, else the first of its DNS names that is no
// wildcard; the common name is never looked at. Rules may call it by the last
// segment of its SPIFFE ID where it is in the server's own trust domain, which
// trustDomain returns, "" for none.
//
// Where an authority in the chain of the certificate names a trust domain of its
// own, by a URI like spiffe://example.org, it vouches for the SPIFFE IDs of that
// one only, and rules may use the DNS names that it vouches for where it is the
// server's. An authority that names none vouches for all names.
//
// The certificates were verified by the server, against the authorities in force
// when the connection began.
func MTLS(trustDomain func() string) Authenticator {
	return &mtls{trustDomain: trustDomain}
}

// mtls remembers identities by the certificate of the connection, so that a call
// does not pay for them. A weak map would keep fewer certificates, at ten times
// the price for each call.
type mtls struct {
	trustDomain func() string

	known sync.Map // *x509.Certificate to *certIdentity
	count atomic.Int64
}

type certIdentity struct {
	Identity
	domain string // the server's own, as of then
	vouch  string // the trust domain of the chain's authorities, as of then
	err    error
}

// Authenticate implements [Authenticator].
func (m *mtls) Authenticate(_ context.Context, c Credential) (Identity, error) {
	return m.authenticate(c, time.Now())
}

func (m *mtls) authenticate(c Credential, now time.Time) (Identity, error) {
	if len(c.Certs) == 0 {
		return Identity{}, nil
	}
	leaf := c.Certs[0]
	vouch, err := authorityDomain(c.Certs)
	if err != nil {
		return Identity{}, err
	}
	id := m.identity(leaf, vouch)
	switch {
	case id.err != nil:
		return Identity{}, id.err
	case now.After(leaf.NotAfter):
		return Identity{}, fmt.Errorf("the certificate expired at %s, after the connection began", leaf.NotAfter.Format(time.RFC3339))
	}
	return id.Identity, nil
}

func (m *mtls) identity(leaf *x509.Certificate, vouch string) *certIdentity {
	domain := ""
	if m.trustDomain != nil {
		domain = m.trustDomain()
	}
	if known, ok := m.known.Load(leaf); ok {
		if id := known.(*certIdentity); id.domain == domain && id.vouch == vouch {
			return id
		}
	}
	id := &certIdentity{domain: domain, vouch: vouch}
	id.Service, id.err = servicePrincipal(leaf, domain, vouch)
	if m.count.Add(1) > maxRemembered {
		m.known.Clear()
		m.count.Store(1)
	}
	m.known.Store(leaf, id)
	return id
}

// servicePrincipal returns who a certificate is of, for a server of the trust
// domain, by authorities of another one or of none.
func servicePrincipal(leaf *x509.Certificate, ownDomain, vouch string) (*Principal, error) {
	id, err := spiffeOf(leaf)
	if err == nil {
		err = id.checkAuthority(vouch)
	}
	if err != nil {
		return nil, err
	}
	if id != (spiffeID{}) {
		p := &Principal{ID: id.String(), Name: id.name(), Issuer: id.domain, Expires: leaf.NotAfter}
		p.names = []string{p.ID}
		if id.domain == ownDomain {
			p.names = append(p.names, p.Name)
		}
		return p, nil
	}
	for _, name := range leaf.DNSNames {
		if name != "" && !strings.Contains(name, "*") {
			return dnsPrincipal(name, leaf, vouch == "" || vouch == ownDomain)
		}
	}
	return nil, errors.New("the certificate names no service: it has neither a SPIFFE ID nor a DNS name, and a common name does not count")
}

// dnsPrincipal returns the service of a DNS name, which must not be written like
// a SPIFFE ID.
func dnsPrincipal(name string, leaf *x509.Certificate, own bool) (*Principal, error) {
	if strings.ContainsFunc(name, notInPath) {
		return nil, fmt.Errorf("the DNS name %.300q of the certificate is not made of letters, digits, dots, dashes and underscores", name)
	}
	p := &Principal{ID: name, Name: name, Expires: leaf.NotAfter}
	if !own {
		p.names = []string{} // named by no rule
	}
	return p, nil
}
