package easyopstest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// AsUser makes the calls of a client in the name of a user who is in the groups.
// Together with [AsService] the service calls for the user. It fits every server
// of [Start] in the process of the test and no other server.
func AsUser(id string, groups ...string) easyops.DialOption {
	token := sync.OnceValue(func() string { return UserToken(id, groups...) })
	return easyops.DialUserToken(func(context.Context) (string, error) { return token(), nil })
}

// AsService makes the calls of a client those of a service, which rules know by
// the ID. A server that calls others has it too, where its clients are dialled:
// the user of an incoming call goes along with the calls that are made with its
// context.
func AsService(id string) easyops.DialOption {
	token := sync.OnceValue(func() string { return ServiceToken(id) })
	return easyops.DialGRPC(grpc.WithPerRPCCredentials(serviceToken(token)))
}

// UserToken returns the token of [AsUser], for tests that make their requests
// themselves: "authorization: Bearer TOKEN". It is good for a day.
func UserToken(id string, groups ...string) string {
	return claims{issuer: userIssuer, id: id, groups: groups}.sign(processKey())
}

// ServiceToken returns the token of [AsService], which goes in the same header,
// or in easyops-service-authorization beside a user's.
func ServiceToken(id string) string {
	return claims{issuer: serviceIssuer, id: subject(id)}.sign(processKey())
}

// The issuers of tokens, and whom they are for.
const (
	userIssuer    = "easyopstest-users"
	serviceIssuer = "easyopstest-services"
	audience      = "easyopstest"
	lifetime      = 24 * time.Hour
)

// serviceToken sends a token in the header that is for services alone.
type serviceToken func() string

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (s serviceToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{auth.ServiceHeader: "Bearer " + s()}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials]. The token
// is good for nothing outside of the process.
func (serviceToken) RequireTransportSecurity() bool { return false }

// processKey signs the tokens of this process. The private key is nowhere else.
var processKey = sync.OnceValue(newKey)

func newKey() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err) // crypto/rand does not fail (since Go 1.24)
	}
	return key
}

const keyID = "easyopstest"

// claims are what a token says.
type claims struct {
	issuer, id string
	groups     []string
	age        time.Duration // since it was issued
}

// sign makes the token.
func (c claims) sign(key ed25519.PrivateKey) string {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key, KeyID: keyID}},
		(&jose.SignerOptions{}).WithType("at+jwt"),
	)
	if err != nil {
		panic(err) // an Ed25519 key is one for EdDSA
	}
	issued := time.Now().Add(-c.age)
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: c.issuer, Subject: c.id, Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(issued), Expiry: jwt.NewNumericDate(issued.Add(lifetime)),
	}).Claims(map[string]any{"groups": append([]string{}, c.groups...)}).Serialize()
	if err != nil {
		panic(err) // strings and numbers can be written as JSON
	}
	return token
}

// authenticators verify the tokens of this process by the code that verifies those
// of any issuer whose keys are in a file. Only public keys are in it.
func authenticators(t testing.TB, dir string, log *slog.Logger) (opts []easyops.ServerOption) {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: processKey().Public(), KeyID: keyID}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "keys.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := auth.OpenAll([]string{
		"jwks:" + file + "?issuer=" + userIssuer + "&audience=" + audience + "&use=user",
		"jwks:" + file + "?issuer=" + serviceIssuer + "&audience=" + audience + "&use=service",
	}, auth.Config{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		opts = append(opts, easyops.WithAuthenticator(asCertified{a}))
	}
	return opts
}

// certified is before a SPIFFE ID in a token of this process: elsewhere only a
// certificate proves one, so no token may name it by itself.
const certified = "certified "

// subject is how a token of this process names a service.
func subject(id string) string {
	if strings.HasPrefix(strings.ToLower(id), "spiffe:") {
		return certified + id
	}
	return id
}

// asCertified gives services the SPIFFE IDs that subject has hidden.
type asCertified struct{ auth.Authenticator }

func (a asCertified) Authenticate(ctx context.Context, c auth.Credential) (auth.Identity, error) {
	identity, err := a.Authenticator.Authenticate(ctx, c)
	if identity.Service == nil {
		return identity, err
	}
	if id, ok := strings.CutPrefix(identity.Service.ID, certified); ok {
		service := *identity.Service
		service.ID, identity.Service = id, &service
	}
	return identity, err
}
