package metrics

import (
	"math"
	"sync/atomic"
	"time"
)

// Latency counts durations, in buckets that grow by the fourth root of two, from a
// microsecond to three days; those that are shorter or longer have one bucket each.
// Its zero value is ready for use, and its methods may be called concurrently. It
// takes 104 bytes and 128 for each twelfth of the range in which there are
// durations: at most 1,640, and mostly 360.
type Latency struct {
	blocks [blocks]atomic.Pointer[block]
	sum    atomic.Int64 // nanoseconds
}

type block [perBlock]atomic.Uint64

// Observe counts a duration. It allocates only for the first of a tenth of the
// range.
func (l *Latency) Observe(d time.Duration) {
	b := theScale.bucket(d)
	l.block(b / perBlock)[b%perBlock].Add(1)
	l.sum.Add(int64(d))
}

func (l *Latency) block(i int) *block {
	if b := l.blocks[i].Load(); b != nil {
		return b
	}
	l.blocks[i].CompareAndSwap(nil, &block{})
	return l.blocks[i].Load()
}

// each calls f for each bucket in which there is a duration.
func (l *Latency) each(f func(bucket int, n uint64)) {
	for i := range l.blocks {
		b := l.blocks[i].Load()
		if b == nil {
			continue
		}
		for j := range b {
			if n := b[j].Load(); n > 0 {
				f(i*perBlock+j, n)
			}
		}
	}
}

// AddTo adds what has been counted to s.
func (l *Latency) AddTo(s *Latencies) { l.addTo(s) }

// addTo returns how many it has added.
func (l *Latency) addTo(s *Latencies) (count uint64) {
	l.each(func(bucket int, n uint64) {
		s.counts[min(int(theScale.power[bucket]), len(s.counts)-1)] += n
		count += n
	})
	s.sum += time.Duration(l.sum.Load())
	return count
}

// shown is how many buckets have a quantile of their own: those up to 128 s. Many
// Latencies are kept, and of calls that long it tells enough.
const shown = 7*perDoubling - firstPower + 1

// Latencies is what a [Latency] had counted at some time, or the difference
// between two such times.
type Latencies struct {
	counts [shown + 1]uint64
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
// not exceed, within a tenth, and 0 without any. What is shorter than a
// microsecond counts as one, and what is longer than 128 s as 128 s.
func (s *Latencies) Quantile(q float64) time.Duration {
	n := s.Count()
	if n == 0 {
		return 0
	}
	rank := min(max(1, uint64(math.Ceil(max(0, q)*float64(n)))), n)
	var below uint64
	for i, c := range s.counts {
		if below += c; below >= rank {
			return middleOf(i)
		}
	}
	return middleOf(shown)
}

// middleOf is a duration that stands for those of a bucket: the geometric middle.
func middleOf(bucket int) time.Duration {
	switch bucket {
	case 0:
		return time.Microsecond
	case shown:
		return powerOf(firstPower + shown - 1)
	}
	return time.Duration(float64(powerOf(firstPower+bucket)) / eighth)
}

// eighth is the eighth root of two: from the middle of a bucket to its bound.
const eighth = 1.0905077326652576592
