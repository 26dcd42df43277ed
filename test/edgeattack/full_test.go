//go:build real

package edgeattack

const (
	full     = true // all comparisons
	slowEach = 20   // connections of each kind of slowness
)
