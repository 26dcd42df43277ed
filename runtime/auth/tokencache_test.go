package auth

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/cache/caches"
)

func TestTokenCacheIsBounded(t *testing.T) {
	k := newEdKey("k")
	a := open(t, "", k)
	a.cache.max = 10
	var first *Principal
	for n := range 50 {
		token := k.token("sub", fmt.Sprint("user-", n))
		id, err := authenticate(a, token)
		if err != nil || id.User.ID != fmt.Sprint("user-", n) {
			t.Fatal(id, err)
		}
		again, _ := authenticate(a, token)
		if again.User != id.User {
			t.Error("verified again")
		}
		if first == nil {
			first = id.User
		}
	}
	if n := len(a.cache.entries); n != 10 {
		t.Errorf("%d tokens are remembered, want 10", n)
	}
	a.Clear()
	if n := len(a.cache.entries); n != 0 {
		t.Errorf("%d tokens are remembered after Clear", n)
	}
}

// What was refused is not remembered, or anyone could fill the memory.
func TestRefusedTokensAreNotRemembered(t *testing.T) {
	a := open(t, "", newEdKey("k"))
	forged := newEdKey("k")
	for range 10 {
		authenticate(a, forged.token())
		authenticate(a, forged.token("iss", "https://other.example"))
		authenticate(a, "x")
	}
	if n := len(a.cache.entries); n != 0 {
		t.Errorf("%d tokens are remembered", n)
	}
}

func TestClearWhileInUse(t *testing.T) {
	k := newEdKey("k")
	a := open(t, "", k)
	a.cache.max = 5
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if !accepted(a, k.token("sub", fmt.Sprint(n, i%10))) {
					t.Error("refused")
				}
				if i%10 == 0 {
					a.Clear()
					a.Refresh(time.Now())
				}
			}
		})
	}
	wg.Wait()
}

func TestARememberedTokenCostsNoAllocation(t *testing.T) {
	k := newEdKey("k")
	a := open(t, "", k)
	c := Credential{Token: k.token()}
	allocs := testing.AllocsPerRun(1000, func() {
		if _, err := a.Authenticate(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkToken(b *testing.B) {
	for alg, k := range testKeys() {
		a := open(b, "", k)
		c := Credential{Token: k.token()}
		b.Run("remembered/"+alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(context.Background(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("verified/"+alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.Clear()
				if _, err := a.Authenticate(context.Background(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestTokenCacheCounts(t *testing.T) {
	k, other := newEdKey("k"), newEdKey("other")
	a := open(t, "", k)
	found := TokenCaches([]Authenticator{a, MTLS(nil), a})
	if len(found) != 1 {
		t.Fatalf("%d caches, want 1", len(found))
	}
	a.cache.max = 3
	good := k.token()
	for range 3 {
		accepted(a, good) // a miss and two hits
	}
	accepted(a, other.token())                               // a miss
	accepted(a, k.token("iss", "https://elsewhere.example")) // not this cache's affair
	for n := range 3 {
		accepted(a, k.token("sub", fmt.Sprint(n))) // three misses, one too many
	}
	want := caches.Stats{Entries: 3, Max: 3, Hits: 2, Misses: 5, Evictions: 1}
	if s := found[0].Stats(); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	found[0].Clear()
	want.Entries = 0
	if s := found[0].Stats(); s != want {
		t.Errorf("after Clear: %+v, want %+v", s, want)
	}
}

// Two authenticators that were opened together look a token up twice, which is
// one hit.
func TestSharedTokenCacheCountsOnce(t *testing.T) {
	k := newEdKey("k")
	a := open(t, "", k)
	first := &tokens{spec: a.spec, keySource: a.keySource, cache: a.cache}
	first.issuer = "https://first.example"
	all := []Authenticator{first, a}
	if n := len(TokenCaches(all)); n != 1 {
		t.Errorf("%d caches, want 1", n)
	}
	token := k.token()
	for range 3 {
		if _, err := Identify(t.Context(), Presented{User: []string{"Bearer " + token}}, all); err != nil {
			t.Error(err)
		}
	}
	want := caches.Stats{Entries: 1, Max: maxTokens, Hits: 2, Misses: 1}
	if s := a.cache.Stats(); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}
