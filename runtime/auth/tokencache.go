package auth

import (
	"sync"
	"time"
)

// maxTokens is how many verified tokens are remembered.
const maxTokens = 10_000

// tokenCache remembers the tokens that were verified, so that only the first
// call with one pays for its signature. Nothing that was not verified enters.
type tokenCache struct {
	max     int
	mu      sync.RWMutex
	entries map[string]*verified
	swept   time.Time
}

// verified is what a token has proved, to one authenticator.
type verified struct {
	by        *tokens
	principal *Principal // shared by all calls
	key       *key
}

func newTokenCache(size int) *tokenCache {
	return &tokenCache{max: size, entries: map[string]*verified{}}
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
	}
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
		}
	}
}

func (c *tokenCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
}
