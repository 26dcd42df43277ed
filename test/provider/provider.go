// Package provider runs zitadel's OpenID provider, with the users and clients of
// its example and signing keys that rotate.
package provider

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The clients of the provider. Tokens are for the client that asked for them.
const (
	WebClient     = "web"  // by which users log in
	ServiceClient = "sid1" // a service, with credentials of its own

	webSecret, serviceSecret = "secret", "verysecret"
	callback                 = "http://localhost:9999/callback"
)

// UserID is the ID of the one user who can log in.
const UserID = "id1"

var register = sync.OnceFunc(func() {
	storage.RegisterClients(storage.WebClient(WebClient, webSecret, callback))
})

// Provider is a running provider. Its methods may be called concurrently. Its
// access tokens are JWTs for five minutes, of typ JWT.
type Provider struct {
	// URL is its issuer, on loopback.
	URL string

	store   *store
	handler *op.Provider
	fetched atomic.Int32
	last    atomic.Int64 // Unix nanoseconds
	broken  atomic.Bool
}

// New starts a provider with a key called first, until the end of the test.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{}
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(server.Close)
	p.URL = server.URL
	register() // the example knows its clients in a variable
	p.store = &store{Storage: storage.NewStorage(storage.NewUserStore("http://localhost:1"))}
	p.Rotate(t, "first")
	var err error
	p.handler, err = op.NewProvider(&op.Config{CryptoKey: [32]byte{1}, GrantTypeRefreshToken: true}, p.store, op.StaticIssuer(p.URL),
		op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve counts how often the keys are asked for, and cuts them short while they
// are broken.
func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/keys" {
		p.fetched.Add(1)
		p.last.Store(time.Now().UnixNano())
		if p.broken.Load() {
			_, _ = io.WriteString(w, `{"keys":[{"kty":"RSA","n":"AQ`)
			return
		}
	}
	p.handler.ServeHTTP(w, r)
}

// Fetched is how often the keys were asked for.
func (p *Provider) Fetched() int { return int(p.fetched.Load()) }

// LastFetch is when that was last.
func (p *Provider) LastFetch() time.Time { return time.Unix(0, p.last.Load()) }

// Break has the keys end in the middle, or not any more.
func (p *Provider) Break(broken bool) { p.broken.Store(broken) }

// Rotate publishes a new key, which signs from now on.
func (p *Provider) Rotate(t testing.TB, id string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.store.keys = append(p.store.keys, signingKey{id, key})
}

// DropOld takes all keys back but the one that signs.
func (p *Provider) DropOld() {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.store.keys = p.store.keys[len(p.store.keys)-1:]
}

// ServiceToken returns the access token of ServiceClient, by its credentials.
func (p *Provider) ServiceToken() (string, error) {
	access, _, err := p.token(url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}}, ServiceClient, serviceSecret)
	return access, err
}

// UserTokens returns the tokens of a user who logs in, by the authorization code
// flow.
func (p *Provider) UserTokens() (access, id string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", "", err
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	query := url.Values{"client_id": {WebClient}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid profile email"}, "state": {"x"}}
	login, err := location(client, p.URL+"/authorize?"+query.Encode())
	if err != nil {
		return "", "", err
	}
	request := login.Query().Get("authRequestID")
	if err := p.store.CheckUsernamePassword("test-user@localhost", "verysecure", request); err != nil {
		return "", "", fmt.Errorf("%s: %w", login, err)
	}
	back, err := location(client, p.URL+"/authorize/callback?id="+request)
	if err != nil {
		return "", "", err
	}
	code := back.Query().Get("code")
	return p.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}, WebClient, webSecret)
}

// location returns where an address redirects to.
func location(client *http.Client, address string) (*url.URL, error) {
	r, err := client.Get(address)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode/100 != 3 {
		body, _ := io.ReadAll(r.Body)
		return nil, fmt.Errorf("%s: %s: %s", address, r.Status, body)
	}
	return r.Location()
}

func (p *Provider) token(form url.Values, client, secret string) (access, id string, err error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, p.URL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", "", err
	}
	r.SetBasicAuth(client, secret)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", "", err
	}
	defer answer.Body.Close()
	var tokens struct {
		AccessToken string `json:"access_token"`
		IDToken     string `json:"id_token"`
	}
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode == http.StatusOK {
		err = json.Unmarshal(body, &tokens)
	}
	if err != nil || tokens.AccessToken == "" {
		return "", "", fmt.Errorf("%s: %s %w", answer.Status, body, err)
	}
	return tokens.AccessToken, tokens.IDToken, nil
}
