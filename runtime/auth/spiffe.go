package auth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

const (
	spiffeScheme   = "spiffe://"
	maxSPIFFE      = 2048 // bytes of an ID
	maxTrustDomain = 255  // bytes of its trust domain
)

// spiffeID is a SPIFFE ID as a certificate of a service holds it; the zero
// value is none.
type spiffeID struct {
	domain string // example.org
	path   string // /billing
}

func (id spiffeID) String() string {
	if id.domain == "" {
		return ""
	}
	return spiffeScheme + id.domain + id.path
}

// isSPIFFE tells whether a name is written like a SPIFFE ID, good or not.
func isSPIFFE(name string) bool {
	return len(name) >= len(spiffeScheme) && strings.EqualFold(name[:len(spiffeScheme)], spiffeScheme)
}

// name is the last segment of the path.
func (id spiffeID) name() string { return id.path[strings.LastIndexByte(id.path, '/')+1:] }

// spiffeOf returns the SPIFFE ID of a certificate, zero for none (X509-SVID,
// sections 2 and 4). A certificate may not have one among other URIs, nor be
// that of an authority.
func spiffeOf(leaf *x509.Certificate) (spiffeID, error) {
	switch {
	case len(leaf.URIs) == 0:
		return spiffeID{}, nil
	case len(leaf.URIs) > 1:
		return spiffeID{}, fmt.Errorf("the certificate has %d URIs: a SPIFFE ID must be the only one", len(leaf.URIs))
	case leaf.URIs[0].Scheme != "spiffe":
		return spiffeID{}, nil
	case leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return spiffeID{}, errors.New("the certificate is that of an authority: a service must have one that cannot sign others")
	}
	return parseSPIFFE(leaf.URIs[0].String())
}

// parseSPIFFE reads the SPIFFE ID of a service (SPIFFE-ID, section 2): neither
// user, port, query, fragment nor percent-encoding, and a path, which tells the
// service from its trust domain.
func parseSPIFFE(s string) (spiffeID, error) {
	bad := func(what string) (spiffeID, error) { return spiffeID{}, fmt.Errorf("SPIFFE ID %.300q: %s", s, what) }
	rest, ok := strings.CutPrefix(s, spiffeScheme)
	if !ok {
		return bad("it does not begin with " + spiffeScheme)
	}
	if len(s) > maxSPIFFE {
		return bad(fmt.Sprintf("it is longer than %d bytes", maxSPIFFE))
	}
	domain, path, _ := strings.Cut(rest, "/")
	if domain == "" || len(domain) > maxTrustDomain || strings.ContainsFunc(domain, notInTrustDomain) {
		return bad("its trust domain is not 1 to 255 of a-z, 0-9, dot, dash and underscore")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, notInPath) {
			return bad("its path is not made of segments of letters, digits, dots, dashes and underscores")
		}
	}
	return spiffeID{domain, "/" + path}, nil
}

func notInTrustDomain(r rune) bool {
	return notInPath(r) || r >= 'A' && r <= 'Z'
}

func notInPath(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
		return false
	}
	return true
}

// authorityDomain returns the trust domain that the authorities of a verified
// chain are of, "" for none. As X509-SVID has it, they name it by a URI.
func authorityDomain(chain []*x509.Certificate) (domain string, err error) {
	for _, authority := range chain[1:] {
		for _, u := range authority.URIs {
			switch {
			case u.Scheme != "spiffe":
			case u.Host == "" || domain != "" && domain != u.Host:
				return "", fmt.Errorf("the authorities of the certificate are of trust domains %q and %q", domain, u.Host)
			default:
				domain = u.Host
			}
		}
	}
	return domain, nil
}

// checkAuthority tells whether authorities of a trust domain, "" for none, may
// vouch for the ID.
func (id spiffeID) checkAuthority(vouch string) error {
	if vouch == "" || id.domain == "" || vouch == id.domain {
		return nil
	}
	return fmt.Errorf("the certificate is of %.300q, and its authority of trust domain %.300q", id, vouch)
}
