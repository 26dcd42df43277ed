package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/registry"
)

// certRequest is the certificate that a command line asks for.
type certRequest struct {
	id       string // path of the SPIFFE ID, without its first slash
	services []string
	dns      []string
	ips      addresses
	ttl      lifetime
}

func caIssueCommand() *cobra.Command {
	request := certRequest{ttl: lifetime(90 * day)}
	var out string
	var force bool
	c := &cobra.Command{
		Use:   "issue --id NAME DIR",
		Short: "Issue a certificate to a service.",
		Long: `
Writes a certificate of the authority in DIR for a program that is called NAME,
its private key, and the authority's certificate, to DIR/NAME:

  cert.pem  for -easyops.tls-cert
  key.pem   for -easyops.tls-key; readable by its owner alone
  ca.pem    for -easyops.tls-ca

NAME is who the program is when it calls: rules in .proto files say it in
services:, and its SPIFFE ID is spiffe://TRUST-DOMAIN/NAME. --service names what
it may serve, as the registry lists it: a gRPC service package and all, an HTTP or
TCP service by the name that its program gives it. Clients of that service talk to
nobody else. A program that only calls needs none. Clients that know nothing of easyops, such as
browsers and curl, go by --dns and --ip.

Run it again with --force before the certificate expires: the program reads the
files again when they change.
` + caHelp,
		Example: `  easyops ca issue --service echo.v1.EchoService --id echo --dns localhost ca
  easyops ca issue --id frontend ca
  easyops ca issue --id echo --service echo.v1.EchoService --ttl 30d --force --out /etc/echo ca`,
		Args:              oneArgument("directory, that of the authority"),
		ValidArgsFunction: directories,
		RunE: func(c *cobra.Command, args []string) error {
			if err := request.check(); err != nil {
				return usagef("ca issue: %w", err)
			}
			ca, err := readAuthority(args[0])
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(args[0], filepath.FromSlash(request.id))
			}
			files, err := ca.issue(request, out, time.Now())
			if err != nil {
				return err
			}
			return writeFiles(c.OutOrStdout(), force, files...)
		},
	}
	f := c.Flags()
	f.StringVar(&request.id, "id", "", "`name` of the program, which rules use")
	f.StringSliceVar(&request.services, "service", nil, "full `name` of a service that it may serve, of any kind; several are allowed")
	f.StringSliceVar(&request.dns, "dns", nil, "DNS `name` of its machine; several are allowed")
	f.Var(&request.ips, "ip", "IP `address` of its machine; several are allowed")
	f.Var(&request.ttl, "ttl", "how long the certificate is good for")
	f.StringVar(&out, "out", "", "`directory` to write to (DIR/NAME)")
	f.BoolVar(&force, "force", false, "replace a certificate that is there")
	_ = c.MarkFlagDirname("out")
	return c
}

// hostName is a DNS name, with a wildcard in front or without.
var hostName = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)

// check returns what is wrong with a request, all at once.
func (r certRequest) check() error {
	var errs []error
	if err := checkID(r.id); err != nil {
		errs = append(errs, err)
	}
	for _, s := range r.services {
		if !registry.ValidService(s) {
			errs = append(errs, fmt.Errorf("--service %q is no name of a service: write it as the registry lists it, for gRPC with its package, such as echo.v1.EchoService", s))
		}
	}
	for _, name := range r.dns {
		switch {
		case net.ParseIP(name) != nil: // clients look for it among addresses alone
			errs = append(errs, fmt.Errorf("--dns %q is an address: write --ip %s", name, name))
		case len(name) > 253 || !hostName.MatchString(name):
			errs = append(errs, fmt.Errorf("--dns %q is no DNS name: write it without a port, such as localhost, and addresses with --ip", name))
		}
	}
	return errors.Join(errs...)
}

// checkID wants the path of a SPIFFE ID.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("--id is missing: the name of the program, such as echo")
	case strings.HasPrefix(id, "spiffe:"):
		return fmt.Errorf("--id %q: name the part behind the trust domain alone, such as %s", id, path.Base(id))
	case len(id) > 1024:
		return errors.New("--id is longer than 1024 characters")
	}
	for _, segment := range strings.Split(id, "/") {
		if !pathSegment.MatchString(segment) || segment == "." || segment == ".." {
			return fmt.Errorf("--id %q: it has letters, digits, dots, dashes and underscores alone, with / between parts, such as echo", id)
		}
	}
	return nil
}

// issue makes a key and the certificate for it, for both ends of a connection.
func (a *authority) issue(r certRequest, dir string, now time.Time) ([]file, error) {
	expires := now.Add(time.Duration(r.ttl))
	if expires.After(a.cert.NotAfter) {
		return nil, fmt.Errorf("the authority expires on %s, before the certificate would: shorten --ttl, or make a new authority with easyops ca new",
			a.cert.NotAfter.Format(time.DateOnly))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName(r.id)},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: a.domain, Path: "/" + r.id}},
		DNSNames:    unique(r.services, r.dns),
		IPAddresses: r.ips,
		NotBefore:   now.Add(-clockSkew),
		NotAfter:    expires,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		// It says that it is no authority, as X509-SVID, section 4.1, wants.
		BasicConstraintsValid: true,
	}, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	private, err := privatePEM(key)
	if err != nil {
		return nil, err
	}
	return []file{
		{filepath.Join(dir, certKey), secretFile, private},
		{filepath.Join(dir, certFile), publicFile, certPEM(der)},
		{filepath.Join(dir, caFile), publicFile, certPEM(a.cert.Raw)},
	}, nil
}

// commonName names a certificate for people, within the 64 characters of RFC
// 5280.
func commonName(id string) string {
	name := path.Base(id)
	return name[:min(len(name), 64)]
}

// unique joins lists of names and keeps the first of each.
func unique(lists ...[]string) (names []string) {
	for _, name := range slices.Concat(lists...) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
