package auth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/flags"
)

// spec is what an authenticator is opened from, in words.
type spec struct {
	text, kind, where string

	issuer      string
	audiences   []string
	service     bool   // it proves services, not users
	typ         string // at+jwt, jwt or any
	maxLifetime time.Duration
	claims      claimNames
}

// claimNames says which claims become what of a [Principal].
type claimNames struct{ id, name, email, groups string }

const specForms = "mtls, jwks:PATH?issuer=..&audience=.. and oidc:ISSUER?audience=.. are known"

// shown is a spec, or an issuer, as errors quote it: without the password that
// may be in it by mistake.
func shown(text string) string {
	kind, rest, _ := strings.Cut(text, ":")
	where, _, _ := strings.Cut(rest, "?")
	if !strings.Contains(text, "://") {
		if at := strings.LastIndexByte(text, '@'); at >= 0 && kind != "jwks" {
			return flags.Redacted + text[at:]
		}
	} else if _, err := url.Parse(where); err != nil { // a piece of a password may be where the port is
		return kind + ":" + flags.Redacted
	}
	return flags.Redact(text)
}

// parseSpec reads a spec; an error holds all that is wrong with it, each with
// the name of the parameter.
func parseSpec(text string) (spec, error) {
	kind, rest, _ := strings.Cut(text, ":")
	where, query, _ := strings.Cut(rest, "?")
	s := spec{
		text: text, kind: kind, where: where,
		maxLifetime: 24 * time.Hour,
		claims:      claimNames{id: "sub", name: "name", email: "email", groups: "groups"},
	}
	switch {
	case text == "mtls":
		return s, nil
	case kind == "jwks":
		s.typ = "jwt"
	case kind == "oidc":
		s.typ, s.issuer = "at+jwt", where
	default:
		return s, fmt.Errorf("no such authenticator: %s", specForms)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return s, fmt.Errorf("its parameters: %w", err)
	}
	return s, errors.Join(s.setAll(values), s.complete())
}

func (s *spec) setAll(values url.Values) error {
	var errs []error
	for name, v := range values {
		err := s.set(name, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("parameter %s: %w", name, err))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func (s *spec) set(name string, values []string) (err error) {
	v := values[0]
	switch {
	case slices.Contains(values, ""):
		return errors.New("has no value")
	case name == "audience":
		s.audiences = values
		return nil
	case len(values) > 1:
		return errors.New("given twice")
	}
	switch {
	case name == "issuer" && s.kind == "oidc":
		return errors.New("the issuer is what follows oidc:, and not a parameter")
	case name == "issuer":
		s.issuer = v
	case name == "use":
		s.service, err = v == "service", oneOf(v, "user", "service")
	case name == "typ":
		s.typ, err = v, oneOf(v, "at+jwt", "jwt", "any")
	case name == "max-lifetime":
		if s.maxLifetime, err = time.ParseDuration(v); err == nil && s.maxLifetime <= 0 {
			err = errors.New("is not positive")
		}
	case name == "id":
		s.claims.id = v
	case name == "name":
		s.claims.name = v
	case name == "email":
		s.claims.email = v
	case name == "groups":
		s.claims.groups = v
	default:
		err = errors.New("no such parameter: audience, use, typ, max-lifetime, id, name, email, groups are known, and issuer for jwks")
	}
	return err
}

// complete tells what is missing.
func (s *spec) complete() error {
	var errs []error
	if s.where == "" {
		errs = append(errs, fmt.Errorf("nothing follows %s: where %s", s.kind, specForms))
	}
	if s.kind == "jwks" && strings.Contains(":"+s.where, "://") {
		errs = append(errs, errors.New("what follows jwks: is the path of a file and no URL: keys at an address are those of an OpenID provider, oidc:ISSUER"))
	}
	if s.issuer == "" && s.kind == "jwks" {
		errs = append(errs, errors.New("parameter issuer is missing: tokens must be of one issuer"))
	}
	if len(s.audiences) == 0 {
		errs = append(errs, errors.New("parameter audience is missing: tokens for others would be taken"))
	}
	return errors.Join(errs...)
}

func oneOf(v string, allowed ...string) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", v, strings.Join(allowed, ", "))
}

// use names the kind of principal, as the parameter does.
func (s *spec) use() string {
	if s.service {
		return "service"
	}
	return "user"
}
