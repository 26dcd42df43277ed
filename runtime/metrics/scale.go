package metrics

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// A duration is counted once, in a bucket whose bounds are both those of gRFC A66
// and powers of the fourth root of two of a second. So the classic histogram and
// the exponential one (schema 2 of Prometheus' native histograms) are both exact,
// and a call pays for one.
const (
	perDoubling = 4
	schema      = 2                 // 2^schema buckets a doubling
	firstPower  = -20 * perDoubling // 2^-20 s, 954 ns: shorter ones are of the zero bucket
	lastPower   = 7 * perDoubling   // 2^7 s, 128 s: longer ones are of one bucket more
	powers      = lastPower - firstPower + 1

	perBlock = 16
	blocks   = 10
	buckets  = perBlock * blocks // with room to spare: 147 are used
)

// roots are the powers of the fourth root of two below two.
var roots = [perDoubling]float64{1, 1.1892071150027210667, math.Sqrt2, 1.6817928305074290861}

// powerOf returns 2^(k/4) seconds, in nanoseconds and cut to a whole one: a
// duration, being whole, exceeds the one if it exceeds the other.
func powerOf(k int) time.Duration {
	whole, quarter := k>>schema, k&(perDoubling-1)
	return time.Duration(math.Ldexp(roots[quarter]*float64(time.Second), whole))
}

// scale says which bucket a duration is in, and where each bucket counts.
type scale struct {
	bounds   [buckets]time.Duration // the longest duration of each bucket
	power    [buckets]uint8         // the bucket of Latencies, powers of them and one above
	standard [buckets]uint8         // the first of durationBounds that is not below it
	first    [cells]uint8           // where the search begins
}

// A cell is a sixteenth of the durations between two powers of two nanoseconds.
const (
	cellBits = 4
	minBits  = 10 // of the shortest duration beyond the zero bucket
	maxBits  = 37 // of the longest below the last bucket
	cells    = (maxBits - minBits + 1) << cellBits
)

// theScale is never written after it has been made.
var theScale = newScale()

func newScale() *scale {
	exponential := make([]time.Duration, powers)
	for i := range exponential {
		exponential[i] = powerOf(firstPower + i)
	}
	all := slices.Concat(durationBounds[:], exponential)
	slices.Sort(all)
	all = slices.Compact(all)
	s := &scale{}
	for i := range s.bounds {
		s.bounds[i] = math.MaxInt64
		if i < len(all) {
			s.bounds[i] = all[i]
		}
		s.power[i] = firstOf(exponential, s.bounds[i])
		s.standard[i] = firstOf(durationBounds[:], s.bounds[i])
	}
	for cell := range s.first {
		n := cell>>cellBits + minBits
		low := time.Duration(1<<cellBits|cell&(1<<cellBits-1)) << (n - 1 - cellBits)
		s.first[cell] = firstOf(s.bounds[:], low)
	}
	return s
}

// firstOf returns the first bound that is not less than d.
func firstOf(bounds []time.Duration, d time.Duration) uint8 {
	i, _ := slices.BinarySearch(bounds, d)
	return uint8(i)
}

// bucket returns the bucket of a duration: the first whose bound is not less.
func (s *scale) bucket(d time.Duration) int {
	switch {
	case d <= 0:
		return 0
	case d < 1<<(minBits-1):
		return 1
	}
	n := bits.Len64(uint64(d))
	if n > maxBits {
		return buckets - 1
	}
	i := int(s.first[(n-minBits)<<cellBits|int(d>>(n-1-cellBits))&(1<<cellBits-1)])
	for d > s.bounds[i] {
		i++
	}
	return i
}
