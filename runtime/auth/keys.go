package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"
)

// keySource has the keys of an issuer. Its methods are called concurrently,
// except Refresh and Close.
type keySource interface {
	Source
	// current returns the keys in force; empty where there are none yet.
	current() *keySet
	// fetch returns newer keys, or an error where there can be none now. It
	// waits for them as long as the context lasts.
	fetch(context.Context) (*keySet, error)
	// Close ends what is going on, and waits for it.
	Close() error
}

// key is a public key, with the one algorithm that goes with its kind.
type key struct {
	id     string // "" for none
	alg    jose.SignatureAlgorithm
	public any
	print  string      // of the key itself (RFC 7638)
	gone   atomic.Bool // the issuer has it no more
}

// keySet holds the keys of an issuer. It does not change.
type keySet struct {
	all  []*key
	byID map[string]*key
}

// errUnknownKey is a key that the issuer may have got since we looked.
var errUnknownKey = errors.New("unknown key")

// errNoKeys is a well-formed set without a key that is of use.
var errNoKeys = errors.New("no key that can verify")

// find returns the key that a token says it is signed with. The key decides
// which algorithm that is.
func (s *keySet) find(t jws) (*key, error) {
	k := s.byID[t.kid]
	switch {
	case len(s.all) == 0:
		return nil, fmt.Errorf("%w: there are none", errUnknownKey)
	case t.hasKid && k == nil:
		return nil, fmt.Errorf("%w: kid %q", errUnknownKey, t.kid)
	case !t.hasKid:
		var n int
		if k, n = s.only(t.alg); n != 1 {
			return nil, fmt.Errorf("it names no key, and there are %d for alg %.40q", n, t.alg)
		}
	}
	if t.alg != string(k.alg) {
		return nil, fmt.Errorf("alg %.40q: key %q is for %s", t.alg, k.id, k.alg)
	}
	return k, nil
}

// only returns a key for the algorithm and how many there are.
func (s *keySet) only(alg string) (k *key, n int) {
	for _, other := range s.all {
		if string(other.alg) == alg {
			k = other
			n++
		}
	}
	return k, n
}

// String lists the keys for people.
func (s *keySet) String() string {
	if len(s.all) == 0 {
		return "no keys"
	}
	var list []string
	for _, k := range s.all {
		list = append(list, strings.TrimSpace(string(k.alg)+" "+k.id))
	}
	return strings.Join(list, ", ")
}

// equal tells whether the two hold the same keys, in any order.
func (s *keySet) equal(o *keySet) bool {
	return len(s.all) == len(o.all) && !slices.ContainsFunc(o.all, func(k *key) bool {
		return !slices.ContainsFunc(s.all, k.same)
	})
}

func (k *key) same(o *key) bool { return k.id == o.id && k.print == o.print }

// succeed takes over the keys that the old set has too, so that what they have
// verified stays so, and marks those that are gone.
func (s *keySet) succeed(old *keySet) {
	for _, k := range old.all {
		i := slices.IndexFunc(s.all, k.same)
		if i < 0 {
			k.gone.Store(true)
			continue
		}
		s.all[i] = k
		if k.id != "" {
			s.byID[k.id] = k
		}
	}
}

// parseKeys reads a JSON Web Key Set (RFC 7517). Keys that can verify nothing
// here are passed over, as issuers have keys for other purposes too; ignored says
// why. An error is a set that names two keys alike, and errNoKeys one of which
// nothing is left.
func parseKeys(data []byte) (s *keySet, ignored []string, err error) {
	list, err := listOfKeys(data)
	if err != nil {
		return nil, nil, fmt.Errorf("no JSON Web Key Set: %w", err)
	}
	s = &keySet{byID: map[string]*key{}}
	for i, data := range list {
		k, err := parseKey(data)
		if err != nil {
			ignored = append(ignored, fmt.Sprintf("key %d: %v", i+1, err))
			continue
		}
		if other := s.byID[k.id]; other != nil && !other.same(k) {
			return nil, ignored, fmt.Errorf("two keys have the kid %q", k.id)
		}
		if slices.ContainsFunc(s.all, k.same) {
			continue
		}
		s.all = append(s.all, k)
		if k.id != "" {
			s.byID[k.id] = k
		}
	}
	if len(s.all) == 0 {
		return s, ignored, fmt.Errorf("%w: %s", errNoKeys, strings.Join(append(ignored, fmt.Sprintf("%d in all", len(list))), "; "))
	}
	return s, ignored, nil
}

// listOfKeys returns the keys of a set. A list that is null is an empty one, as
// some issuers write it; none at all is no set.
func listOfKeys(data []byte) (list []json.RawMessage, err error) {
	var set struct {
		Keys json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, err
	}
	if set.Keys == nil {
		return nil, errors.New("it has no list of keys")
	}
	return list, json.Unmarshal(set.Keys, &list)
}

func parseKey(data []byte) (*key, error) {
	var j jose.JSONWebKey
	var more struct {
		Ops []string `json:"key_ops"`
	}
	if err := errors.Join(json.Unmarshal(data, &j), json.Unmarshal(data, &more)); err != nil {
		return nil, err
	}
	alg, err := algorithm(j.Key)
	switch {
	case err != nil:
		return nil, err
	case j.KeyID != "" && !isKeyID(j.KeyID):
		return nil, fmt.Errorf("kid %.80q: no token may name it", j.KeyID)
	case j.Use != "" && j.Use != "sig", more.Ops != nil && !slices.Contains(more.Ops, "verify"):
		return nil, fmt.Errorf("kid %q: not for signatures", j.KeyID)
	case j.Algorithm != "" && j.Algorithm != string(alg):
		return nil, fmt.Errorf("kid %q: for %.40q, and %s is taken of its kind", j.KeyID, j.Algorithm, alg)
	}
	thumbprint, err := j.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("kid %q: %w", j.KeyID, err)
	}
	return &key{id: j.KeyID, alg: alg, public: j.Key, print: string(thumbprint)}, nil
}

// algorithm returns the one algorithm that a public key is good for.
func algorithm(public any) (jose.SignatureAlgorithm, error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return jose.EdDSA, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "", errors.New("of elliptic curves only P-256 is taken")
		}
		return jose.ES256, nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 8192 || k.E < 3 || k.E%2 == 0 {
			return "", fmt.Errorf("RSA with %d bits and exponent %d: 2048 to 8192 bits are taken, and an odd exponent from 3", n, k.E)
		}
		return jose.RS256, nil
	case ed25519.PrivateKey, *ecdsa.PrivateKey, *rsa.PrivateKey:
		return "", errors.New("a private key: a set holds public ones only")
	}
	return "", errors.New("no RSA, P-256 or Ed25519 key")
}
