package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/auth"
)

// certificates are those of the routes file. Each follows its files as the
// certificate of a server does, and a handshake has the one that fits the name that
// the client asks for.
type certificates struct {
	ca  string // the authorities of client certificates, "" for none
	log *slog.Logger
	now atomic.Pointer[certList]
}

// certList does not change.
type certList []certEntry

type certEntry struct {
	files  auth.CertFiles
	certs  *auth.Certificates
	server *tls.Config
}

// prepare loads the certificates of a file; two lines that name the same files count
// as one. What is in force already stays as it is,
// with all that it knows. The error has a line for each that cannot be had.
func (c *certificates) prepare(f *routes.File) (certList, error) {
	var list certList
	var errs []error
	for _, of := range f.TLS {
		files := auth.CertFiles{Cert: of.Cert, Key: of.Key, CA: c.ca}
		if slices.ContainsFunc(list, func(e certEntry) bool { return e.files == files }) {
			continue
		}
		entry, known := c.find(files)
		if !known {
			certs, err := auth.LoadCertificates(files, c.log)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: tls: %w", f.Name, of.Line, err))
				continue
			}
			entry = certEntry{files, certs, certs.Server()}
		}
		list = append(list, entry)
	}
	return list, errors.Join(errs...)
}

func (c *certificates) find(files auth.CertFiles) (certEntry, bool) {
	for _, e := range c.list() {
		if e.files == files {
			return e, true
		}
	}
	return certEntry{}, false
}

func (c *certificates) list() certList {
	if now := c.now.Load(); now != nil {
		return *now
	}
	return nil
}

func (c *certificates) set(list certList) { c.now.Store(&list) }

// server returns the TLS configuration of the edge.
func (c *certificates) server() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return c.list().choose(hello.ServerName).server.GetConfigForClient(hello)
		},
	}
}

// choose returns the certificate for a name: of those that fit the first, and the
// first of all where none does or the client names none.
func (l certList) choose(name string) certEntry {
	if name != "" {
		for _, e := range l {
			if leaf := e.certs.Leaf(); leaf != nil && leaf.VerifyHostname(name) == nil {
				return e
			}
		}
	}
	return l[0]
}

// refresh looks at the files.
func (c *certificates) refresh(now time.Time) {
	for _, e := range c.list() {
		e.certs.Refresh(now)
	}
}

// states are for the status page.
func (c *certificates) states() (all []auth.SourceState) {
	for _, e := range c.list() {
		all = append(all, e.certs.State())
	}
	return all
}
