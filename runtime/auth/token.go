package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// tokens is the [Authenticator] of the tokens of one issuer.
type tokens struct {
	spec
	keySource
	cache  *tokenCache
	own    bool     // rules may name its services
	others []string // audiences for which the issuer proves the other kind of principal
}

// errForeign is a token that is not our affair.
var errForeign = errors.New("a token of another issuer")

// Authenticate implements [Authenticator].
func (t *tokens) Authenticate(ctx context.Context, c Credential) (Identity, error) {
	return t.authenticate(ctx, c, &Presented{At: time.Now()}, &reading{})
}

// authenticate is Authenticate with what is known of the call, and what others have
// read of the token.
func (t *tokens) authenticate(ctx context.Context, c Credential, p *Presented, r *reading) (Identity, error) {
	if c.Token == "" {
		return Identity{}, nil
	}
	now := p.At
	v := p.Last.get(t.cache, c, now)
	if v == nil {
		if v = t.cache.get(c.Token, now); v != nil {
			p.Last.put(c, v)
		}
	}
	if v == nil {
		var err error
		if v, err = t.verify(ctx, c.Token, r, now); errors.Is(err, errForeign) {
			return Identity{}, nil
		}
		t.cache.counts.Miss()
		if err != nil {
			return Identity{}, err
		}
		t.cache.put(c.Token, v, now)
	} else if v.by != t {
		return Identity{}, nil
	} else {
		t.cache.counts.Hit()
	}
	switch {
	case t.service:
		return Identity{Service: v.principal}, nil
	case c.OfService:
		return Identity{}, errors.New("it proves a user: the issuer's tokens are taken with use=user")
	}
	return Identity{User: v.principal}, nil
}

// verify does the whole: what is cheap first, and the signature last. What an
// error holds of the token is quoted and short.
func (t *tokens) verify(ctx context.Context, raw string, r *reading, now time.Time) (*verified, error) {
	token, said, err := r.of(raw)
	if err != nil {
		return nil, err
	}
	if said["iss"] != t.issuer {
		return nil, errForeign
	}
	if err := t.checkType(token.typ); err != nil {
		return nil, err
	}
	p, err := t.principal(said, now)
	if err != nil {
		return nil, err
	}
	key, err := t.key(ctx, token)
	if err != nil {
		return nil, err
	}
	return &verified{by: t, principal: p, key: key}, key.verify(token)
}

// principal checks what the token says, and translates it.
func (t *tokens) principal(said claims, now time.Time) (*Principal, error) {
	until, err := said.checkTimes(now, t.maxLifetime)
	if err != nil {
		return nil, err
	}
	if err := said.checkAudience(t.audiences, t.others); err != nil {
		return nil, err
	}
	p, err := said.principal(t.claims)
	if err != nil {
		return nil, err
	}
	p.Expires = until
	if t.service && isSPIFFE(p.ID) {
		return nil, fmt.Errorf("%s is the SPIFFE ID %.80q, which only a certificate proves", t.claims.id, p.ID)
	}
	if t.service && !t.own {
		p.names = []string{} // named by no rule
	}
	return p, nil
}

// checkType keeps out what an issuer signs for other purposes (RFC 8725, 3.11).
func (t *tokens) checkType(typ string) error {
	name := strings.TrimPrefix(strings.ToLower(typ), "application/") // RFC 7515, 4.1.9
	switch {
	case t.typ == "any", name == "at+jwt", t.typ == "jwt" && (name == "" || name == "jwt"):
		return nil
	}
	return fmt.Errorf("typ is %.80q and not %s: the parameter typ takes others", typ, t.typ)
}

// key returns the key that the token names, asking for new ones where it is not
// known. A bad signature by a known key asks for none.
func (t *tokens) key(ctx context.Context, token jws) (*key, error) {
	k, err := t.current().find(token)
	if !errors.Is(err, errUnknownKey) {
		return k, err
	}
	keys, fetchErr := t.fetch(ctx)
	if fetchErr != nil {
		return nil, fmt.Errorf("%w: %w", err, fetchErr)
	}
	return keys.find(token)
}

// verify checks the signature.
func (k *key) verify(token jws) error {
	s, err := jose.ParseSignedCompact(token.raw, []jose.SignatureAlgorithm{k.alg})
	if err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if _, err := s.Verify(k.public); err != nil {
		return fmt.Errorf("its signature is not by key %q", k.id)
	}
	return nil
}

// Refresh implements [Source].
func (t *tokens) Refresh(now time.Time) {
	t.keySource.Refresh(now)
	t.cache.sweep(now)
}

// Clear forgets the tokens that were verified, also those of the authenticators
// that were opened with it.
func (t *tokens) Clear() { t.cache.Clear() }

// String names the authenticator for people.
func (t *tokens) String() string {
	return fmt.Sprintf("%s tokens of %s (%s)", t.use(), t.issuer, t.kind)
}
