package edge

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/flags"
)

// manner is how an edge serves, as far as clients and services notice when another
// takes its place by mistake. It has no secrets: the running edge tells its own.
type manner struct {
	File     string `json:"file"` // absolute
	Registry string `json:"registry"`
	Auth     string `json:"auth,omitempty"` // "" is standalone
	TLS      bool   `json:"tls"`            // of the edge
	Verifies bool   `json:"verifies"`       // connections to services are TLS, and verified
}

func (e *Edge) mannerOf(f *routes.File) manner {
	path, err := filepath.Abs(e.config.File)
	if err != nil {
		path = e.config.File
	}
	return manner{
		File:     path,
		Registry: e.registry.String(),
		Auth:     flags.Redact(e.settings.get("auth")),
		TLS:      len(f.TLS) > 0 || e.settings.get("tls-cert") != "",
		Verifies: e.backends != nil,
	}
}

// authenticates tells whether it asks callers who they are.
func (m manner) authenticates() bool { return m.Auth != "" && m.Auth != "insecure-none" }

// loses finds what would be lost if one edge took the place of another.
func (m manner) loses(next manner) error {
	var errs []error
	lost := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	lost(next.Registry != m.Registry, "it finds services by the %s, and this one would by the %s: set -easyops.registry or EASYOPS_REGISTRY as it has it", m.Registry, next.Registry)
	lost(m.authenticates() && !next.authenticates(), "it authenticates callers by %s, and this one (%s) would not: set -easyops.auth or EASYOPS_AUTH", m.Auth, cmp.Or(next.Auth, "standalone"))
	lost(m.TLS && !next.TLS, "it has TLS, and this one would not: add tls to the routes file, or set -easyops.tls-cert and -easyops.tls-key")
	lost(m.Verifies && !next.Verifies, "it verifies services, and this one would not: set -easyops.tls-ca or EASYOPS_TLS_CA")
	return errors.Join(errs...)
}

// suits tells whether this edge may take the place of the one that runs, and says in the
// log what will be different.
func (e *Edge) suits(p *prior) error {
	if p == nil {
		return nil
	}
	err := p.manner.loses(e.manner)
	switch {
	case err != nil && !e.config.Anyway:
		return fmt.Errorf("not taking over from process %d:\n%w\nor let this one have an address and a --handover of its own; --take-over-anyway takes over as it is", p.pid, err)
	case err != nil:
		e.log.Warn("taking over from an edge that serves in another manner", "pid", p.pid, "err", err)
	}
	if p.manner.File != e.manner.File {
		e.log.Warn("taking over with another routes file", "pid", p.pid, "was", p.manner.File, "is", e.manner.File)
	}
	if p.manner.Auth != e.manner.Auth {
		e.log.Warn("taking over with other authenticators", "pid", p.pid, "was", p.manner.Auth, "is", e.manner.Auth)
	}
	return nil
}
