package auth

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/runtime/cache/caches"
)

// maxTokens is how many verified tokens are remembered.
const maxTokens = 10_000

// tokenCache remembers the tokens that were verified, so that only the first
// call with one pays for its signature. Nothing that was not verified enters.
type tokenCache struct {
	max     int
	counts  caches.Counts // of tokens, however many authenticators look them up
	mu      sync.RWMutex
	entries map[string]*verified
	swept   time.Time
	cleared atomic.Uint64 // how often
}

// verified is what a token has proved, to one authenticator.
type verified struct {
	by        *tokens
	principal *Principal // shared by all calls
	key       *key
	token     string // as it is in the cache
	cleared   uint64 // how often the cache was when it came
}

func newTokenCache(size int) *tokenCache {
	return &tokenCache{max: size, entries: map[string]*verified{}}
}

// TokenCaches returns the caches of verified tokens that the authenticators
// have, in their order. Those that were opened together share one.
func TokenCaches(authenticators []Authenticator) []caches.Source {
	var all []caches.Source
	for _, a := range authenticators {
		if t, ok := a.(*tokens); ok && !slices.Contains(all, caches.Source(t.cache)) {
			all = append(all, t.cache)
		}
	}
	return all
}

// get returns what the token has proved and still does, or nil.
func (c *tokenCache) get(token string, now time.Time) *verified {
	c.mu.RLock()
	v := c.entries[token]
	c.mu.RUnlock()
	if v == nil || !v.good(now) {
		return nil
	}
	return v
}

func (v *verified) good(now time.Time) bool {
	return now.Before(v.principal.Expires) && !v.key.gone.Load()
}

// put remembers a token, in place of any other where there are too many.
func (c *tokenCache) put(token string, v *verified, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.max {
		c.drop(now)
	}
	for other := range c.entries { // in no order
		if len(c.entries) < c.max {
			break
		}
		delete(c.entries, other)
		c.counts.Evicted()
	}
	v.token, v.cleared = token, c.cleared.Load()
	c.entries[token] = v
}

// sweep drops what is good no more.
func (c *tokenCache) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(now)
}

// drop looks through all of them at most once a minute.
func (c *tokenCache) drop(now time.Time) {
	if d := now.Sub(c.swept); 0 <= d && d < time.Minute {
		return
	}
	c.swept = now
	for token, v := range c.entries {
		if !v.good(now) {
			delete(c.entries, token)
			c.counts.Evicted()
		}
	}
}

// Stats implements [caches.Source].
func (c *tokenCache) Stats() caches.Stats {
	s := c.counts.Stats()
	c.mu.RLock()
	defer c.mu.RUnlock()
	s.Entries, s.Max = len(c.entries), c.max
	return s
}

// Clear implements [caches.Source].
func (c *tokenCache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cleared.Add(1)
	clear(c.entries)
}
