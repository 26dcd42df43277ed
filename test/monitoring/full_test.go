//go:build real

package monitoring

// strangers is how many callers there are, and methods that nobody has.
const strangers = 100_000
