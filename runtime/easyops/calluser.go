package easyops

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync/atomic"

	"github.com/go-easyops/easyops/runtime/auth"
)

// userOf returns the ID of the user in whose name a call is made, "" for none. It
// is the user whose token the call carries, and serves to choose an instance:
// nothing has verified a token but that of an incoming call.
func (c *callCreds) userOf(ctx context.Context) string {
	token, given := auth.UserToken(ctx)
	if token != "" && !given && c.forwards {
		if user := auth.User(ctx); user != nil {
			return user.ID
		}
		return ""
	}
	if !given {
		token, _ = c.dialled(ctx) // the call fails where the source does
	}
	return c.subjects.of(token)
}

// subjects reads whom tokens are about. It keeps the last one, because calls that
// follow each other often have the same.
type subjects struct {
	last atomic.Pointer[readSubject]
}

type readSubject struct{ token, subject string }

func (s *subjects) of(token string) string {
	if token == "" {
		return ""
	}
	if r := s.last.Load(); r != nil && r.token == token {
		return r.subject
	}
	r := &readSubject{token, subjectOf(token)}
	s.last.Store(r)
	return r.subject
}

// maxReadToken bounds the tokens that are read here. Servers take no longer ones.
const maxReadToken = 8 << 10

// subjectOf returns the "sub" of a token (RFC 7519, 4.1.2), "" where there is none.
func subjectOf(token string) string {
	parts := strings.SplitN(token, ".", 4)
	if len(token) > maxReadToken || len(parts) != 3 {
		return ""
	}
	said, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims map[string]json.RawMessage // as fields of a struct are found whatever their case
	if json.Unmarshal(said, &claims) != nil {
		return ""
	}
	var subject string
	if json.Unmarshal(claims["sub"], &subject) != nil {
		return ""
	}
	return subject
}
