package auth_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/go-easyops/easyops/runtime/auth"
)

type apiKeys map[[sha256.Size]byte]string // the hashes of keys, and whose they are

func (k apiKeys) Authenticate(_ context.Context, c auth.Credential) (auth.Identity, error) {
	key, isKey := strings.CutPrefix(c.Token, "key_")
	if !isKey {
		return auth.Identity{}, nil // a token of somebody else's, or a certificate
	}
	if id, ok := k[sha256.Sum256([]byte(key))]; ok {
		return auth.Identity{Service: &auth.Principal{ID: id}}, nil
	}
	return auth.Identity{}, errors.New("unknown key") // for the log, never for the caller
}

// Services are known by keys. A server takes them by easyops.WithAuthenticator.
func ExampleAuthenticator() {
	keys := apiKeys{sha256.Sum256([]byte("of-billing")): "billing"}
	for _, header := range []string{"Bearer key_of-billing", "Bearer key_of-nobody", "Bearer else"} {
		caller, err := auth.Identify(context.Background(), auth.Presented{User: []string{header}}, []auth.Authenticator{keys})
		fmt.Println(caller, err)
	}
	// Output:
	// service billing <nil>
	// anonymous unauthenticated: token: unknown key
	// anonymous unauthenticated: token: no authenticator takes it
}
