package metrics

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// exactPower is 2^(k/4) seconds in nanoseconds, by exact arithmetic: the greatest
// whole n with n^4 <= 2^k * 10^36.
func exactPower(k int) time.Duration {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(36), nil)
	if k >= 0 {
		limit.Lsh(limit, uint(k))
	} else {
		limit.Rsh(limit, uint(-k)) // what is cut off is less than a whole
	}
	return time.Duration(new(big.Int).Sqrt(new(big.Int).Sqrt(limit)).Int64())
}

func TestPowersAreExact(t *testing.T) {
	for k := firstPower; k <= lastPower; k++ {
		if got, want := powerOf(k), exactPower(k); got != want {
			t.Errorf("2^(%d/4) s = %d ns, want %d", k, got, want)
		}
	}
}

// slowBucket is the first of the bounds that is not less than d, by looking at one
// after the other.
func slowBucket(d time.Duration, bounds []time.Duration) int {
	for i, bound := range bounds {
		if d <= bound {
			return i
		}
	}
	return len(bounds)
}

// edges are the durations at which a bucket may go wrong.
func edges() []time.Duration {
	at := []time.Duration{0, 1, time.Microsecond, time.Hour, math.MaxInt64 - 1, math.MinInt64 + 1}
	at = append(at, durationBounds[:]...)
	for k := firstPower - perDoubling; k <= lastPower+perDoubling; k++ {
		at = append(at, exactPower(k))
	}
	for n := range 63 {
		for sixteenth := range int64(16) {
			at = append(at, time.Duration(1<<n+sixteenth<<n/16))
		}
	}
	var all []time.Duration
	for _, d := range at {
		all = append(all, d-1, d, d+1)
	}
	return all
}

func TestBuckets(t *testing.T) {
	all := edges()
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		all = append(all, time.Duration(math.Exp2(random.Float64()*40)))
	}
	var exact []time.Duration
	for k := firstPower; k <= lastPower; k++ {
		exact = append(exact, exactPower(k))
	}
	for _, d := range all {
		b := theScale.bucket(d)
		if got, want := int(theScale.power[b]), slowBucket(d, exact); got != want {
			t.Errorf("%d ns is in exponential bucket %d, want %d", d, got, want)
		}
		if got, want := int(theScale.standard[b]), slowBucket(d, durationBounds[:]); got != want {
			t.Errorf("%d ns is in standard bucket %d, want %d", d, got, want)
		}
	}
}

// By logarithm, as another would compute it: the same but at the bounds.
func TestBucketsByLogarithm(t *testing.T) {
	for d := 954 * time.Nanosecond; d < 128*time.Second; d += d/97 + 1 {
		exact := math.Log2(d.Seconds()) * perDoubling
		if math.Abs(exact-math.Round(exact)) < 1e-9 {
			continue
		}
		got := int(theScale.power[theScale.bucket(d)]) + firstPower
		if want := int(math.Ceil(exact)); got != want {
			t.Fatalf("%v is in bucket %d, want %d", d, got, want)
		}
	}
}

func TestEveryBucketHasRoom(t *testing.T) {
	if b := theScale.bounds[buckets-1]; b != math.MaxInt64 {
		t.Errorf("the last bucket ends at %v", b)
	}
	if last := theScale.bounds[buckets-2]; theScale.bucket(math.MaxInt64) != buckets-1 && last != math.MaxInt64 {
		t.Errorf("durations beyond %v have no bucket", last)
	}
}

func TestQuantile(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var l Latency
	var truth []time.Duration
	for range 10_000 {
		d := time.Duration(float64(time.Millisecond) * math.Exp(random.NormFloat64()*2))
		d = max(d, 2*time.Microsecond)
		truth = append(truth, d)
		l.Observe(d)
	}
	slices.Sort(truth)
	var s Latencies
	l.AddTo(&s)
	for _, q := range []float64{0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
		want := truth[max(0, int(math.Ceil(q*10_000))-1)]
		if got := s.Quantile(q); math.Abs(float64(got-want)) > 0.1*float64(want) {
			t.Errorf("quantile %v = %v, want about %v", q, got, want)
		}
	}
}

