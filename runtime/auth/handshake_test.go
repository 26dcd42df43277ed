package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"
)

const (
	domain   = "example.org"
	echoID   = "spiffe://example.org/ns/prod/echo.v1.EchoService"
	otherID  = "spiffe://example.org/other.v1.OtherService"
	abroadID = "spiffe://elsewhere.net/echo.v1.EchoService"
)

// A client takes the servers that it should and no others; to the others it
// sends nothing.
func TestServersThatClientsTake(t *testing.T) {
	ca, rogue := newTestCA(t, "ca"), newTestCA(t, "ca") // of the same name
	inner := newTestCA(t, "inner")
	inner.pem = sign(t, template(asCA, withUsage(x509.ExtKeyUsageAny), func(c *x509.Certificate) { c.Subject = inner.cert.Subject }), ca.cert, inner.key, ca.key)
	through := inner.issue(t, withDNS(echoService))
	withoutInner := through
	through.cert = append(through.cert, inner.pem...)

	tests := []struct {
		name string
		cert pair
		id   string // DialServerID
		err  string // of the client; "" for none
	}{
		{"DNS name", ca.issue(t, withDNS("localhost", echoService)), "", ""},
		{"DNS name in capitals", ca.issue(t, withDNS("ECHO.v1.echoservice")), "", ""},
		{"SPIFFE ID", ca.issue(t, withURI(echoID)), "", ""},
		{"SPIFFE ID of server", ca.issue(t, withURI(otherID)), otherID, ""},
		{"SPIFFE ID of server abroad", ca.issue(t, withURI(abroadID)), abroadID, ""},
		{"DNS name of server", ca.issue(t, withDNS("echo.example.org")), "echo.example.org", ""},
		{"through an authority between", through, "", ""},

		{"authority between is not sent", withoutInner, "", "unknown authority"},
		{"expired", ca.issue(t, withDNS(echoService), expired), "", "expired"},
		{"not yet valid", ca.issue(t, withDNS(echoService), notYet), "", "not yet valid"},
		{"rogue authority of the same name", rogue.issue(t, withDNS(echoService)), "", "unknown authority"},
		{"self-signed", selfSigned(t, withDNS(echoService)), "", "unknown authority"},
		{"for clients only", ca.issue(t, withDNS(echoService), withUsage(x509.ExtKeyUsageClientAuth)), "", "incompatible key usage"},
		{"another DNS name", ca.issue(t, withDNS("other.v1.OtherService")), "", "not of " + echoService},
		{"common name only", ca.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = echoService }), "", "common name"},
		{"wildcard", ca.issue(t, withDNS("*.v1.EchoService", "*")), "", "not of"},
		{"wildcard of a server", ca.issue(t, withDNS("*.example.org")), "echo.example.org", "not of"},
		{"wildcard as ID", ca.issue(t, withDNS("*.example.org")), "*.example.org", "not of"},
		{"IP address only", ca.issue(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }), "", "not of"},
		{"two SPIFFE IDs", ca.issue(t, withURI(echoID, otherID)), "", "must be the only one"},
		{"two SPIFFE IDs and a DNS name", ca.issue(t, withURI(echoID, otherID), withDNS(echoService)), "", "must be the only one"},
		{"another SPIFFE ID", ca.issue(t, withURI(otherID)), "", "not of"},
		{"SPIFFE ID abroad", ca.issue(t, withURI(abroadID)), "", "not of"},
		{"SPIFFE ID that ends like it", ca.issue(t, withURI("spiffe://example.org/not-echo.v1.EchoService")), "", "not of"},
		{"SPIFFE ID in capitals", ca.issue(t, withURI("spiffe://example.org/ECHO.v1.EchoService")), "", "not of"},
		{"SPIFFE ID as trust domain", ca.issue(t, withURI("spiffe://echo.v1.EchoService")), "", "SPIFFE ID"},
		{"SPIFFE ID of an authority", ca.issue(t, withURI(echoID), asCA), "", "authority"},
		{"the authority itself", pair{ca.pem, keyPEM(t, ca.key)}, "", "not of"},
	}
	certs := newCertDir(t, ca.issue(t, withURI(otherID)), ca).load(nil)
	for _, tt := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tt.name+" "+tls.VersionName(version), func(t *testing.T) {
				server := &tls.Config{Certificates: []tls.Certificate{tt.cert.tls(t)}, MaxVersion: version}
				o := shake(t, server, certs.Client(certs.ServesAs(echoService, tt.id), 0))
				wantOutcome(t, o, tt.err)
			})
		}
	}
}

