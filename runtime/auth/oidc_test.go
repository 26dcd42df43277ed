package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// issuer is an OpenID provider as an [http.RoundTripper], so that it can live in
// a bubble of synctest.
type issuer struct {
	mu      sync.Mutex
	keys    []testKey
	delay   time.Duration
	down    bool
	control string // Cache-Control of the keys
	fetched int    // how often the keys were asked for
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	delay, down := i.delay, i.down
	i.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.String() == testIssuer+"/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, testIssuer, testIssuer+"/keys")
	case r.URL.String() == testIssuer+"/keys":
		w.Header().Set("Cache-Control", i.control)
		var set []jose.JSONWebKey
		for _, k := range i.keys {
			set = append(set, k.jwk())
		}
		w.Write(keySetJSON(set...))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	if strings.HasSuffix(r.URL.Path, "/keys") || down {
		i.fetched++
	}
	return w.Result(), nil
}

func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetched
}

func (i *issuer) open(t *testing.T) *tokens {
	t.Helper()
	a, err := Open("oidc:"+testIssuer+"?audience="+testAudience, Config{Logger: slog.New(slog.DiscardHandler), transport: i})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.(io.Closer).Close() })
	return a.(*tokens)
}

// accessToken is a token as of RFC 9068.
func (k testKey) accessToken(changes ...any) string {
	return k.sign(k.header("typ", "at+jwt"), testClaims(changes...))
}

func accepted(a Authenticator, token string) bool {
	id, err := authenticate(a, token)
	return err == nil && id.User != nil
}

func TestProviderIsAskedWhenNeeded(t *testing.T) {
	k := testKeys()["ES256"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}}
		a := i.open(t)
		a.Refresh(time.Now())
		authenticate(a, k.accessToken("iss", "https://other.example"))
		authenticate(a, k.accessToken("exp", 1))
		authenticate(a, k.token()) // an ID token, or of an unknown type
		if n := i.count(); n != 0 {
			t.Errorf("asked %d times before a token needs it", n)
		}
		if !accepted(a, k.accessToken()) || i.count() != 1 {
			t.Errorf("asked %d times for the first token; state: %+v", i.count(), a.State())
		}
		if s := a.State(); s.Err != nil || s.Where != testIssuer || s.What != "ES256 ec-1" || s.Since.IsZero() {
			t.Errorf("state: %+v", s)
		}
	})
}

// Random kids must not make us a flood for the issuer, however many there are.
func TestRandomKeyIDs(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}, delay: 100 * time.Millisecond}
		a := i.open(t)
		begin := time.Now()
		_, rest, _ := strings.Cut(newEdKey("").accessToken(), ".")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for n := range 500 {
					header := `{"alg":"EdDSA","typ":"at+jwt","kid":"` + rand.Text() + `"}`
					if accepted(a, encode(header)+"."+rest) {
						t.Error("a forged token was accepted")
					}
					if n%10 == 0 {
						time.Sleep(time.Second)
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(begin)
		most := 1 + int(took/fetchInterval)
		if n := i.count(); n < 2 || n > most {
			t.Errorf("asked %d times in %v, want 2 to %d", n, took, most)
		}
		t.Logf("10,000 tokens with random kids in %v: keys fetched %d times", took, i.count())
		if !accepted(a, k.accessToken()) {
			t.Error("the good token is refused")
		}
	})
}

// However many specs name an issuer, it is asked once.
func TestSpecsShareAnIssuer(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}}
		all, err := OpenAll([]string{"oidc:" + testIssuer + "?audience=users", "oidc:" + testIssuer + "?audience=services&use=service"},
			Config{Logger: slog.New(slog.DiscardHandler), transport: i})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			p := Presented{User: bearerOf(k.accessToken("aud", "users")), Service: bearerOf(k.accessToken("aud", "services", "sub", "billing"))}
			if c, err := Identify(t.Context(), p, all); err != nil || c.String() != "user alice by service billing" {
				t.Errorf("got %v, %v", c, err)
			}
			forged := k.sign(k.header("typ", "at+jwt", "kid", "x"), testClaims("aud", "users"))
			if _, err := Identify(t.Context(), Presented{User: bearerOf(forged)}, all); !matches(err, "once in 15s") {
				t.Error(err)
			}
			for _, a := range all {
				a.(Source).Refresh(time.Now())
			}
		}
		if n := i.count(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
		for _, a := range all {
			a.(io.Closer).Close()
		}
	})
}

