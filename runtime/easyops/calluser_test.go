package easyops

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/runtime/auth"
)

// tokenOf is a token that nobody has signed.
func tokenOf(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func aliceIs() auth.Identity { return auth.Identity{User: &auth.Principal{ID: "alice"}} }

// TestUserOf: the user of a call is the one whose token it carries.
func TestUserOf(t *testing.T) {
	bob := tokenOf(`{"sub":"bob"}`)
	incoming := context.WithValue(t.Context(), auth.ContextKey{}, &auth.Caller{Identity: aliceIs(), UserToken: "of alice"})
	gives := func(token string, err error) auth.TokenSource {
		return func(context.Context) (string, error) { return token, err }
	}
	for _, test := range []struct {
		name  string
		creds *callCreds
		ctx   context.Context
		want  string
	}{
		{"nobody", &callCreds{forwards: true}, t.Context(), ""},
		{"incoming", &callCreds{forwards: true}, incoming, "alice"},
		{"incoming comes before the dialled one", &callCreds{forwards: true, users: gives(bob, nil)}, incoming, "alice"},
		{"incoming, where it is not carried on", &callCreds{}, incoming, ""},
		{"the dialled one instead", &callCreds{users: gives(bob, nil)}, incoming, "bob"},
		{"named", &callCreds{}, auth.WithUserToken(incoming, bob), "bob"},
		{"without", &callCreds{forwards: true, users: gives(bob, nil)}, auth.WithoutUser(incoming), ""},
		{"identity of a test", &callCreds{forwards: true}, auth.NewContext(t.Context(), aliceIs()), ""},
		{"identity of a test, dialled", &callCreds{forwards: true, users: gives(bob, nil)}, auth.NewContext(t.Context(), aliceIs()), "bob"},
		{"a service calls", &callCreds{forwards: true}, auth.NewContext(t.Context(), auth.Identity{Service: &auth.Principal{ID: "s"}}), ""},
		{"dialled", &callCreds{forwards: true, users: gives(bob, nil)}, t.Context(), "bob"},
		{"dialled, nobody", &callCreds{users: gives("", nil)}, t.Context(), ""},
		{"the source fails", &callCreds{users: gives("", errors.New("login again"))}, t.Context(), ""},
	} {
		for range 2 { // read, and kept
			if got := test.creds.userOf(test.ctx); got != test.want {
				t.Errorf("%s: got %q, want %q", test.name, got, test.want)
			}
		}
	}
}

func TestSubjectOf(t *testing.T) {
	for token, want := range map[string]string{
		tokenOf(`{"sub":"alice"}`):                      "alice",
		tokenOf(`{"iss":"x","sub":"al\u0069ce"}`):       "alice",
		tokenOf(`{"sub":"alice","SUB":"bob"}`):          "alice",
		tokenOf(`{"SUB":"bob"}`):                        "",
		tokenOf(`{"sub":7}`):                            "",
		tokenOf(`{"sub":["alice"]}`):                    "",
		tokenOf(`{}`):                                   "",
		tokenOf(`[]`):                                   "",
		tokenOf(`{"sub":"alice"`):                       "",
		tokenOf(`{"sub":"alice"}`) + ".more":            "",
		"opaque":                                        "",
		"a.b":                                           "",
		"e30.!.c2ln":                                    "",
		strings.Repeat(".", 60_000):                     "",
		tokenOf(`{"sub":"` + strings.Repeat("a", 9000)): "",
	} {
		if got := subjectOf(token); got != want {
			t.Errorf("%.60s: got %q, want %q", token, got, want)
		}
	}
}

// TestSubjectsAreTold: one user's calls are not taken for another's.
func TestSubjectsAreTold(t *testing.T) {
	var s subjects
	done := make(chan struct{})
	for _, name := range []string{"alice", "bob"} {
		go func() {
			defer func() { done <- struct{}{} }()
			token := tokenOf(`{"sub":"` + name + `"}`)
			for range 1000 {
				if got := s.of(token); got != name {
					t.Errorf("%s is taken for %s", name, got)
				}
			}
		}()
	}
	<-done
	<-done
}
