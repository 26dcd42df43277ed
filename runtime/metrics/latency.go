package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Durations are counted in buckets whose bounds grow by the fourth root of two,
// from 1 µs to 2^27 µs (134 s). A quantile is within a tenth of the truth. The
// bounds are powers of two of a microsecond, not of a second.
const (
	perDoubling = 4
	doublings   = 27
	latencies   = perDoubling*doublings + 2 // and those below and above
)

// Latency counts durations. Its zero value is ready for use, and its methods may
// be called concurrently.
type Latency struct {
	counts [latencies]atomic.Uint64
	sum    atomic.Int64
}

// Observe counts a duration.
func (l *Latency) Observe(d time.Duration) {
	l.counts[latencyBucket(d)].Add(1)
	l.sum.Add(int64(d))
}

// AddTo adds what has been counted to s.
func (l *Latency) AddTo(s *Latencies) {
	for i := range l.counts {
		s.counts[i] += l.counts[i].Load()
	}
	s.sum += time.Duration(l.sum.Load())
}

// Latencies is what a [Latency] had counted at some time, or the difference
// between two such times.
type Latencies struct {
	counts [latencies]uint64
	sum    time.Duration
}

// Sub takes away what had been counted earlier.
func (s *Latencies) Sub(earlier *Latencies) {
	for i := range s.counts {
		s.counts[i] -= earlier.counts[i]
	}
	s.sum -= earlier.sum
}

// Add adds what o has counted.
func (s *Latencies) Add(o *Latencies) {
	for i := range s.counts {
		s.counts[i] += o.counts[i]
	}
	s.sum += o.sum
}

// Count returns how many durations there are.
func (s *Latencies) Count() (n uint64) {
	for _, c := range s.counts {
		n += c
	}
	return n
}

// Average returns the average duration, 0 without any.
func (s *Latencies) Average() time.Duration {
	n := s.Count()
	if n == 0 {
		return 0
	}
	return s.sum / time.Duration(n)
}

// Quantile returns the duration that a share q, from 0 to 1, of the durations does
// not exceed, within a tenth, and 0 without any.
func (s *Latencies) Quantile(q float64) time.Duration {
	n := s.Count()
	if n == 0 {
		return 0
	}
	rank := max(1, uint64(q*float64(n)+0.5))
	var below uint64
	for i, c := range s.counts {
		if below += c; below >= rank {
			return middleOf(i)
		}
	}
	return middleOf(latencies - 1)
}

// latencyBucket returns the bucket of a duration: the doubling it is in, by its
// highest bit, and the quarter of that by comparison with the roots.
func latencyBucket(d time.Duration) int {
	if d <= time.Microsecond {
		return 0
	}
	n := uint64(d-1) / 1000 // whole microseconds below it, at least 0
	if n == 0 {
		return quarterOf(uint64(d), 1000)
	}
	top := bits.Len64(n) - 1
	if top >= doublings {
		return latencies - 1
	}
	return perDoubling*top + quarterOf(uint64(d), 1000<<top)
}

// quarterOf returns which quarter, from 1 to 4, of the doubling that begins at low
// d is in.
func quarterOf(d, low uint64) int {
	q := 1
	for _, root := range roots {
		if d > low*root>>20 {
			q++
		}
	}
	return q
}

// roots are the powers of the fourth root of two, in parts of 2^20.
var roots = [perDoubling - 1]uint64{1246974, 1482910, 1763488}

// middleOf is a duration that stands for those of a bucket: the geometric middle.
func middleOf(bucket int) time.Duration {
	switch bucket {
	case 0:
		return time.Microsecond
	case latencies - 1:
		return time.Microsecond << doublings
	}
	low := uint64(time.Microsecond) << ((bucket - 1) / perDoubling)
	// The eighth roots, of 2^20: the middles of the quarters.
	middles := [perDoubling]uint64{1143480, 1359835, 1617125, 1923097}
	return time.Duration(low * middles[(bucket-1)%perDoubling] >> 20)
}
