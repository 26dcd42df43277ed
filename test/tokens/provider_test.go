package tokens

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

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/go-easyops/easyops/runtime/auth"
)

// provider is zitadel's OpenID provider, with its example's users and clients,
// and keys that rotate.
type provider struct {
	url     string
	store   *store
	handler *op.Provider
	fetched atomic.Int32 // how often its keys were asked for
}

// store is the example's, with signed access tokens in place of opaque ones.
type store struct {
	*storage.Storage
	mu   sync.Mutex
	keys []signingKey // that are published; the last one signs
}

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) Key() any                                    { return k.key }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }

type publicKey struct{ signingKey }

func (k publicKey) Key() any                           { return &k.key.PublicKey }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k publicKey) Use() string                        { return "sig" }

type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

func (s *store) KeySet(context.Context) (keys []op.Key, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		keys = append(keys, publicKey{k})
	}
	return keys, nil
}

func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	return jwtClient{c}, err
}

func (s *store) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := s.Storage.ClientCredentials(ctx, id, secret)
	return jwtClient{c}, err
}

// rotate publishes a new key and signs with it from now on.
func (s *store) rotate(t *testing.T, id string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, signingKey{id, key})
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			p.fetched.Add(1)
		}
		p.handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	storage.RegisterClients(storage.WebClient("web", "secret", "http://localhost:9999/callback"))
	p.store = &store{Storage: storage.NewStorage(storage.NewUserStore("http://localhost:1"))}
	p.store.rotate(t, "first")
	var err error
	p.handler, err = op.NewProvider(&op.Config{CryptoKey: [32]byte{1}, GrantTypeRefreshToken: true}, p.store, op.StaticIssuer(p.url),
		op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// service returns the access token of a service, by its client credentials.
func (p *provider) service() (string, error) {
	access, _, err := p.token(url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}}, "sid1", "verysecret")
	return access, err
}

// user returns the tokens of a user who logs in, by the authorization code flow.
func (p *provider) user() (access, id string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", "", err
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	query := url.Values{"client_id": {"web"}, "redirect_uri": {"http://localhost:9999/callback"}, "response_type": {"code"}, "scope": {"openid profile email"}, "state": {"x"}}
	login, err := location(client, p.url+"/authorize?"+query.Encode())
	if err != nil {
		return "", "", err
	}
	request := login.Query().Get("authRequestID")
	if err := p.store.CheckUsernamePassword("test-user@localhost", "verysecure", request); err != nil {
		return "", "", fmt.Errorf("%s: %w", login, err)
	}
	back, err := location(client, p.url+"/authorize/callback?id="+request)
	if err != nil {
		return "", "", err
	}
	code := back.Query().Get("code")
	return p.token(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"http://localhost:9999/callback"}}, "web", "secret")
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

func (p *provider) token(form url.Values, client, secret string) (access, id string, err error) {
	r, err := http.NewRequest(http.MethodPost, p.url+"/oauth/token", strings.NewReader(form.Encode()))
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
	if err != nil || answer.StatusCode != http.StatusOK || json.Unmarshal(body, &tokens) != nil {
		return "", "", fmt.Errorf("%s: %s %w", answer.Status, body, err)
	}
	return tokens.AccessToken, tokens.IDToken, nil
}

func open(t *testing.T, specs ...string) []auth.Authenticator {
	t.Helper()
	all, err := auth.OpenAll(specs, auth.Config{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, a := range all {
			a.(io.Closer).Close()
		}
	})
	return all
}

func bearer(token string) []string { return []string{"Bearer " + token} }

// The provider's own tokens, of a user who has logged in and of a service.
func TestProvider(t *testing.T) {
	p := newProvider(t)
	access, id, err := p.user()
	if err != nil {
		t.Fatal(err)
	}
	service, err := p.service()
	if err != nil {
		t.Fatal(err)
	}
	// This provider's access tokens are not marked as RFC 9068 wants, hence typ.
	all := open(t, "oidc:"+p.url+"?audience=web&typ=jwt", "oidc:"+p.url+"?audience=sid1&use=service&typ=jwt")
	caller, err := auth.Identify(t.Context(), auth.Presented{User: bearer(access), Service: bearer(service)}, all)
	if err != nil || caller.String() != "user id1 by service sid1" || caller.User.Issuer != p.url {
		t.Errorf("got %v, %v", caller, err)
	}
	if left := time.Until(caller.Expires()); left < 5*time.Minute || left > 6*time.Minute+time.Second {
		t.Errorf("expires in %v, want 5 minutes and the leeway", left)
	}
	if err := (auth.Access{Allow: auth.Users, Services: []string{"sid1"}}).Check(caller.Identity); err != nil {
		t.Error(err)
	}
	for name, presented := range map[string]auth.Presented{
		"user as service": {Service: bearer(access)},
		"tampered":        {User: bearer(access[:len(access)-10] + "AAAAAAAAAA")},
		"no token":        {User: bearer("x")},
	} {
		if caller, err := auth.Identify(t.Context(), presented, all); err == nil {
			t.Errorf("%s: accepted as %v", name, caller)
		}
	}
	// An ID token says that someone has logged in, and is for the client alone.
	strict := open(t, "oidc:"+p.url+"?audience=web")
	if caller, err := auth.Identify(t.Context(), auth.Presented{User: bearer(id)}, strict); err == nil || !strings.Contains(err.Error(), "typ") {
		t.Errorf("an ID token: accepted as %v, %v", caller, err)
	}
}
