package tokens

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/test/provider"
)

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
	p := provider.New(t)
	access, id, err := p.UserTokens()
	if err != nil {
		t.Fatal(err)
	}
	service, err := p.ServiceToken()
	if err != nil {
		t.Fatal(err)
	}
	// This provider's access tokens are not marked as RFC 9068 wants, hence typ.
	all := open(t, "oidc:"+p.URL+"?audience=web&typ=jwt", "oidc:"+p.URL+"?audience=sid1&use=service&typ=jwt")
	caller, err := auth.Identify(t.Context(), auth.Presented{User: bearer(access), Service: bearer(service)}, all)
	if err != nil || caller.String() != "user id1 by service sid1" || caller.User.Issuer != p.URL {
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
	strict := open(t, "oidc:"+p.URL+"?audience=web")
	if caller, err := auth.Identify(t.Context(), auth.Presented{User: bearer(id)}, strict); err == nil || !strings.Contains(err.Error(), "typ") {
		t.Errorf("an ID token: accepted as %v, %v", caller, err)
	}
}
