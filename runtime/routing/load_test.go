package routing

import (
	"testing"
	"time"
	"unsafe"
)

func averageOf(now time.Time, calls int, each time.Duration, took time.Duration) (average, time.Time) {
	a := average{}
	for range calls {
		now = now.Add(each)
		a.add(now, took)
	}
	return a, now
}

func TestAverage(t *testing.T) {
	start := time.Unix(1e9, 0)
	within := func(name string, got, want time.Duration) {
		t.Helper()
		if got < want*9/10 || got > want*11/10 {
			t.Errorf("%s: %v, want about %v", name, got, want)
		}
	}
	a, now := averageOf(start, 1000, time.Millisecond, 10*time.Millisecond)
	within("steady", a.value, 10*time.Millisecond)
	a.add(now, time.Second)
	within("one call in many", a.value, 10*time.Millisecond)
	a.atLeast(now, time.Millisecond)
	within("cancelled early", a.value, 10*time.Millisecond)
	for range 5 * most {
		a.add(now, 100*time.Millisecond)
	}
	within("slower at once", a.value, 100*time.Millisecond)
	a.add(now.Add(time.Minute), 10*time.Millisecond)
	within("after a long time", a.value, 10*time.Millisecond)
	a, _ = averageOf(start, 9, time.Millisecond, time.Millisecond)
	first := average{}
	first.add(start, 100*time.Millisecond)
	for range fewest - 1 {
		first.add(start, time.Millisecond)
	}
	if first.value > 3*time.Millisecond {
		t.Errorf("the first call counts for too much: %v", first.value)
	}
	slow, _ := averageOf(start, fewest, time.Millisecond, time.Second)
	within("slow from the beginning", slow.value, 800*time.Millisecond)
}

func TestCompare(t *testing.T) {
	now := time.Unix(1e9, 0)
	with := func(unary, streams int64, latency, ago time.Duration) *workload {
		l := &workload{}
		l.unary.Store(unary)
		l.streams.Store(streams)
		l.quiet.Store(ticks(now))
		if latency > 0 {
			l.set(&average{value: latency, calls: fewest, at: now.Add(-ago)})
		}
		return l
	}
	waiting := func(l *workload, since time.Duration) *workload {
		l.quiet.Store(ticks(now.Add(-since)))
		return l
	}
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		a, b   *workload
		stream bool
		want   int
	}{
		"nothing known":                {with(0, 0, 0, 0), with(0, 0, 0, 0), false, 0},
		"more under way":               {with(3, 0, 0, 0), with(2, 0, 0, 0), false, 1},
		"one is not known":             {with(0, 0, 0, 0), with(0, 0, 100*ms, 0), false, 0},
		"noise":                        {with(0, 0, ms/10, 0), with(0, 0, 4*ms, 0), false, 0},
		"alike":                        {with(0, 0, 50*ms, 0), with(0, 0, 80*ms, 0), false, 0},
		"slower":                       {with(0, 0, 200*ms, 0), with(0, 0, 20*ms, 0), false, 1},
		"slower, but has less to do":   {with(0, 0, 200*ms, 0), with(20, 0, 20*ms, 0), false, -1},
		"was slower long ago":          {with(0, 0, 200*ms, 30*time.Second), with(0, 0, 20*ms, 0), false, -1},
		"several wait, none ends":      {waiting(with(2, 0, 20*ms, 0), time.Second), waiting(with(20, 0, 20*ms, 0), ms), false, 1},
		"several wait, nothing known":  {waiting(with(2, 0, 0, 0), time.Second), with(5, 0, 20*ms, 0), false, 1},
		"one waits":                    {waiting(with(1, 0, 20*ms, 0), time.Second), waiting(with(2, 0, 20*ms, 0), ms), false, -1},
		"has more streams":             {with(0, 9, 0, 0), with(1, 0, 0, 0), false, -1},
		"has more streams, and as one": {with(0, 9, 0, 0), with(1, 0, 0, 0), true, 1},
	} {
		if got := compare(tt.a, tt.b, tt.stream, now); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
		if got := compare(tt.b, tt.a, tt.stream, now); got != -tt.want {
			t.Errorf("%s, the other way round: %d, want %d", name, got, -tt.want)
		}
	}
}

// The first calls say nothing.
func TestFewCalls(t *testing.T) {
	now := time.Unix(1e9, 0)
	a, _ := averageOf(now, fewest-1, 0, time.Second)
	l := &workload{}
	if l.set(&a); l.expected(now) != 0 {
		t.Error("a few calls are enough")
	}
	a.add(now, time.Second)
	if l.set(&a); l.expected(now) < float64(time.Second/2) {
		t.Error("more are not")
	}
}

// setBack returns the time that is read when the clock on the wall was set back.
func setBack(t time.Time, by time.Duration) time.Time {
	const secondsAt = 30 // as package time has it in a time with a monotonic part
	*(*uint64)(unsafe.Pointer(&t)) -= uint64(by/time.Second) << secondsAt
	return t
}

// TestClockIsSetBack: what is measured does not go back with the clock on the wall.
func TestClockIsSetBack(t *testing.T) {
	now := time.Now()
	later := setBack(now.Add(20*time.Millisecond), time.Hour)
	if d := later.Sub(now); d != 20*time.Millisecond || !later.Round(0).Before(now.Round(0)) {
		t.Fatalf("the test is blind: %v later", d)
	}
	l := &workload{}
	l.begin(false, now)
	l.begin(false, now)
	if got := l.expected(later); got < float64(20*time.Millisecond) {
		t.Errorf("two calls wait, which lasts %v", time.Duration(got))
	}
	l.end(false, now)
	l.set(&average{value: 100 * time.Millisecond, calls: fewest, at: now})
	if got := l.expected(setBack(now.Add(time.Minute), time.Hour)); got > float64(2*noise) {
		t.Errorf("a minute later it is still slow: %v", time.Duration(got))
	}
	r := &record{}
	for range enough {
		r.count(now, faulty)
	}
	if got := r.recently(setBack(now.Add(2*window), time.Hour)); got.calls != 0 {
		t.Errorf("%d calls of long ago are recent", got.calls)
	}
}