// A bad signature by a known key says nothing about the keys.
func TestBadSignatureFetchesNothing(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}}
		a := i.open(t)
		accepted(a, k.accessToken())
		for range 5 {
			time.Sleep(time.Minute)
			forged := newEdKey(k.id)
			if accepted(a, forged.accessToken()) {
				t.Error("a forged token was accepted")
			}
		}
		if n := i.count(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

func TestRotationAtTheProvider(t *testing.T) {
	old, next := newEdKey("old"), newEdKey("next")
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{old}}
		a := i.open(t)
		oldToken := old.accessToken()
		if !accepted(a, oldToken) {
			t.Fatal("refused")
		}
		time.Sleep(time.Minute)
		i.set(func(i *issuer) { i.keys = []testKey{old, next} })
		if !accepted(a, next.accessToken()) || !accepted(a, oldToken) {
			t.Error("while there are both keys, a token is refused")
		}
		i.set(func(i *issuer) { i.keys = []testKey{next} })
		time.Sleep(59 * time.Minute)
		if a.Refresh(time.Now()); !accepted(a, oldToken) {
			t.Error("looked before an hour had gone")
		}
		time.Sleep(time.Minute)
		a.Refresh(time.Now())
		synctest.Wait()
		if accepted(a, oldToken) {
			t.Error("a token is accepted whose key is gone")
		}
		if n := i.count(); n != 3 {
			t.Errorf("asked %d times, want 3", n)
		}
	})
}

func TestProviderIsAway(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}, down: true}
		a := i.open(t)
		if accepted(a, k.accessToken()) || a.State().Err == nil {
			t.Errorf("accepted without keys, or not visible: %+v", a.State())
		}
		i.set(func(i *issuer) { i.down = false })
		if accepted(a, k.accessToken()) {
			t.Error("asked again at once")
		}
		time.Sleep(fetchInterval)
		if !accepted(a, k.accessToken()) || a.State().Err != nil {
			t.Errorf("it is back, and not used: %+v", a.State())
		}
		i.set(func(i *issuer) { i.down = true })
		for range 5 {
			time.Sleep(time.Hour)
			a.Refresh(time.Now())
			synctest.Wait()
			if !accepted(a, k.accessToken()) || a.State().Err == nil {
				t.Errorf("the last keys are not used any more, or it is not visible: %+v", a.State())
			}
		}
		i.set(func(i *issuer) { i.down = false })
		time.Sleep(minKeysTTL)
		a.Refresh(time.Now())
		synctest.Wait()
		if err := a.State().Err; err != nil {
			t.Error("it is back:", err)
		}
	})
}

// A call that needs keys waits for them as long as it lasts, and no call ends
// the fetch for others.
func TestWaitingForKeys(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}, delay: time.Second}
		a := i.open(t)
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*500*time.Millisecond)
				defer cancel()
				begin := time.Now()
				_, err := a.Authenticate(ctx, Credential{Token: k.accessToken()})
				patient := n > 4 // two requests of a second
				if n != 4 && (err == nil) != patient || !patient && !errors.Is(err, context.DeadlineExceeded) && n != 4 {
					t.Errorf("call %d: %v", n, err)
				}
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("call %d took %v", n, took)
				}
			})
		}
		wg.Wait()
		if n := i.count(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestFetchIsBounded(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}, delay: time.Hour}
		a := i.open(t)
		begin := time.Now()
		if accepted(a, k.accessToken()) || time.Since(begin) != fetchTimeout {
			t.Errorf("waited %v", time.Since(begin))
		}
	})
}

func TestCloseEndsTheFetch(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{keys: []testKey{k}, delay: time.Hour}
		a := i.open(t)
		go authenticate(a, k.accessToken())
		synctest.Wait()
		begin := time.Now()
		a.Close()
		a.Close()
		if accepted(a, k.accessToken()) || time.Since(begin) != 0 || a.State().Err != nil {
			t.Errorf("closed after %v: %+v", time.Since(begin), a.State())
		}
	})
}

func TestLifetimeOfKeys(t *testing.T) {
	for control, want := range map[string]time.Duration{
		"": time.Hour, "no-store": time.Hour, "max-age=0": time.Hour, "max-age=1": time.Minute, "public, max-age=600, must-revalidate": 10 * time.Minute, "Max-Age=600": 10 * time.Minute,
		"max-age=86400": time.Hour, "max-age=99999999999999999999": time.Hour, "max-age=-5": time.Hour, "max-age=x": time.Hour, "s-maxage=60": time.Hour,
	} {
		if got := lifetime(http.Header{"Cache-Control": {control}}); got != want {
			t.Errorf("%q: got %v, want %v", control, got, want)
		}
	}
}

