//go:build real

package access

// full runs every mode: with the race detector a minute and more.
const full = true
