// Package cache keeps what is dear to get, in named caches that the status
// pages of every server of the process list, count and clear.
//
//	var users = cache.New[string, User]("users", cache.Options{MaxEntries: 10_000, TTL: time.Minute})
//
//	user, err := users.Load(ctx, id, store.User)
//
// A cache is bounded, has no goroutine and needs no closing: it is usually a
// variable of a package and lives as long as the process. One that nobody
// refers to any more is collected, and leaves the pages. A test makes its own,
// or calls Clear.
//
// Caches of other libraries are listed by [Register], so that an operator can
// clear them too.
//
// Caches are known by their names on pages and in metrics, where a name is 1 to
// 64 characters of A-Z, a-z, 0-9, ".", "_" and "-". Others are replaced by "_",
// which is logged. Where a name is taken, "-2" or the next free number is
// appended, so that several instances of a type can each have their cache.
package cache