// What a provider must not answer, over real TLS.
func TestProviderAnswers(t *testing.T) {
	k := testKeys()["EdDSA"]
	good := string(keySetJSON(k.jwk()))
	for name, c := range map[string]struct {
		about, keys string
		redirect    string
		status      int
		want        string // in the state's error; "" is accepted
	}{
		"good":                    {about: `{"issuer":"URL","jwks_uri":"URL/keys"}`, keys: good},
		"redirect":                {redirect: "URL/moved"},
		"another issuer":          {about: `{"issuer":"https://other.example","jwks_uri":"URL/keys"}`, keys: good, want: "says that it is"},
		"issuer with slash":       {about: `{"issuer":"URL/","jwks_uri":"URL/keys"}`, keys: good, want: "says that it is"},
		"no issuer":               {about: `{"jwks_uri":"URL/keys"}`, keys: good, want: "says that it is"},
		"no keys":                 {about: `{"issuer":"URL"}`, keys: good, want: "https is required"},
		"keys in plaintext":       {about: `{"issuer":"URL","jwks_uri":"http://127.0.0.1:1/keys"}`, keys: good, want: "https is required"},
		"keys in a file":          {about: `{"issuer":"URL","jwks_uri":"file:///etc/passwd"}`, keys: good, want: "https is required"},
		"redirect to plaintext":   {redirect: "PLAIN/keys", want: "https is required"},
		"redirect for ever":       {redirect: "URL/again", want: "too many redirects"},
		"no JSON":                 {about: `<html>`, want: "discovery"},
		"error":                   {status: 500, want: "500"},
		"empty set":               {about: `{"issuer":"URL","jwks_uri":"URL/keys"}`, keys: `{"keys":[]}`, want: "no key"},
		"no set":                  {about: `{"issuer":"URL","jwks_uri":"URL/keys"}`, keys: `[]`, want: "no JSON Web Key Set"},
		"a set of 1 MiB and more": {about: `{"issuer":"URL","jwks_uri":"URL/keys"}`, keys: good + strings.Repeat(" ", 1<<20), want: "1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			var inPlaintext, requests atomic.Int32
			plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				inPlaintext.Add(1)
				io.WriteString(w, good)
			}))
			defer plain.Close()
			var server *httptest.Server
			expand := func(s string) string {
				return strings.NewReplacer("URL", server.URL, "PLAIN", plain.URL).Replace(s)
			}
			server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				switch {
				case c.status != 0:
					w.WriteHeader(c.status)
				case r.URL.Path == "/again" || r.URL.Path != "/keys" && r.URL.Path != "/moved" && c.redirect != "":
					http.Redirect(w, r, expand(c.redirect), http.StatusFound)
				case r.URL.Path == "/moved":
					io.WriteString(w, expand(`{"issuer":"URL","jwks_uri":"URL/keys"}`))
				case r.URL.Path == "/keys":
					io.WriteString(w, expand(cmpOr(c.keys, good)))
				default:
					io.WriteString(w, expand(c.about))
				}
			}))
			defer server.Close()
			a, err := Open("oidc:"+server.URL+"?audience=echo", Config{Logger: slog.New(slog.DiscardHandler), transport: server.Client().Transport})
			if err != nil {
				t.Fatal(err)
			}
			ok := accepted(a, k.accessToken("iss", server.URL))
			state := a.(Source).State()
			if ok != (c.want == "") || !matches(state.Err, c.want) {
				t.Errorf("accepted: %v; state: %v, want %q", ok, state.Err, c.want)
			}
			if n := inPlaintext.Load(); n != 0 || requests.Load() > 4 {
				t.Errorf("asked %d times in plaintext, %d times in all", n, requests.Load())
			}
		})
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Without TLS, only loopback may answer, and a certificate that nobody vouches for
// is none.
func TestProviderNeedsTLS(t *testing.T) {
	k := testKeys()["EdDSA"]
	for address, ok := range map[string]bool{
		"https://id.example": true, "https://id.example/realms/x": true, "https://id.example/": true, "http://localhost:8080": true, "http://127.0.0.1:1": true, "http://[::1]:1": true,
		"http://id.example": false, "http://10.0.0.1": false, "http://localhost.example": false, "http://127.0.0.1.example": false, "ftp://127.0.0.1": false, "id.example": false,
		"//id.example": false, "https://": false, "https://a:b@id.example": false, "https://id.example#x": false, "http://2130706433": false, "file:///x": false,
	} {
		if _, err := Open("oidc:"+address+"?audience=x", Config{}); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	var log bytes.Buffer
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(&log, nil), slog.LevelInfo)
	server.StartTLS()
	a, err := Open("oidc:"+server.URL+"?audience=echo", Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if accepted(a, k.accessToken("iss", server.URL)) || !matches(a.(Source).State().Err, "certificate") {
		t.Errorf("state: %v, want an error of the certificate", a.(Source).State().Err)
	}
	server.Close()
}
