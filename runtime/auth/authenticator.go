package auth

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Authenticator verifies who presents a credential. Its methods are called
// concurrently, once for each call that presents one, so what takes long must
// be remembered.
//
// It returns a zero Identity and no error for credentials that are not its
// affair, such as a token of another issuer: then others are asked. An error
// says what is wrong with a credential that is; it goes to the log and never to
// the caller. A credential is good when one authenticator takes it.
type Authenticator interface {
	Authenticate(ctx context.Context, c Credential) (Identity, error)
}

// AuthenticatorFunc is a function as an [Authenticator].
type AuthenticatorFunc func(ctx context.Context, c Credential) (Identity, error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(ctx context.Context, c Credential) (Identity, error) {
	return f(ctx, c)
}

// Credential is one thing that a call presents: a token or a certificate. It
// prints without the token.
type Credential struct {
	Token     string              `json:"-"` // a bearer token; "" where it is a certificate
	OfService bool                // the token came as easyops-service-authorization, which is for services only
	Certs     []*x509.Certificate // the verified chain of the client's certificate, its own first; nil where it is a token
}

// String says what kind of credential it is.
func (c Credential) String() string {
	switch {
	case c.Token == "" && len(c.Certs) > 0:
		return fmt.Sprintf("certificate of %q", c.Certs[0].Subject)
	case c.OfService:
		return "service token"
	default:
		return "token"
	}
}

// GoString keeps the token out of %#v.
func (c Credential) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer].
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// The headers that carry tokens, as "Bearer TOKEN".
const (
	UserHeader    = "authorization"                 // of a user, or of a service that calls for itself
	ServiceHeader = "easyops-service-authorization" // of the calling service
)

// maxToken is how long a token may be, in bytes.
const maxToken = 8 << 10

// The errors that access ends in. What lies behind them is for the log.
var (
	ErrUnauthenticated = errors.New("unauthenticated")
	ErrDenied          = errors.New("permission denied")
)

// Presented is what a call presents, before any of it is believed.
type Presented struct {
	User    []string            // the values of UserHeader
	Service []string            // the values of ServiceHeader
	Certs   []*x509.Certificate // the verified chain of the client's certificate; nil for none
	At      time.Time           // when it does; zero is now, which costs a look at the clock
	Last    *Recall             // of the connection that it came by; nil for none
}

// Identify asks the authenticators, in their order, who presents what a call
// presents. An error wraps [ErrUnauthenticated]: something was presented that
// nobody takes, or in a form that is not allowed. Who presents nothing is
// nobody, which is no error here: [Access.Check] decides.
//
// A certificate that no authenticator takes counts as none: it was verified,
// but says nothing here. A service is who its certificate says, else its token.
func Identify(ctx context.Context, p Presented, authenticators []Authenticator) (Caller, error) {
	if p.At.IsZero() {
		p.At = time.Now()
	}
	var c Caller
	user, err := bearer(UserHeader, p.User)
	if err != nil {
		return Caller{}, err
	}
	service, err := bearer(ServiceHeader, p.Service)
	if err != nil {
		return Caller{}, err
	}
	if user != "" {
		if c.Identity, err = ask(ctx, Credential{Token: user}, &p, authenticators); err != nil {
			return Caller{}, err
		}
		if c.User != nil {
			c.UserToken = user
		}
	}
	if service != "" {
		id, err := ask(ctx, Credential{Token: service, OfService: true}, &p, authenticators)
		switch {
		case err != nil:
			return Caller{}, err
		case id.User != nil || id.Service == nil:
			return Caller{}, unauthenticated("%s holds the token of a user", ServiceHeader)
		case c.Service != nil:
			return Caller{}, unauthenticated("both headers hold the token of a service")
		}
		c.Service = id.Service
	}
	if len(p.Certs) > 0 {
		if id, err := ask(ctx, Credential{Certs: p.Certs}, &p, authenticators); err == nil {
			c.Service = cmp.Or(id.Service, c.Service)
			c.User = cmp.Or(c.User, id.User)
		}
	}
	return c, nil
}

// bearer returns the token in the values of a header (RFC 6750), "" for none.
func bearer(header string, values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", unauthenticated("%d values of %s", len(values), header)
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return "", unauthenticated("%s is not \"Bearer TOKEN\"", header)
	case len(token) > maxToken:
		return "", unauthenticated("a token of %d bytes in %s: at most %d are taken", len(token), header, maxToken)
	}
	return token, nil
}

// ask returns the answer of the first authenticator that takes the credential.
func ask(ctx context.Context, c Credential, p *Presented, authenticators []Authenticator) (Identity, error) {
	var (
		errs []error
		r    reading
		id   Identity
		err  error
	)
	for _, a := range authenticators {
		switch a := a.(type) {
		case *tokens:
			id, err = a.authenticate(ctx, c, p, &r)
		case *mtls:
			id, err = a.authenticate(c, p.At)
		default:
			id, err = a.Authenticate(ctx, c)
		}
		if err == nil && id != (Identity{}) {
			return id, nil
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return Identity{}, fmt.Errorf("%w: %v: %w", ErrUnauthenticated, c, err)
	}
	return Identity{}, unauthenticated("%v: no authenticator takes it%s", c, r.issuer(c.Token))
}

func unauthenticated(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnauthenticated}, args...)...)
}