func wantOutcome(t *testing.T, o outcome, clientErr string) {
	t.Helper()
	switch {
	case clientErr == "" && (o.client != nil || o.server != nil):
		t.Errorf("client: %v, server: %v, want no error", o.client, o.server)
	case clientErr != "" && (o.client == nil || !strings.Contains(o.client.Error(), clientErr)):
		t.Errorf("client: %v, want %q", o.client, clientErr)
	case clientErr != "" && o.received > 0:
		t.Errorf("the server got %d bytes, want none", o.received)
	}
}

// Without a SPIFFE ID of its own a client takes the service from each trust
// domain that its authorities vouch for.
func TestServesAsWithoutTrustDomain(t *testing.T) {
	ca := newTestCA(t, "ca")
	certs := newCertDir(t, ca.issue(t, withDNS("me")), ca).load(nil)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, withURI(abroadID)).tls(t)}}
	wantOutcome(t, shake(t, server, certs.Client(certs.ServesAs(echoService, ""), 0)), "")
	wantOutcome(t, shake(t, server, certs.Client(ServesAs(echoService, ""), 0)), "")
	wantOutcome(t, shake(t, server, certs.Client(ServesAs("", ""), 0)), "not of")
}

func TestServesHost(t *testing.T) {
	ca := newTestCA(t, "ca")
	certs := newCertDir(t, ca.issue(t, withDNS("me")), ca).load(nil)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, withDNS("a.example.org", "*.b.example.org"), func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}).tls(t)}}
	for host, wrong := range map[string]string{
		"a.example.org":   "",
		"a.example.org.":  "",
		"x.b.example.org": "",
		"127.0.0.1":       "",
		"::1":             "",
		"b.example.org":   "not b.example.org",
		"127.0.0.2":       "127.0.0.2",
		"":                "not known",
	} {
		wantOutcome(t, shake(t, server, certs.Client(ServesHost(host), 0)), wrong)
	}
	byName := certs.Client(nil, 0)
	byName.ServerName = "a.example.org"
	wantOutcome(t, shake(t, server, byName), "")
	byName.ServerName = "c.example.org"
	wantOutcome(t, shake(t, server, byName), "not c.example.org")
	wantOutcome(t, shake(t, server, certs.Client(nil, 0)), "not known")
}

