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

// maxRemembered is for how many certificates the identity is remembered.
const maxRemembered = 1024

// MTLS returns the authenticator of client certificates. A service is who the
// SPIFFE ID of its certificate says, else the first of its DNS names that is no
// wildcard; the common name is never looked at. Rules may call it by the last
// segment of its SPIFFE ID where it is in the server's own trust domain, which
// trustDomain returns, "" for none.
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
	err    error
}

func (m *mtls) Authenticate(_ context.Context, c Credential) (Identity, error) {
	if len(c.Certs) == 0 {
		return Identity{}, nil
	}
	leaf := c.Certs[0]
	id := m.identity(leaf)
	switch {
	case id.err != nil:
		return Identity{}, id.err
	case time.Now().After(leaf.NotAfter):
		return Identity{}, fmt.Errorf("the certificate expired at %s, after the connection began", leaf.NotAfter.Format(time.RFC3339))
	}
	return id.Identity, nil
}

func (m *mtls) identity(leaf *x509.Certificate) *certIdentity {
	domain := ""
	if m.trustDomain != nil {
		domain = m.trustDomain()
	}
	if known, ok := m.known.Load(leaf); ok && known.(*certIdentity).domain == domain {
		return known.(*certIdentity)
	}
	id := &certIdentity{domain: domain}
	id.Service, id.err = servicePrincipal(leaf, domain)
	if m.count.Add(1) > maxRemembered {
		m.known.Clear()
		m.count.Store(1)
	}
	m.known.Store(leaf, id)
	return id
}

// servicePrincipal returns who a certificate is of, for a server of the trust
// domain.
func servicePrincipal(leaf *x509.Certificate, ownDomain string) (*Principal, error) {
	id, err := spiffeOf(leaf)
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
			return &Principal{ID: name, Name: name, Expires: leaf.NotAfter}, nil
		}
	}
	return nil, errors.New("the certificate names no service: it has neither a SPIFFE ID nor a DNS name, and a common name does not count")
}
