package auth

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"testing"
)

// newDomainCA is an authority that names its trust domain.
func newDomainCA(t testing.TB, uris ...string) *testCA {
	t.Helper()
	ca := newTestCA(t, "ca of "+uris[0])
	template := *ca.cert
	withURI(uris...)(&template)
	ca.pem = sign(t, &template, &template, ca.key, ca.key)
	ca.cert = parsed(t, ca.pem)
	return ca
}

func parsed(t testing.TB, data []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(data)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An authority that names a trust domain vouches for no other, and so gets no
// further than its own services.
func TestAuthoritiesAreOfTheirDomain(t *testing.T) {
	ours, partner, bare := newDomainCA(t, "spiffe://ours.example"), newDomainCA(t, "spiffe://partner.example"), newTestCA(t, "bare")
	torn := newDomainCA(t, "spiffe://ours.example", "spiffe://partner.example")
	between := &testCA{key: newTestKey(t)}
	below := func(root *testCA) []*x509.Certificate {
		inner := template(asCA, withURI("spiffe://partner.example"))
		between.cert = parsed(t, sign(t, inner, root.cert, between.key, root.key))
		return []*x509.Certificate{between.cert, root.cert}
	}
	const id, dns, err = "spiffe://ours.example/billing", "billing", "error"
	for name, c := range map[string]struct {
		leaf func(*x509.Certificate)
		cas  []*x509.Certificate
		own  string
		want string // the name that rules have for it; "" for none
	}{
		"ours":                       {withURI(id), chain(ours.cert), "ours.example", id},
		"ours by an authority of no": {withURI(id), chain(bare.cert), "ours.example", id},
		"ours by the partner":        {withURI(id), chain(partner.cert), "ours.example", err},
		"ours below the partner":     {withURI(id), below(bare), "ours.example", err},
		"theirs below the partner":   {withURI("spiffe://partner.example/billing"), below(bare), "ours.example", "spiffe://partner.example/billing"},
		"theirs between two domains": {withURI("spiffe://partner.example/billing"), below(ours), "ours.example", err},
		"theirs":                     {withURI("spiffe://partner.example/billing"), chain(partner.cert), "ours.example", "spiffe://partner.example/billing"},
		"of two domains":             {withURI(id), chain(torn.cert), "ours.example", err},
		"DNS by ours":                {withDNS(dns), chain(ours.cert), "ours.example", dns},
		"DNS by an authority of no":  {withDNS(dns), chain(bare.cert), "ours.example", dns},
		"DNS by the partner":         {withDNS(dns), chain(partner.cert), "ours.example", ""},
		"DNS by it, we have none":    {withDNS(dns), chain(partner.cert), "", ""},
		"DNS like a SPIFFE ID":       {withDNS(id), chain(bare.cert), "ours.example", err},
		"DNS with a port":            {withDNS("billing:80"), chain(bare.cert), "ours.example", err},
		"DNS with a path":            {withDNS("a/billing"), chain(bare.cert), "ours.example", err},
	} {
		m := MTLS(func() string { return c.own })
		leaf := template(c.leaf)
		for range 2 { // the second is remembered
			got, gotErr := m.Authenticate(context.Background(), Credential{Certs: append(chain(leaf), c.cas...)})
			if (gotErr != nil) != (c.want == err) {
				t.Errorf("%s: %v, %v", name, got, gotErr)
				continue
			}
			for _, rule := range []string{id, dns, "spiffe://partner.example/billing"} {
				passes := gotErr == nil && (Access{Allow: Services, Services: []string{rule}}).Check(got) == nil
				// A bare name is that of the server's own domain.
				want := rule == c.want || rule == dns && c.want == id
				if passes != want {
					t.Errorf("%s: it passes a rule for %s: %v", name, rule, passes)
				}
			}
		}
	}
}

// What is remembered of a certificate was said of one chain.
func TestAnotherChainOfACertificate(t *testing.T) {
	ours, partner := newDomainCA(t, "spiffe://ours.example"), newDomainCA(t, "spiffe://partner.example")
	m := MTLS(func() string { return "ours.example" })
	leaf := template(withURI("spiffe://ours.example/billing"))
	for range 2 {
		if _, err := m.Authenticate(t.Context(), Credential{Certs: []*x509.Certificate{leaf, ours.cert}}); err != nil {
			t.Error(err)
		}
		if id, err := m.Authenticate(t.Context(), Credential{Certs: []*x509.Certificate{leaf, partner.cert}}); err == nil {
			t.Errorf("got %v", id)
		}
	}
}

// The same holds for servers, by real handshakes.
func TestServersByForeignAuthorities(t *testing.T) {
	ours, partner := newDomainCA(t, "spiffe://"+domain), newDomainCA(t, "spiffe://partner.example")
	client := newCertDir(t, ours.issue(t, withURI(otherID)), ours, partner).load(nil)
	for name, c := range map[string]struct {
		server pair
		want   string
	}{
		"ours":                {ours.issue(t, withURI(echoID)), ""},
		"ours by the partner": {partner.issue(t, withURI(echoID)), `its authority of trust domain "partner.example"`},
	} {
		server := newCertDir(t, c.server, ours, partner).load(nil)
		if o := shake(t, server.Server(), client.Client(client.ServesAs(echoService, ""), 0)); !matches(o.client, c.want) {
			t.Errorf("%s: got %v, want %q", name, o.client, c.want)
		}
	}
}

// What else is in the URIs of authorities is of no account, and a SPIFFE URI
// without a domain is of none that could be meant.
func TestAuthorityDomain(t *testing.T) {
	for uri, want := range map[string]string{
		"https://ca.example": "", "spiffe://a.example": "a.example", "spiffe://a.example/ca": "a.example", "spiffe://A.example": "A.example", "spiffe:///x": "error",
	} {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		got, err := authorityDomain([]*x509.Certificate{{}, {URIs: []*url.URL{u}}})
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", uri, got, want)
		}
	}
}
