// Package spiffe_test compares whom our authenticator takes a certificate for
// with what go-spiffe says of it.
package spiffe_test

import (
	"context"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/go-easyops/easyops/runtime/auth"
)

// seeds are IDs good and bad.
var seeds = []string{
	"spiffe://example.org/billing",
	"spiffe://example.org/ns/prod/sa/echo.v1.EchoService",
	"spiffe://a-b_c.9/X_y-z.0/...",
	"spiffe://example.org",
	"spiffe://example.org/",
	"spiffe://example.org/a//b",
	"spiffe://example.org/a/./b",
	"spiffe://example.org/a/../b",
	"spiffe://example.org/..",
	"spiffe://Example.org/a",
	"SPIFFE://example.org/a",
	"spiffe://example.org:80/a",
	"spiffe://me:pw@example.org/a",
	"spiffe://example.org/a?b=c",
	"spiffe://example.org/a?",
	"spiffe://example.org/a#b",
	"spiffe://example.org/%61",
	"spiffe://example.org/a%2fb",
	"spiffe://example.org/a~b",
	"spiffe://example.org/ä",
	"spiffe://[::1]/a",
	"spiffe:///a",
	"spiffe:example.org/a",
	"https://example.org/a",
	"spiffe://" + strings.Repeat("a", 255) + "/b",
	"spiffe://" + strings.Repeat("a", 256) + "/b",
	"spiffe://a/" + strings.Repeat("b", 2037),
	"spiffe://a/" + strings.Repeat("b", 2038),
}

// FuzzID wants the same answer of both, except where X509-SVID and SPIFFE-ID
// say more than go-spiffe checks: a service has a path, and the lengths.
func FuzzID(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			t.Skip("crypto/x509 does not take what is no URL")
		}
		want, wantErr := spiffeid.FromURI(u)
		tooLong := len(want.String()) > 2048 || len(want.TrustDomain().Name()) > 255
		good := wantErr == nil && want.Path() != "" && !tooLong
		id, err := identify(&x509.Certificate{URIs: []*url.URL{u}})
		switch {
		case !good && err == nil:
			t.Errorf("%q: taken as %s, but go-spiffe says %v", s, id.Service.ID, wantErr)
		case good && err != nil:
			t.Errorf("%q: %v, but go-spiffe takes it as %v", s, err, want)
		case good && (id.Service.ID != want.String() || id.Service.Issuer != want.TrustDomain().Name()):
			t.Errorf("%q: taken as %s of %s, by go-spiffe as %v", s, id.Service.ID, id.Service.Issuer, want)
		}
	})
}

// TestURIs is about what is around the ID.
func TestURIs(t *testing.T) {
	parse := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	id, other, web := parse("spiffe://example.org/a"), parse("spiffe://example.org/b"), parse("https://example.org")
	for name, uris := range map[string][]*url.URL{
		"none": nil, "one": {id}, "two": {id, other}, "twice the same": {id, id}, "of the web": {web}, "after one of the web": {web, id}, "before one of the web": {id, web},
	} {
		leaf := &x509.Certificate{URIs: uris}
		want, wantErr := x509svid.IDFromCert(leaf)
		got, err := identify(leaf)
		if (err == nil) != (wantErr == nil) || err == nil && got.Service.ID != want.String() {
			t.Errorf("%s: got %v, %v, go-spiffe says %v, %v", name, got.Service, err, want, wantErr)
		}
	}
}

func identify(leaf *x509.Certificate) (auth.Identity, error) {
	leaf.NotAfter = time.Now().Add(time.Hour)
	return auth.MTLS(nil).Authenticate(context.Background(), auth.Credential{Certs: []*x509.Certificate{leaf}})
}
