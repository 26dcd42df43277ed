package routing

import (
	"math/rand/v2"
	"testing"
	"time"
)

// plays has calls to three instances end, of which a part is too long for its
// deadline anywhere, and those to the first one too if it is a black hole. It returns
// after how many calls an instance was ejected, and which; 0 for none.
func plays(calls int, each time.Duration, tooLong float64, hole bool) (n, which int) {
	w := &ward{roster: newRoster()}
	members := []*member{{}, {}, {}}
	now, luck := time.Now(), rand.New(rand.NewPCG(1, 2))
	w.connected(members, now)
	for n := range calls {
		now = now.Add(each)
		k, o := luck.IntN(3), fine
		if luck.Float64() < tooLong || hole && k == 0 {
			o = late
		}
		w.done(members[k], now, result{outcome: o, counts: true})
		if members[k].out.Load() {
			return n + 1, k
		}
	}
	return 0, -1
}

// TestTooShortDeadlines: where calls are late at all instances none is ejected, and a
// black hole among them is.
func TestTooShortDeadlines(t *testing.T) {
	for _, each := range []time.Duration{time.Millisecond, time.Second, time.Minute} {
		for _, tooLong := range []float64{0.01, 0.3, 0.5, 0.9, 1} {
			if n, which := plays(20_000, each, tooLong, false); n != 0 {
				t.Errorf("%.0f %% are late, each %v: %d is ejected at call %d", 100*tooLong, each, which, n)
			}
		}
		for tooLong, within := range map[float64]int{0: 30, 0.01: 60, 0.1: 100, 0.5: 500} {
			n, which := plays(20_000, each, tooLong, true)
			if t.Logf("with %.0f %% late: %d calls", 100*tooLong, n); which != 0 || n > within {
				t.Errorf("%.0f %% are late, each %v: %d is ejected at call %d, want the black hole within %d",
					100*tooLong, each, which, n, within)
			}
		}
	}
}

// TestLateTrial: a trial that is late says little where calls to the others are, and
// is a failure where they are not.
func TestLateTrial(t *testing.T) {
	for _, others := range []outcome{fine, late} {
		now := time.Now()
		w := &ward{roster: newRoster()}
		a, b := &member{}, &member{}
		w.connected([]*member{a, b}, now)
		for range maxRun {
			w.done(a, now, result{outcome: broken})
		}
		for range 20 {
			w.done(b, now, result{outcome: others})
		}
		for range 3 {
			now = a.record.until
			if !a.out.Load() || !w.admit(a, now, false) {
				t.Fatal("no trial")
			}
			w.done(a, now, result{outcome: late, trial: true})
		}
		for range trials {
			now = a.record.until.Add(time.Nanosecond)
			w.admit(a, now, false)
			w.done(a, now, result{outcome: fine, trial: true})
		}
		if want := map[outcome]int{fine: 4, late: 1}[others]; a.out.Load() || a.record.ejections != want {
			t.Errorf("out %v, %d ejections, want %d", a.out.Load(), a.record.ejections, want)
		}
	}
}