func TestMinVersion(t *testing.T) {
	ca := newTestCA(t, "ca")
	certs := newCertDir(t, ca.issue(t, withDNS(echoService)), ca).load(nil)
	check := ServesAs(echoService, "")
	for _, tt := range []struct {
		wanted, offered uint16
		ok              bool
	}{
		{0, tls.VersionTLS11, false},
		{tls.VersionTLS10, tls.VersionTLS11, false},
		{0, tls.VersionTLS12, true},
		{tls.VersionTLS13, tls.VersionTLS12, false},
		{tls.VersionTLS13, tls.VersionTLS13, true},
	} {
		server := &tls.Config{Certificates: certs.get().server.Certificates, MinVersion: tls.VersionTLS10, MaxVersion: tt.offered} //nolint:gosec // an old server
		if o := shake(t, server, certs.Client(check, tt.wanted)); (o.client == nil) != tt.ok {
			t.Errorf("client of at least %#x, server of %#x: %v", tt.wanted, tt.offered, o.client)
		}
	}
	old := &tls.Config{RootCAs: ca.pool(), ServerName: echoService, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // an old client
	if o := shake(t, certs.Server(), old); o.client == nil {
		t.Error("the server took a client of TLS 1.1")
	}
}

// A server takes the client certificates that it should, and no others are
// anybody.
func TestClientsThatServersTake(t *testing.T) {
	ca, rogue := newTestCA(t, "ca"), newTestCA(t, "ca")
	tests := []struct {
		name   string
		cert   *pair
		shake  string // error of the server
		mtls   string // error of the authenticator
		id     string
		called []string // names that rules may use
		not    []string
	}{
		{name: "none"},
		{name: "SPIFFE ID", cert: new(ca.issue(t, withURI(echoID), withDNS("localhost"))), id: echoID, called: []string{echoID, echoService}, not: []string{"localhost", "nobody looks at me", ""}},
		{name: "SPIFFE ID abroad", cert: new(ca.issue(t, withURI(abroadID))), id: abroadID, called: []string{abroadID}, not: []string{echoService, echoID}},
		{name: "DNS names", cert: new(ca.issue(t, withDNS("billing", "other"))), id: "billing", called: []string{"billing"}, not: []string{"other"}},
		{name: "wildcard first", cert: new(ca.issue(t, withDNS("*.example.org", "billing"))), id: "billing", called: []string{"billing"}},
		{name: "URI of another kind", cert: new(ca.issue(t, withURI("https://example.org/x"), withDNS("billing"))), id: "billing"},

		{name: "expired", cert: new(ca.issue(t, withURI(echoID), expired)), shake: "expired"},
		{name: "not yet valid", cert: new(ca.issue(t, withURI(echoID), notYet)), shake: "not yet valid"},
		{name: "rogue authority of the same name", cert: new(rogue.issue(t, withURI(echoID))), shake: "unknown authority"},
		{name: "self-signed", cert: new(selfSigned(t, withURI(echoID))), shake: "unknown authority"},
		{name: "for servers only", cert: new(ca.issue(t, withURI(echoID), withUsage(x509.ExtKeyUsageServerAuth))), shake: "incompatible key usage"},
		{name: "common name only", cert: new(ca.issue(t)), mtls: "names no service"},
		{name: "wildcard", cert: new(ca.issue(t, withDNS("*.example.org"))), mtls: "names no service"},
		{name: "two SPIFFE IDs", cert: new(ca.issue(t, withURI(echoID, otherID), withDNS("billing"))), mtls: "must be the only one"},
		{name: "SPIFFE ID and another URI", cert: new(ca.issue(t, withURI("https://example.org", echoID), withDNS("billing"))), mtls: "must be the only one"},
		{name: "malformed SPIFFE ID", cert: new(ca.issue(t, withURI("spiffe://example.org/a/../b"), withDNS("billing"))), mtls: "SPIFFE ID"},
		{name: "trust domain", cert: new(ca.issue(t, withURI("spiffe://example.org"))), mtls: "SPIFFE ID"},
		{name: "SPIFFE ID of an authority", cert: new(ca.issue(t, withURI(echoID), asCA)), mtls: "authority"},
	}
	certs := newCertDir(t, ca.issue(t, withURI(otherID), withDNS(echoService)), ca).load(nil)
	mtls := MTLS(certs.TrustDomain)
	for _, tt := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tt.name+" "+tls.VersionName(version), func(t *testing.T) {
				client := &tls.Config{RootCAs: ca.pool(), ServerName: echoService, MaxVersion: version}
				if tt.cert != nil {
					own := tt.cert.tls(t)
					// Sent whatever the server asks for.
					client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
				}
				o := shake(t, certs.Server(), client)
				if tt.shake != "" {
					if o.server == nil || !strings.Contains(o.server.Error(), tt.shake) || o.client == nil || o.received > 0 {
						t.Errorf("server: %v, client: %v, %d bytes, want %q", o.server, o.client, o.received, tt.shake)
					}
					return
				}
				wantOutcome(t, o, "")
				if tt.cert == nil {
					if len(o.chains) > 0 {
						t.Errorf("a chain of nobody: %v", o.chains)
					}
					return
				}
				id, err := mtls.Authenticate(context.Background(), Credential{Certs: o.chains[0]})
				if tt.mtls != "" {
					if err == nil || !strings.Contains(err.Error(), tt.mtls) || id != (Identity{}) {
						t.Errorf("got %v, %v, want %q", id, err, tt.mtls)
					}
					return
				}
				wantService(t, id, err, tt.id, tt.called, tt.not)
			})
		}
	}
}

