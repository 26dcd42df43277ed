package auth

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// SystemRoots stands for the system's authorities in [CertFiles].
const SystemRoots = "system"

// maxCertFile is how long a file of certificates may be, in bytes: four times
// what systems have as authorities of the web.
const maxCertFile = 1 << 20

// CertFiles are the files of a service's certificate, PEM. Each may be empty,
// Cert and Key only together. Whoever has a certificate of the authorities in CA
// is a service to this one, so these should issue them to nobody else.
type CertFiles struct {
	Cert string // its certificate, and those between it and the authority
	Key  string // the private key
	CA   string // the authorities that verify peers; "" or SystemRoots are the system's
}

// Certificates are our certificate and the authorities that verify peers, in
// both directions. They follow their files: certificate, key and authorities are
// taken as one set, and what was read last stays in force while the files are
// missing, half written, do not fit each other, or hold a certificate that is
// not valid now. It is a [Source]; all methods may be called concurrently.
//
// A new set is for new connections. Those that are open keep what verified them.
type Certificates struct {
	watched[*certSet]
}

// certSet is what the files hold. It does not change.
type certSet struct {
	cert   *tls.Certificate // nil: we have none
	domain string           // of its SPIFFE ID, "" for none
	roots  *x509.CertPool   // nil are the system's
	server *tls.Config      // nil: no server without a certificate
}

// LoadCertificates reads the files. What would keep a set from being taken later
// is an error, which names the file; so is a certificate that no peer would take:
// expired, not yet valid, or with a common name only. A nil log is
// slog.Default(); it is told once of each change.
func LoadCertificates(files CertFiles, log *slog.Logger) (*Certificates, error) {
	if (files.Cert == "") != (files.Key == "") {
		return nil, errors.New("a certificate and its key go together: name the files of both or of neither")
	}
	var cert, key, ca *watchedFile
	c := &Certificates{watched[*certSet]{name: "certificates", log: log}}
	add := func(path string) *watchedFile {
		f := &watchedFile{path: path, limit: maxCertFile}
		c.files = append(c.files, f)
		return f
	}
	if files.Cert != "" {
		cert, key = add(files.Cert), add(files.Key)
	}
	if files.CA != "" && files.CA != SystemRoots {
		ca = add(files.CA)
	}
	c.parse = func(now time.Time) (*certSet, SourceState, error) { return parseCerts(cert, key, ca, now) }
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Server returns the TLS configuration of a server, nil without a certificate of
// our own. Each handshake has the set that is in force then. Client certificates
// are verified if given, where the authorities are a file: those of the system
// vouch for hosts of the web and not for services. Sessions are not resumed: a
// ticket would outlive the authorities that it rests on.
func (c *Certificates) Server() *tls.Config {
	if len(c.files) < 2 {
		return nil
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
		GetConfigForClient:     func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.get().server, nil },
	}
}

// TrustDomain returns the trust domain of our own SPIFFE ID, "" for none.
func (c *Certificates) TrustDomain() string { return c.get().domain }

// Leaf returns our own certificate, nil for none. It must not be changed.
func (c *Certificates) Leaf() *x509.Certificate {
	if own := c.get().cert; own != nil {
		return own.Leaf
	}
	return nil
}

// DNSNames returns the DNS names of our own certificate.
func (c *Certificates) DNSNames() []string {
	if own := c.get().cert; own != nil {
		return slices.Clone(own.Leaf.DNSNames)
	}
	return nil
}

// String names the files, and keeps the key out of %v.
func (c *Certificates) String() string { return "certificates of " + c.where() }

// GoString keeps the key out of %#v.
func (c *Certificates) GoString() string { return c.String() }

// parseCerts makes a set of the contents of the files that there are.
func parseCerts(cert, key, ca *watchedFile, now time.Time) (*certSet, SourceState, error) {
	set, state := &certSet{}, SourceState{What: "the system's authorities"}
	if ca != nil {
		authorities, err := certificatesIn(ca)
		if err != nil {
			return nil, state, err
		}
		set.roots = x509.NewCertPool()
		for _, a := range authorities {
			set.roots.AddCert(a)
		}
		state.What, state.Expires = describeAuthorities(authorities)
	}
	if cert != nil {
		chain, err := set.addOwn(cert, key, now)
		if err != nil {
			return nil, state, err
		}
		state.What = namesOf(chain[0]) + "; " + state.What
		state.Expires = firstEnd(chain, state.Expires)
		set.server = set.serverConfig()
	}
	return set, state, nil
}

// addOwn adds our certificate, and returns it and those above it.
func (s *certSet) addOwn(cert, key *watchedFile, now time.Time) ([]*x509.Certificate, error) {
	chain, err := certificatesIn(cert)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert.data, key.data)
	if err != nil {
		return nil, fmt.Errorf("%s and its key %s: %w", cert.path, key.path, err)
	}
	id, err := checkOwn(chain[0], now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cert.path, err)
	}
	s.cert, s.domain = &pair, id.domain
	return chain, nil
}

// checkOwn finds out now what every peer would refuse.
func checkOwn(leaf *x509.Certificate, now time.Time) (spiffeID, error) {
	id, err := spiffeOf(leaf)
	switch {
	case err != nil:
		return id, err
	case now.Before(leaf.NotBefore):
		return id, fmt.Errorf("the certificate is not valid before %s", leaf.NotBefore.Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return id, fmt.Errorf("the certificate expired at %s", leaf.NotAfter.Format(time.RFC3339))
	case len(leaf.URIs)+len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		return id, errors.New("the certificate has only a common name, which nobody looks at: have one issued with DNS names or a SPIFFE ID")
	}
	return id, nil
}

func (s *certSet) serverConfig() *tls.Config {
	t := &tls.Config{
		MinVersion:             tls.VersionTLS12,
		Certificates:           []tls.Certificate{*s.cert},
		SessionTicketsDisabled: true,
	}
	if s.roots != nil {
		t.ClientAuth, t.ClientCAs = tls.VerifyClientCertIfGiven, s.roots
	}
	return t
}

// certificatesIn returns the certificates of a file. That is more exacting than
// crypto/tls and crypto/x509, which pass over what they cannot read: a file that
// ends in the middle is one that is being written.
func certificatesIn(f *watchedFile) (certs []*x509.Certificate, err error) {
	block, rest := pem.Decode(f.data)
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", f.path, len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, fmt.Errorf("%s: it ends in the middle of a certificate, or holds a broken one", f.path)
	case len(certs) == 0:
		return nil, fmt.Errorf("%s: it holds no certificate in PEM form", f.path)
	}
	return certs, nil
}

// namesOf names a certificate by what counts of it.
func namesOf(leaf *x509.Certificate) string {
	var names []string
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	names = append(names, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return fmt.Sprintf("%q by its common name only", leaf.Subject.CommonName)
	}
	return fmt.Sprintf("%.500q", strings.Join(names, ", "))
}

// describeAuthorities says who they are, and when the last of them expires.
func describeAuthorities(certs []*x509.Certificate) (what string, expires time.Time) {
	const most = 3
	var names []string
	for _, c := range certs {
		names = append(names, c.Subject.String())
		if c.NotAfter.After(expires) {
			expires = c.NotAfter
		}
	}
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(certs)-most))
	}
	return fmt.Sprintf("authorities %q", names), expires
}

// firstEnd returns when the first of the certificates expires, or end if that
// is before.
func firstEnd(certs []*x509.Certificate, end time.Time) time.Time {
	for _, c := range certs {
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}
