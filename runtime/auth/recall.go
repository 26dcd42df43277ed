package auth

import (
	"sync/atomic"
	"time"
)

// Recall is the tokens that came by a connection last, as they were verified: a call that
// presents the same again pays for a comparison, and neither for a hash of the token nor
// for the lock at which all calls meet. They expire, and are forgotten with the keys of
// their issuer or by an operator, as everywhere else. Its zero value is ready for use, by
// several calls at once.
type Recall struct{ user, service atomic.Pointer[verified] }

func (r *Recall) of(c Credential) *atomic.Pointer[verified] {
	if c.OfService {
		return &r.service
	}
	return &r.user
}

// maxRecalled bounds the tokens that connections keep, in bytes, which those that are
// longer do not.
const maxRecalled = 2 << 10

// get returns what the token has proved and still does, or nil where another came last.
func (r *Recall) get(cache *tokenCache, c Credential, now time.Time) *verified {
	if r == nil {
		return nil
	}
	v := r.of(c).Load()
	if v == nil || v.token != c.Token || v.by.cache != cache || v.cleared != cache.cleared.Load() || !v.good(now) {
		return nil
	}
	return v
}

// put remembers a token that is in the cache.
func (r *Recall) put(c Credential, v *verified) {
	if r != nil && len(c.Token) <= maxRecalled {
		r.of(c).Store(v)
	}
}