func wantService(t *testing.T, id Identity, err error, want string, called, not []string) {
	t.Helper()
	if err != nil || id.User != nil || id.Service == nil || id.Service.ID != want || !id.Service.Expires.After(time.Now()) {
		t.Fatalf("got %+v, %v, want service %s", id, err, want)
	}
	for _, name := range called {
		if err := (Access{Services: []string{name}}).Check(id); err != nil {
			t.Errorf("a rule that names %q: %v", name, err)
		}
	}
	for _, name := range not {
		if (Access{Services: []string{name}}).Check(id) == nil {
			t.Errorf("a rule that names %q lets %s in", name, want)
		}
	}
}

// Certificates of the web's authorities are of no service.
func TestNoClientCertificatesOfTheSystemsAuthorities(t *testing.T) {
	ca := newTestCA(t, "ca")
	for _, roots := range []string{"", SystemRoots} {
		dir := newCertDir(t, ca.issue(t, withDNS(echoService)))
		dir.CA = roots
		asked := false
		o := shake(t, dir.load(nil).Server(), &tls.Config{
			RootCAs: ca.pool(), ServerName: echoService,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return &tls.Certificate{}, nil
			},
		})
		wantOutcome(t, o, "")
		if asked {
			t.Errorf("with authorities %q the server asked for a certificate", roots)
		}
	}
}

// Our certificate goes to servers that know its authority; others would refuse
// the connection for it.
func TestOwnCertificateOnlyWhereItIsKnown(t *testing.T) {
	ca, other := newTestCA(t, "ca"), newTestCA(t, "other")
	certs := newCertDir(t, ca.issue(t, withURI(otherID)), ca).load(nil)
	for name, authority := range map[string]*testCA{"known": ca, "unknown": other} {
		server := &tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, withDNS(echoService)).tls(t)},
			ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: authority.pool(),
		}
		o := shake(t, server, certs.Client(ServesAs(echoService, ""), 0))
		wantOutcome(t, o, "")
		if sent := len(o.chains) > 0; sent != (authority == ca) {
			t.Errorf("%s: the certificate was sent: %v", name, sent)
		}
	}
}

// A session must not outlive the authorities that vouched for the client.
func TestNoResumption(t *testing.T) {
	ca, next := newTestCA(t, "ca"), newTestCA(t, "next")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		dir := newCertDir(t, ca.issue(t, withDNS(echoService)), ca)
		certs := dir.load(nil)
		client := &tls.Config{
			RootCAs: ca.pool(), ServerName: echoService, MaxVersion: version,
			ClientSessionCache: tls.NewLRUClientSessionCache(8),
			Certificates:       []tls.Certificate{ca.issue(t, withURI(otherID)).tls(t)},
		}
		// The control: these clients do resume with a server that lets them.
		plain := certs.get().server.Clone()
		plain.SessionTicketsDisabled = false
		wantOutcome(t, shake(t, plain, client), "")
		if o := shake(t, plain, client); !o.resumed || len(o.chains) == 0 {
			t.Fatalf("a client with tickets did not resume: %+v", o)
		}
		server := certs.Server()
		for range 2 {
			o := shake(t, server, client)
			wantOutcome(t, o, "")
			if o.resumed || len(o.chains) == 0 {
				t.Errorf("resumed: %v, chains: %d, want a new session with a chain", o.resumed, len(o.chains))
			}
		}
		dir.authorities(next)
		certs.Refresh(time.Now())
		if o := shake(t, server, client); len(o.chains) > 0 {
			t.Error("a client of an authority that is gone was verified")
		}
	}
}

// What our client resumes is verified again: authorities may have changed.
func TestClientVerifiesWhatItResumes(t *testing.T) {
	ca, next := newTestCA(t, "ca"), newTestCA(t, "next")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		dir := newCertDir(t, ca.issue(t, withDNS("me")), ca)
		certs := dir.load(nil)
		client := certs.Client(ServesAs(echoService, ""), 0)
		client.ClientSessionCache, client.ServerName = tls.NewLRUClientSessionCache(8), "x"
		server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, withDNS(echoService)).tls(t)}, MaxVersion: version}
		wantOutcome(t, shake(t, server, client), "")
		if o := shake(t, server, client); !o.resumed {
			t.Fatalf("%#x: the client did not resume", version)
		}
		dir.own(next.issue(t, withDNS("me")))
		dir.authorities(next)
		certs.Refresh(time.Now())
		wantOutcome(t, shake(t, server, client), "unknown authority")
	}
}
