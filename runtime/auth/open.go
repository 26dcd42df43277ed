package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
)

// Config is what authenticators have to know of the server.
type Config struct {
	// TrustDomain returns the SPIFFE trust domain of the server's own
	// certificate, "" for none: rules may use the short names of its services.
	TrustDomain func() string
	// Logger is told when keys change and when they cannot be read; nil means
	// slog.Default().
	Logger *slog.Logger

	transport http.RoundTripper // asks issuers; nil is one of its own
}

// Open returns the authenticator that a spec names: "mtls",
// "jwks:PATH?issuer=..&audience=..&use=user" or
// "oidc:ISSUER?audience=..&use=service". It is [OpenAll] of one.
func Open(spec string, c Config) (Authenticator, error) {
	all, err := OpenAll([]string{spec}, c)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// OpenAll returns the authenticators that specs name, in their order. An error
// holds the faults of all of them.
//
//	mtls              services by their certificates
//	jwks:PATH?...     tokens, verified by the keys of a file (RFC 7517)
//	oidc:ISSUER?...   tokens of an OpenID provider, whose keys are fetched
//
// The parameters of the last two, percent-encoded where they hold & or +:
//
//	issuer=ISS        who makes the tokens; jwks only, where it is required
//	audience=AUD      for whom they are made; required, and may be repeated
//	use=user          whom they prove: a user (the default), or a service
//	typ=TYPE          their type: at+jwt (RFC 9068; the default of oidc), jwt
//	                  (that, JWT or none; the default of jwks), or any
//	max-lifetime=24h  how long they may be good for, from iat to exp
//	id=sub            the claim that becomes the principal's ID; where that is
//	                  email, email_verified must be true
//	name=name email=email groups=groups
//	                  the claims of the rest; a.b is the member b of a
//
// An authenticator of tokens is a [Source] as well, has a method Clear, which
// forgets the tokens that it has verified, and is an [io.Closer]: Close ends what
// it may be fetching. It reads a file of keys at once, and asks an issuer when
// the first of its tokens comes, and then at most once in 15 s. What several
// specs have in common they share: the keys of an issuer or a file, and the
// tokens that were verified. A rule may name the services of one issuer only:
// that of the first spec with use=service.
func OpenAll(specs []string, c Config) ([]Authenticator, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	parsed := make([]spec, len(specs))
	var errs []error
	for i, text := range specs {
		s, err := parseSpec(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", shown(text), err))
		}
		parsed[i] = s
	}
	if errs == nil {
		errs = conflicts(parsed)
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return openAll(parsed, c)
}

func openAll(specs []spec, c Config) ([]Authenticator, error) {
	var (
		all   []Authenticator
		errs  []error
		cache = newTokenCache(maxTokens)
		keys  = map[string]keySource{} // one for all that are of one issuer or file
		own   = ownIssuer(specs)
	)
	for _, s := range specs {
		if s.kind == "mtls" {
			all = append(all, MTLS(c.TrustDomain))
			continue
		}
		from := s.kind + ":" + s.where
		if keys[from] == nil {
			source, err := openKeys(s, c)
			if err != nil {
				errs = append(errs, fmt.Errorf("%q: %w", shown(s.text), err))
				continue
			}
			keys[from] = source
		}
		all = append(all, &tokens{
			spec: s, keySource: keys[from], cache: cache,
			own: s.issuer == own, others: otherAudiences(s, specs),
		})
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

func openKeys(s spec, c Config) (keySource, error) {
	if s.kind == "oidc" {
		return newOIDC(s.issuer, c.transport, c.Logger)
	}
	return openKeyFile(s.where, c.Logger)
}

// ownIssuer returns the issuer whose services rules may name.
func ownIssuer(specs []spec) string {
	for _, s := range specs {
		if s.service {
			return s.issuer
		}
	}
	return ""
}

// conflicts returns what would let one token prove two things.
func conflicts(specs []spec) (errs []error) {
	for i, a := range specs {
		for _, b := range specs[:i] {
			if a.kind == "mtls" || a.issuer != b.issuer {
				continue
			}
			if aud := firstCommon(a.audiences, b.audiences); aud != "" {
				errs = append(errs, fmt.Errorf("%q and %q: both take tokens of issuer %q for audience %q: one token would prove two things",
					shown(b.text), shown(a.text), shown(a.issuer), aud))
			}
		}
	}
	return errs
}

func firstCommon(a, b []string) string {
	if i := slices.IndexFunc(a, func(s string) bool { return slices.Contains(b, s) }); i >= 0 {
		return a[i]
	}
	return ""
}

// otherAudiences returns the audiences for which the same issuer proves the
// other kind of principal.
func otherAudiences(s spec, specs []spec) (others []string) {
	for _, o := range specs {
		if o.issuer == s.issuer && o.service != s.service {
			others = append(others, o.audiences...)
		}
	}
	return others
}
