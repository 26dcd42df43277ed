package auth

import (
	"context"
	"fmt"
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
