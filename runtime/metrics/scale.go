package metrics

import (
	"math"
	"math/bits"
	"time"
)

// A duration is counted once, in a bucket whose bounds are both those of gRFC A66
// and powers of the fourth root of two of a second. So the classic histogram and
// the exponential one (schema 2 of Prometheus' native histograms) are both exact, but
// for calls of more than three days in the latter, and a call pays for one.
const (
	perDoubling = 4
	schema      = 2                 // 2^schema buckets a doubling
	firstPower  = -20 * perDoubling // 2^-20 s, 954 ns: shorter ones are of the zero bucket
	lastPower   = 18 * perDoubling  // 2^18 s, three days: longer ones are of one bucket more
	powers      = lastPower - firstPower + 1

	perBlock = 16
	blocks   = 12
	buckets  = perBlock * blocks // one to spare
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
	maxBits  = 48 // of the longest below the last bucket
	cells    = (maxBits - minBits + 1) << cellBits
)

// theScale is never written after it has been made.
var theScale = newScale()

// newScale goes along both kinds of bounds at once: it runs whenever a program
// starts.
func newScale() *scale {
	s := &scale{}
	power, standard := 0, 0 // the first bounds that are not below the bucket's
	for i := range s.bounds {
		s.power[i], s.standard[i] = uint8(power), uint8(standard)
		nextPower, nextStandard := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
		if power < powers {
			nextPower = powerOf(firstPower + power)
		}
		if standard < len(durationBounds) {
			nextStandard = durationBounds[standard]
		}
		bound := min(nextPower, nextStandard)
		s.bounds[i] = bound
		if bound == nextPower && power < powers {
			power++
		}
		if bound == nextStandard && standard < len(durationBounds) {
			standard++
		}
	}
	bucket := 0
	for cell := range s.first {
		n := cell>>cellBits + minBits
		low := time.Duration(1<<cellBits|cell&(1<<cellBits-1)) << (n - 1 - cellBits)
		for s.bounds[bucket] < low {
			bucket++
		}
		s.first[cell] = uint8(bucket)
	}
	return s
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
