package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"
)

// The files of an authority and of what it issues.
const (
	caFile     = "ca.pem"
	caKeyFile  = "ca-key.pem"
	certFile   = "cert.pem"
	certKey    = "key.pem"
	trustOfOwn = "easyops.internal" // where --trust-domain names none
)

// clockSkew is how far the clocks of machines may be apart.
const clockSkew = 5 * time.Minute

const caHelp = `
Whoever has the key of the authority can be every service. Keep it off the
machines where services run, and give each service the three files that easyops
ca issue writes for it.

This is for development, tests, and systems of a few services: nothing renews
certificates by itself and nothing revokes them. Where services come and go, use
SPIRE, cert-manager or another authority that issues SPIFFE IDs or DNS names and
renews its certificates: servers take those just the same.`

func caNewCommand() *cobra.Command {
	domain, ttl := trustOfOwn, lifetime(3650*day)
	var force bool
	c := &cobra.Command{
		Use:   "new DIR",
		Short: "Make an authority that certifies services.",
		Long: `
Writes the authority's certificate DIR/` + caFile + ` (ECDSA P-256), which is public, and
its private key DIR/` + caKeyFile + `, readable by its owner alone.

To replace an authority, make the new one in another directory, put both
certificates into the file that -easyops.tls-ca names on every machine, issue
anew, and take the old one out: cat old/ca.pem new/ca.pem > both.pem
` + caHelp,
		Example: `  easyops ca new ca
  easyops ca new --trust-domain prod.example.org ca`,
		Args:              oneArgument("directory"),
		ValidArgsFunction: directories,
		RunE: func(c *cobra.Command, args []string) error {
			if !trustDomain.MatchString(domain) {
				return usagef("ca new: --trust-domain %q: it has lower-case letters, digits, dots, dashes and underscores alone, such as example.org", domain)
			}
			files, err := newAuthority(args[0], domain, time.Duration(ttl), time.Now())
			if err != nil {
				return err
			}
			return writeFiles(c.OutOrStdout(), force, files...)
		},
	}
	c.Flags().StringVar(&domain, "trust-domain", domain, "`name` of the SPIFFE trust domain, in which bare names of services are good")
	c.Flags().Var(&ttl, "ttl", "how long the authority is good for")
	c.Flags().BoolVar(&force, "force", false, "replace an authority that is there: its certificates are refused from then on")
	return c
}

// trustDomain and pathSegment are what names of SPIFFE-ID, section 2, are made
// of.
var (
	trustDomain = regexp.MustCompile(`^[a-z0-9._-]{1,255}$`)
	pathSegment = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// newAuthority makes an authority. Its certificate names the trust domain, as
// X509-SVID, section 3.2, has it.
func newAuthority(dir, domain string, ttl time.Duration, now time.Time) ([]file, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "easyops CA " + rand.Text()[:8]},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: domain}},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(ttl),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	private, err := privatePEM(key)
	if err != nil {
		return nil, err
	}
	return []file{
		{filepath.Join(dir, caKeyFile), secretFile, private},
		{filepath.Join(dir, caFile), publicFile, certPEM(der)},
	}, nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// authority issues certificates.
type authority struct {
	cert   *x509.Certificate
	key    crypto.PrivateKey
	domain string
}

// readAuthority reads what [newAuthority] made.
func readAuthority(dir string) (*authority, error) {
	if err := wantDirectory("DIR", dir, "of the authority"); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, caFile)
	cert, err := readCertificate(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: easyops ca new %s makes an authority", err, dir)
	}
	if err != nil {
		return nil, err
	}
	if !cert.IsCA || len(cert.URIs) != 1 || cert.URIs[0].Scheme != "spiffe" {
		return nil, fmt.Errorf("%s is not an authority that easyops ca new made", path)
	}
	key, err := readPrivateKey(filepath.Join(dir, caKeyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: DIR is the directory of the authority%s", err, authorityAbove(dir))
	}
	if err != nil {
		return nil, err
	}
	return &authority{cert, key, cert.URIs[0].Host}, nil
}

// authorityAbove names the directory above where an authority is in that: its
// certificates are below it.
func authorityAbove(dir string) string {
	above := filepath.Dir(filepath.Clean(dir))
	if _, err := os.Stat(filepath.Join(above, caKeyFile)); err != nil {
		return ", which easyops ca new makes"
	}
	return ": " + above
}

// readCertificate reads the first certificate of a file, PEM.
func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cert, nil
}
