package auth

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A token is read once, however many authenticators are asked, and not to its
// end where it is a heap of values: 8 KiB of them took 67,521 allocations.
func TestRefusingIsCheap(t *testing.T) {
	k := newEdKey("k")
	path := writeKeys(t, k)
	specs := make([]string, 3)
	for i := range specs {
		specs[i] = fmt.Sprintf("jwks:%s?issuer=issuer-%d&audience=echo", path, i)
	}
	three, err := OpenAll(specs, Config{})
	if err != nil {
		t.Fatal(err)
	}
	claims := func(n int) string {
		return `{"iss":"x","a":[` + strings.TrimSuffix(strings.Repeat("0,", n), ",") + `]}`
	}
	most := func(header, claims string, all []Authenticator) float64 {
		p := Presented{User: bearerOf(k.sign(header, claims))}
		return testing.AllocsPerRun(20, func() {
			if _, err := Identify(context.Background(), p, all); err == nil {
				t.Error("accepted")
			}
		})
	}
	for name, c := range map[string]struct{ header, claims string }{
		"foreign":       {k.header(), claims(400)},
		"many values":   {k.header(), claims(2800)},
		"many members":  {k.header(), `{"iss":"x"` + manyMembers(600) + `}`},
		"in the header": {`{"alg":"EdDSA"` + manyMembers(600) + `}`, `{}`},
	} {
		one, all := most(c.header, c.claims, three[:1]), most(c.header, c.claims, three)
		if one < 100 || all > one+20 || all > 4*maxValues {
			t.Errorf("%s: %v allocations for one issuer, %v for three", name, one, all)
		}
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%x":0`, i)
	}
	return b.String()
}

// So many values are read, and no more; in objects and lists alike.
func TestManyValues(t *testing.T) {
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }
	for name, c := range map[string]struct{ json, want string }{
		"most":             {`{"a":` + list(maxValues-2) + `}`, ""}, // with the object and the list
		"one more":         {`{"a":` + list(maxValues-1) + `}`, "more than 512 values"},
		"most members":     {`{"z":0` + manyMembers(maxValues-2) + `}`, ""},
		"one member more":  {`{"z":0` + manyMembers(maxValues-1) + `}`, "more than 512 values"},
		"in several lists": {`{"a":` + list(300) + `,"b":` + list(300) + `}`, "more than 512 values"},
	} {
		if _, err := parseObject([]byte(c.json)); !matches(err, c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	k := newEdKey("k")
	if a := open(t, "", k); !accepted(a, k.token("groups", strings.Split(strings.Repeat("g", 400), ""))) {
		t.Error("a user of 400 groups is refused")
	}
}

// Authenticators see the one reading only of the token that they are asked for.
func TestReadingsAreOfOneCredential(t *testing.T) {
	k := newEdKey("k")
	path := writeKeys(t, k)
	all, err := OpenAll([]string{
		"jwks:" + path + "?issuer=users&audience=echo", "jwks:" + path + "?issuer=services&audience=echo&use=service",
	}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := Presented{User: bearerOf(k.token("iss", "users")), Service: bearerOf(k.token("iss", "services", "sub", "billing"))}
	if c, err := Identify(t.Context(), p, all); err != nil || c.String() != "user alice by service billing" {
		t.Errorf("got %v, %v", c, err)
	}
	p.User, p.Service = p.Service, p.User
	if c, err := Identify(t.Context(), p, all); err == nil {
		t.Errorf("got %v", c)
	}
}

// Whoever sends random kids while the issuer is slow holds a few calls, and those
// for as long as one fetch takes in 15 s.
func TestFewWaitForASlowIssuer(t *testing.T) {
	const calls = 500
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}, delay: 2 * time.Second} // twice
		a := i.open(t)
		var waited, full atomic.Int32
		flood := func() (wait func()) {
			var wg sync.WaitGroup
			for n := range calls {
				wg.Go(func() {
					begin := time.Now()
					_, err := authenticate(a, k.sign(k.header("typ", "at+jwt", "kid", fmt.Sprint("k", n)), testClaims()))
					if time.Since(begin) > 0 {
						waited.Add(1)
					} else if matches(err, "64 calls wait") {
						full.Add(1)
					}
				})
			}
			return wg.Wait
		}
		wait := flood()
		if wait(); waited.Load() != maxWaiting || full.Load() != calls-maxWaiting {
			t.Errorf("%d calls waited, %d were refused at once", waited.Load(), full.Load())
		}
		waited.Store(0)
		for begin := time.Now(); time.Since(begin) < fetchInterval; time.Sleep(time.Second) {
			if flood()(); !accepted(a, k.accessToken()) { // keys are there now
				t.Error("the good token is refused")
			}
		}
		if n := waited.Load(); n != 0 || i.count() != 1 {
			t.Errorf("%d calls waited within 15 s after a fetch, of %d", n, i.count())
		}
		if flood()(); waited.Load() != maxWaiting || i.count() != 2 {
			t.Errorf("%d calls waited after 15 s, fetches %d", waited.Load(), i.count())
		}
	})
}

// Who goes away leaves the place to others.
func TestWhoGoesAwayWaitsNoMore(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		a := (&issuer{keys: []testKey{k}, delay: 2 * time.Second}).open(t)
		for range 2 * maxWaiting {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			a.Authenticate(ctx, Credential{Token: k.accessToken("x", 1)})
			cancel()
		}
		if !accepted(a, k.accessToken()) {
			t.Error("refused, and nobody else waits")
		}
	})
}

// An issuer that has taken its last key out has taken it back.
func TestLastKeyOfAnIssuer(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}}
		a, token := i.open(t), k.accessToken()
		if !accepted(a, token) {
			t.Fatal("refused")
		}
		i.set(func(i *issuer) { i.keys = nil })
		for range 3 {
			time.Sleep(keysTTL)
			a.Refresh(time.Now())
			synctest.Wait()
			if s := a.State(); accepted(a, token) || !matches(s.Err, "no usable key is left: every token is refused") || s.What != "no keys" {
				t.Errorf("its token is good, or it is not visible: %+v", s)
			}
		}
		i.set(func(i *issuer) { i.keys = []testKey{k} })
		time.Sleep(fetchInterval)
		if fresh := k.accessToken("jti", "2"); !accepted(a, fresh) || a.State().Err != nil {
			t.Errorf("the key is back: %+v", a.State())
		}
	})
}
