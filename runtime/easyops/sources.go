package easyops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/status"
)

// refreshSources looks at what identity rests on once a second, until the last
// call has ended. It has a goroutine of its own: a file may be on a slow disk.
func (s *Server) refreshSources() {
	everySecond(s.life, func(now time.Time) {
		for _, source := range s.sources {
			_ = s.guard(s.life, "identity source", func() { source.Refresh(now) })
		}
	})
}

// closeAuthenticators ends what those that the server has opened still do.
func (s *Server) closeAuthenticators() error {
	var errs []error
	for _, a := range s.opened {
		if c, ok := a.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// states returns what identity rests on now.
func (s *Server) states() []auth.SourceState {
	all := make([]auth.SourceState, 0, len(s.sources))
	for _, source := range s.sources {
		all = append(all, s.stateOf(source))
	}
	return all
}

// stateOf asks a source, which may be the user's own, for its state.
func (s *Server) stateOf(source auth.Source) (state auth.SourceState) {
	if err := s.guard(context.Background(), "identity source", func() { state = source.State() }); err != nil {
		state.Err = err
	}
	return state
}

// identityPage is what the status pages show of identity.
func (s *Server) identityPage() status.Identity {
	id := status.Identity{Callers: s.describeCallers(), Operators: s.describeOperators()}
	for _, state := range s.states() {
		id.Sources = append(id.Sources, status.Source{
			Name: state.Name, Where: state.Where, What: state.What, Since: state.Since, Expires: state.Expires, Err: state.Err,
		})
	}
	return id
}

// describeCallers says how callers are authenticated, for people.
func (s *Server) describeCallers() string {
	switch s.trust {
	case standalone:
		return "not authenticated: only this machine can connect, and access rules let everyone in"
	case insecure:
		return "not authenticated: insecure-none lets everyone in"
	case open:
		return "not authenticated: only what is for EVERYONE answers"
	}
	names := slices.Clone(s.cfg.authSpecs)
	for i, a := range s.authenticators {
		named, ok := a.(fmt.Stringer)
		switch {
		case ok && i < len(names):
			names[i] = named.String()
		case ok:
			names = append(names, named.String())
		case i >= len(names):
			names = append(names, fmt.Sprintf("%T", a))
		}
	}
	return "authenticated by " + strings.Join(names, "; ")
}

// addSourceGauges makes it a metric that a source is not what it should be, and
// when our own certificate expires.
func (s *Server) addSourceGauges() error {
	var errs []error
	named := map[string][]auth.Source{}
	for i, state := range s.states() {
		name := state.Name
		if state.Where != "" {
			name += " " + state.Where
		}
		named[name] = append(named[name], s.sources[i])
	}
	for name, sources := range named {
		errs = append(errs, s.metrics.GaugeFunc("easyops_identity_source_failing",
			"1 while what identity rests on cannot be read, or not be used: what was read last stays in force.",
			func() float64 { return s.anyFails(sources) }, "source", name))
	}
	if expires := s.certificateExpiry(); expires != nil {
		errs = append(errs, s.metrics.GaugeFunc("easyops_certificate_expiry_timestamp_seconds",
			"When the first of the server's certificates expires, in seconds since 1970.",
			func() float64 { return float64(expires().Unix()) }))
	}
	return errors.Join(errs...)
}

// anyFails is 1 where one of the sources has an error.
func (s *Server) anyFails(sources []auth.Source) float64 {
	for _, source := range sources {
		if s.stateOf(source).Err != nil {
			return 1
		}
	}
	return 0
}

// certificateExpiry returns what tells when the server's certificate expires; nil
// where that is not known.
func (s *Server) certificateExpiry() func() time.Time {
	if s.certs != nil {
		return func() time.Time { return s.certs.State().Expires }
	}
	if s.tls != nil && len(s.tls.Certificates) > 0 && s.tls.Certificates[0].Leaf != nil {
		end := s.tls.Certificates[0].Leaf.NotAfter
		return func() time.Time { return end }
	}
	return nil
}
