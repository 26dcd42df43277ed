//go:build !real

package access

// full runs every mode; without it, those that differ most.
const full = false