func TestQuantileAtTheEnds(t *testing.T) {
	cases := []struct {
		name string
		of   []time.Duration
		q    float64
		want time.Duration
	}{
		{"nothing", nil, 0.5, 0},
		{"shorter than all buckets", []time.Duration{1}, 0.5, time.Microsecond},
		{"no time at all", []time.Duration{0}, 0.99, time.Microsecond},
		{"longer than all buckets", []time.Duration{time.Hour}, 0.5, 128 * time.Second},
		{"less than none", []time.Duration{1, time.Hour}, -1, time.Microsecond},
		{"more than all", []time.Duration{1, time.Hour}, 2, 128 * time.Second},
		{"the half of two", []time.Duration{1, time.Hour}, 0.5, time.Microsecond},
		{"more than the half of two", []time.Duration{1, time.Hour}, 0.51, 128 * time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := latenciesOf(c.of...)
			if got := s.Quantile(c.q); got != c.want {
				t.Errorf("quantile %v = %v, want %v", c.q, got, c.want)
			}
		})
	}
}

func latenciesOf(all ...time.Duration) (s Latencies) {
	var l Latency
	for _, d := range all {
		l.Observe(d)
	}
	l.AddTo(&s)
	return s
}

func TestDifference(t *testing.T) {
	var l Latency
	l.Observe(time.Second)
	var before, after Latencies
	l.AddTo(&before)
	l.Observe(time.Millisecond)
	l.Observe(3 * time.Millisecond)
	l.AddTo(&after)
	after.Sub(&before)
	if n, avg := after.Count(), after.Average(); n != 2 || avg != 2*time.Millisecond {
		t.Errorf("%d durations of %v on average, want 2 of 2ms", n, avg)
	}
	if p := after.Quantile(1); p > 4*time.Millisecond {
		t.Errorf("the earlier second is still there: %v", p)
	}
	after.Add(&before)
	if whole := latenciesOf(time.Second, time.Millisecond, 3*time.Millisecond); after != whole {
		t.Error("the difference and the earlier are not the whole")
	}
	if none := (Latencies{}); none.Average() != 0 || none.Count() != 0 {
		t.Error("nothing has an average")
	}
}

func TestConcurrentDurations(t *testing.T) {
	var l Latency
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for d := time.Duration(1); d < 200*time.Second; d *= 2 {
				l.Observe(d)
			}
		})
	}
	wg.Wait()
	var s Latencies
	l.AddTo(&s)
	if n := s.Count(); n != 8*38 {
		t.Errorf("%d durations, want %d", n, 8*38)
	}
}

// The comments on Latency and maxParts promise so much memory and no more.
func TestMemoryOfLatency(t *testing.T) {
	if n := unsafe.Sizeof(Latency{}); n != 104 {
		t.Errorf("a Latency takes %d bytes, want 104", n)
	}
	if n := unsafe.Sizeof(histogram{}); n != 128 {
		t.Errorf("a histogram takes %d bytes, want 128", n)
	}
	if n := unsafe.Sizeof(part{}); n != 192 {
		t.Errorf("a part takes %d bytes, want 192", n)
	}
	if n := unsafe.Sizeof(block{}); n != 128 {
		t.Errorf("a block takes %d bytes, want 128", n)
	}
	all := edges()
	if n := testing.AllocsPerRun(1, func() {
		var l Latency
		for _, d := range all {
			l.Observe(d)
		}
	}); n > blocks+1 {
		t.Errorf("%v allocations, want at most one a block", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var l Latency
	d := time.Microsecond
	for b.Loop() {
		l.Observe(d)
		if d += d / 3; d > time.Minute {
			d = time.Microsecond
		}
	}
}

func BenchmarkObserveOne(b *testing.B) {
	var l Latency
	for b.Loop() {
		l.Observe(350 * time.Microsecond)
	}
}

// The tables are made in each start of a program.
func BenchmarkNewScale(b *testing.B) {
	for b.Loop() {
		_ = newScale()
	}
}

func BenchmarkBucket(b *testing.B) {
	d, n := time.Microsecond, 0
	for b.Loop() {
		n += theScale.bucket(d)
		if d += d / 3; d > time.Minute {
			d = time.Microsecond
		}
	}
	_ = n
}
