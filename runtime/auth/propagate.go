package auth

import "context"

// TokenSource returns a token for a call. It is called concurrently for each
// call that carries one, so it must be quick.
type TokenSource func(ctx context.Context) (string, error)

type userTokenKey struct{}

// userToken keeps the token out of what contexts print: strings they print as
// they are, and of what is behind a pointer no more than its type.
type userToken struct{ token string }

func (*userToken) String() string { return "user token" }

// WithUserToken returns a context whose calls carry the token of a user, for
// edges and tools that have a user's token themselves. It comes before the user
// of the call that the context belongs to.
func WithUserToken(ctx context.Context, token string) context.Context {
	return context.WithValue(ctx, userTokenKey{}, &userToken{token})
}

// WithoutUser returns a context whose calls carry no user, for work that goes on
// in the background in the service's own name.
func WithoutUser(ctx context.Context) context.Context {
	return context.WithValue(ctx, userTokenKey{}, &userToken{})
}

// UserToken returns the token of the user that calls made with the context
// carry, or "". given tells that the program has named it by [WithUserToken], or
// that there is none by [WithoutUser]; otherwise it is that of the incoming
// call, which may go to fewer servers than one that is named.
func UserToken(ctx context.Context) (token string, given bool) {
	if t, ok := ctx.Value(userTokenKey{}).(*userToken); ok {
		return t.token, true
	}
	if c := CallerFrom(ctx); c != nil {
		return c.UserToken, false
	}
	return "", false
}
