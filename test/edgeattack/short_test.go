//go:build !real

package edgeattack

const (
	full     = false // all comparisons
	slowEach = 4     // connections of each kind of slowness
)
