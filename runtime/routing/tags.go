package routing

import (
	"context"
	"slices"
)

type tagsKey struct{}

// wanted is which tags a call asks for.
type wanted struct {
	class    class
	fallback bool
}

// TagOption says more about the tags of a call.
type TagOption int

// FallbackToPlain lets a call go to the instances without tags where none with
// its tags is listed. Without it such a call waits, and fails with UNAVAILABLE.
const FallbackToPlain TagOption = 1

// WithTags returns a context whose calls go only to instances with exactly these
// tags; the tag zone of instances does not count. Tags do not travel: what the
// instance calls in turn, it calls without them. Without tags in the map the
// calls go to instances without tags, as they do with a context that has none. A
// Conn with a target does not look at tags.
func WithTags(ctx context.Context, tags map[string]string, opts ...TagOption) context.Context {
	return context.WithValue(ctx, tagsKey{}, &wanted{tagged(tags), slices.Contains(opts, FallbackToPlain)})
}

// tagsOf returns the class that a call asks for by tags, plain for none.
func tagsOf(ctx context.Context) (c class, fallback bool) {
	if w, ok := ctx.Value(tagsKey{}).(*wanted); ok {
		return w.class, w.fallback
	}
	return plain, false
}
