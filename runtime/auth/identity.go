package auth

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Principal is a user or a service whose identity was verified.
type Principal struct {
	ID      string    // a token's subject; a service's SPIFFE ID or DNS name, where it has a certificate
	Name    string    // for people; may be empty
	Issuer  string    // who vouches for it: a token's issuer, or a SPIFFE trust domain; may be empty
	Email   string    // may be empty
	Groups  []string  // of a user
	Expires time.Time // when it is accepted no longer: a minute after a token's expiry, at a certificate's end; zero is never

	names []string // that rules may use for it; nil is the ID alone
}

// Identity is who makes a call: a user, a service, both, or nobody.
type Identity struct {
	User    *Principal // nil for none
	Service *Principal // nil for none
}

// Expires returns when the first of the two expires; zero is never.
func (i Identity) Expires() time.Time {
	var first time.Time
	for _, p := range []*Principal{i.User, i.Service} {
		if p != nil && !p.Expires.IsZero() && (first.IsZero() || p.Expires.Before(first)) {
			first = p.Expires
		}
	}
	return first
}

// Caller is what a server knows of who makes a call. It prints without the
// token.
type Caller struct {
	Identity
	UserToken string `json:"-"` // that proved the user; it is carried on to other services
}

// String names the caller for people.
func (c Caller) String() string {
	user, service := c.User, c.Service
	switch {
	case user != nil && service != nil:
		return "user " + printable(user.ID) + " by service " + printable(service.ID)
	case user != nil:
		return "user " + printable(user.ID)
	case service != nil:
		return "service " + printable(service.ID)
	}
	return "anonymous"
}

// printable quotes an ID that people could take for more or for something else:
// one with spaces or quotes in it, or with characters that do not show.
func printable(id string) string {
	odd := func(r rune) bool { return r == ' ' || r == '"' || r == utf8.RuneError || !unicode.IsPrint(r) }
	if id == "" || strings.ContainsFunc(id, odd) {
		return strconv.Quote(id)
	}
	return id
}

// GoString keeps the token out of %#v.
func (c Caller) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer].
func (c Caller) LogValue() slog.Value { return slog.StringValue(c.String()) }

// ContextKey is the key of the *[Caller] in the context of a call. Only who
// implements [context.Context] needs it; everyone else has [User], [Service]
// and [NewContext].
type ContextKey struct{}

// CallerFrom returns what the server knows of the caller, or nil outside of a
// call. It must not be changed.
func CallerFrom(ctx context.Context) *Caller {
	c, _ := ctx.Value(ContextKey{}).(*Caller)
	return c
}

// User returns the user in whose name the call is made, or nil. It must not be
// changed.
func User(ctx context.Context) *Principal {
	if c := CallerFrom(ctx); c != nil {
		return c.User
	}
	return nil
}

// Service returns the service that makes the call, or nil: of a chain of calls
// the last. It must not be changed.
func Service(ctx context.Context) *Principal {
	if c := CallerFrom(ctx); c != nil {
		return c.Service
	}
	return nil
}

// InGroup tells whether the call is made in the name of a user in the group.
func InGroup(ctx context.Context, group string) bool {
	u := User(ctx)
	return u != nil && slices.Contains(u.Groups, group)
}

// NewContext returns a context in which the identity makes the call, for tests
// of handlers. It holds no token, so calls made with it carry no user on.
func NewContext(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, ContextKey{}, &Caller{Identity: id})
}
