package auth

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// identifyBy identifies who presents a token by a connection, at a time.
func identifyBy(r *Recall, a *tokens, token string, at time.Time) (Identity, error) {
	c, err := Identify(nil, Presented{User: []string{"Bearer " + token}, Last: r, At: at}, []Authenticator{a}) //nolint:staticcheck // nothing is fetched
	return c.Identity, err
}

// remembered tells whether a connection remembers a token.
func remembered(r *Recall, a *tokens, token string) bool {
	return r.get(a.cache, Credential{Token: token}, time.Now()) != nil
}

// A token that came by the connection last is not looked up, and counts as a hit of
// the cache all the same. Another takes its place.
func TestRecall(t *testing.T) {
	k := newEdKey("k")
	a, r, now := open(t, "", k), &Recall{}, time.Now()
	alice, bob := k.token("sub", "alice"), k.token("sub", "bob")
	for i, token := range []string{alice, alice, alice, bob, bob, alice} {
		id, err := identifyBy(r, a, token, now)
		if want := map[string]string{alice: "alice", bob: "bob"}[token]; err != nil || id.User.ID != want {
			t.Fatalf("call %d: %v, %v", i, id, err)
		}
		if i == 2 { // it is asked from here on, not the cache
			clear(a.cache.entries)
		}
	}
	if s := a.cache.Stats(); s.Hits != 3 || s.Misses != 3 {
		t.Errorf("%d hits and %d misses, want 3 of each", s.Hits, s.Misses)
	}
}

// What ends a token in the cache ends it for connections: its expiry, an operator,
// and the key of its issuer.
func TestRecallForgets(t *testing.T) {
	k := newEdKey("k")
	token := k.token()
	for name, end := range map[string]func(a *tokens) time.Time{
		"expiry": func(*tokens) time.Time { return time.Now().Add(48 * time.Hour) },
		"clear":  func(a *tokens) time.Time { a.Clear(); return time.Now() },
		"key": func(a *tokens) time.Time {
			for _, v := range a.cache.entries {
				v.key.gone.Store(true)
			}
			return time.Now()
		},
		"nothing": func(*tokens) time.Time { return time.Now() },
	} {
		a, r := open(t, "", k), &Recall{}
		for range 2 { // the second time it is in the cache
			if _, err := identifyBy(r, a, token, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		at := end(a)
		if got := r.get(a.cache, Credential{Token: token}, at) != nil; got != (name == "nothing") {
			t.Errorf("%s: remembered %t", name, got)
		}
		if _, err := identifyBy(r, a, token, at); (err != nil) != (name == "expiry") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Only the token that was verified is remembered, as what it was presented for, and
// for the authenticators that have verified it. Long ones are not.
func TestRecallIsOfOneToken(t *testing.T) {
	k := newEdKey("k")
	a, r := open(t, "", k), &Recall{}
	token, long := k.token(), k.token("long", strings.Repeat("x", maxRecalled))
	for range 2 {
		_, _ = identifyBy(r, a, token[:len(token)-4]+"AAAA", time.Now()) // its signature is another
	}
	if r.user.Load() != nil {
		t.Error("a token that was refused is remembered")
	}
	for _, token := range []string{token, token, long, long} {
		if _, err := identifyBy(r, a, token, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if !remembered(r, a, token) || remembered(r, a, long) || remembered(r, a, token+"x") || remembered(r, open(t, "", k), token) {
		t.Error("it is not the token alone that is remembered")
	}
	if r.get(a.cache, Credential{Token: token, OfService: true}, time.Now()) != nil {
		t.Error("the token of a user is one of a service")
	}
	var none *Recall
	none.put(Credential{}, nil)
	if remembered(none, a, token) {
		t.Error("nothing remembers a token")
	}
}

// Calls of one connection may come at once, with whatever tokens.
func TestRecallByManyCalls(t *testing.T) {
	k := newEdKey("k")
	a, r := open(t, "", k), &Recall{}
	tokens := []string{k.token("sub", "0"), k.token("sub", "1"), k.token("sub", "2")}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for n := range 200 {
				who := (i + n) % len(tokens)
				if id, err := identifyBy(r, a, tokens[who], time.Now()); err != nil || id.User.ID != string(rune('0'+who)) {
					t.Errorf("token of %d: %v, %v", who, id, err)
				}
				if n%50 == 0 {
					a.Clear()
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkRecall measures a call by a connection with the token of the one before, and
// without that.
func BenchmarkRecall(b *testing.B) {
	k := newEdKey("k")
	a, now := open(b, "", k), time.Now()
	token := k.token("long", strings.Repeat("x", 300))
	for name, p := range map[string]Presented{
		"last":             {Last: &Recall{}, At: now},
		"cache":            {At: now},
		"cache, and clock": {},
	} {
		p.User = []string{"Bearer " + token}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Identify(b.Context(), p, []Authenticator{a}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
