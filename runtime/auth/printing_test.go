package auth

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// A context prints what it holds; a token is not to be seen there.
func TestContextsPrintNoToken(t *testing.T) {
	for _, ctx := range []context.Context{WithUserToken(t.Context(), canary), WithoutUser(WithUserToken(t.Context(), canary))} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			s := fmt.Sprintf(verb, ctx)
			if strings.Contains(s, canary) || strings.Contains(s, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s: %s", verb, s)
			}
		}
	}
	type key struct{}
	if s := fmt.Sprint(context.WithValue(t.Context(), key{}, canary)); !strings.Contains(s, canary) {
		t.Error("contexts do not print what they hold: the test proves nothing")
	}
}

// Two callers never print alike, nor can an ID change how a line looks.
func TestCallersPrintTheirOwn(t *testing.T) {
	user := func(id string) Caller { return Caller{Identity: Identity{User: &Principal{ID: id}}} }
	seen := map[string]bool{}
	for want, c := range map[string]Caller{
		`user "alice by service deployer"`:              user("alice by service deployer"),
		`user alice by service deployer`:                {Identity: Identity{User: &Principal{ID: "alice"}, Service: &Principal{ID: "deployer"}}},
		`user "\"alice by service deployer\""`:          user(`"alice by service deployer"`),
		`user "a\" by service \"b" by service deployer`: {Identity: Identity{User: &Principal{ID: `a" by service "b`}, Service: &Principal{ID: "deployer"}}},
		`user "\"alice\""`:                              user(`"alice"`),
		`user ""`:                                       user(""),
		`user "a\nb"`:                                   user("a\nb"),
		`user "a\x1b[2Jb"`:                              user("a\x1b[2Jb"),
		`user "a\u202eb"`:                               user("a\u202eb"),
		`user "a\u00a0b"`:                               user("a\u00a0b"),
		`user "a\xffb"`:                                 user("a\xffb"),
		`user Zoë|00uid@example.org`:                    user("Zoë|00uid@example.org"),
		`service "x y"`:                                 {Identity: Identity{Service: &Principal{ID: "x y"}}},
		`service spiffe://a.example/x-y`:                {Identity: Identity{Service: &Principal{ID: "spiffe://a.example/x-y"}}},
	} {
		if got := c.String(); got != want || seen[got] {
			t.Errorf("got %s, want %s, once", got, want)
		}
		seen[want] = true
	}
}

// A password that somebody writes into an address is in no error.
func TestErrorsQuoteNoPassword(t *testing.T) {
	const ending = "?issuer=https://u:hunter2@id.example&audience=a"
	for _, spec := range []string{
		"oidc:https://u:hunter2@id.example", "oidc:https://u:hunter2@id.example?audience=a",
		"oidc:https://u:hun/ter2@id.example?audience=a", "oidc:https://u:hunter2%zz@id.example?audience=a",
		"oidc:https://hunter2 x@id.example?audience=a", "oidc:https://u:hunter2", "oidc:https://u:hunter2?audience=a",
		"oidc:u:hunter2@id.example?audience=a", "oidc://u:hunter2@id.example?audience=a", "oidc:ftp://u:hunter2@id.example?audience=a",
		"https://u:hunter2@id.example", "u:hunter2@id.example", "hunter2@id.example",
		"jwks:https://u:hunter2@id.example/k" + ending, "jwks://u:hunter2@id.example/k" + ending, "jwks:https://u:hunter2" + ending,
		"jwks:" + t.TempDir() + "/missing" + ending,
		"mtls,jwks:k" + ending + ",jwks:k" + ending,
	} {
		_, err := OpenAll(strings.Split(spec, ","), Config{Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			t.Errorf("%s is taken", spec)
		} else if s := err.Error(); strings.Contains(s, "hunter2") || strings.Contains(s, "ter2") {
			t.Errorf("%s: %s", spec, s)
		}
	}
	for text, want := range map[string]string{ // and what is none is left
		"oidc:https://id.example:8443/a?audience=b":           "oidc:https://id.example:8443/a?audience=b",
		"jwks:/etc/me@example.org/k.json?issuer=i&audience=a": "jwks:/etc/me@example.org/k.json?issuer=i&audience=a",
		"oidc:https://u:hunter2@id.example?audience=b":        "oidc:https://REDACTED@id.example?audience=b",
	} {
		if got := shown(text); got != want {
			t.Errorf("%s is shown as %s", text, got)
		}
	}
}
