package auth

import (
	"context"
	"testing"
)

// TestUserToken: what the program names comes before the user of the call.
func TestUserToken(t *testing.T) {
	ctx := t.Context()
	call := context.WithValue(ctx, ContextKey{}, &Caller{Identity: Identity{User: &Principal{ID: "alice"}}, UserToken: "alice's"})
	for _, test := range []struct {
		name  string
		ctx   context.Context
		token string
		given bool
	}{
		{"nothing", ctx, "", false},
		{"a call", call, "alice's", false},
		{"a call without a user", context.WithValue(ctx, ContextKey{}, &Caller{}), "", false},
		{"named", WithUserToken(ctx, "bob's"), "bob's", true},
		{"named in a call", WithUserToken(call, "bob's"), "bob's", true},
		{"background work", WithoutUser(call), "", true},
		{"background work of a named user", WithoutUser(WithUserToken(call, "bob's")), "", true},
		{"named in background work", WithUserToken(WithoutUser(call), "bob's"), "bob's", true},
		{"a test of a handler", NewContext(ctx, Identity{User: &Principal{ID: "alice"}}), "", false},
		{"a call in the context of another", context.WithValue(WithUserToken(ctx, "bob's"), ContextKey{}, &Caller{UserToken: "alice's"}), "bob's", true},
	} {
		if token, given := UserToken(test.ctx); token != test.token || given != test.given {
			t.Errorf("%s: got %q, %v, want %q, %v", test.name, token, given, test.token, test.given)
		}
	}
}
