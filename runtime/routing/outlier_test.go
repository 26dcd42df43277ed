package routing

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// story plays calls to one instance beside others: "." is one that is fine, "f" a
// faulty one, "b" a broken one, "l" a late one, "?" one that says nothing, "+" a second that passes.
// It returns when the instance was ejected: the number of the call, 0 for never.
func story(calls string, others rate) (ejected int, r *record) {
	now := time.Unix(1e9, 0)
	r = &record{}
	n := 0
	for _, c := range calls {
		o := unknown
		switch c {
		case '+':
			now = now.Add(time.Second)
			continue
		case '.':
			o = fine
		case 'f':
			o = faulty
		case 'b':
			o = broken
		case 'l':
			o = late
		}
		n++
		if o != unknown {
			r.count(now, o)
		}
		if r.bad(now, others, tally{remembered, 0}) {
			return n, r
		}
	}
	return 0, r
}

func TestEjectionRules(t *testing.T) {
	good := rate{1000, 0}
	many := strings.Repeat
	for name, tt := range map[string]struct {
		calls  string
		others rate
		want   int
	}{
		"all fine":                       {many(".", 100), good, 0},
		"five broken in a row":           {"bbbbb", good, 5},
		"five broken, others unknown":    {"bbbbb", rate{}, 5},
		"five late in a row":             {"lllll", good, 5},
		"late and broken in a row":       {"blblb", good, 5},
		"one fine in between the late":   {"llll.llll", good, 0},
		"one fine in between":            {"bbbb.bbbb", good, 0},
		"cancelled in between":           {"bbbb??b", good, 7},
		"faulty is no run":               {many("f", 19), good, 0},
		"faulty is a rate":               {many("f", 20), good, 20},
		"a fifth of many":                {many("....f", 4), good, 20},
		"a tenth of many":                {many(".........f", 10), good, 0},
		"others are as bad":              {many(".f", 50), rate{1000, 450}, 0},
		"others are better, not by far":  {many(".f", 50), rate{1000, 200}, 0},
		"others are not known":           {many(".f", 50), rate{19, 0}, 0},
		"too slowly to say":              {many(".f++", 50), good, 0},
		"what is old does not count":     {many("f", 19) + many("+", 11) + many(".", 15), good, 0},
		"what is not so old does count":  {many("f", 19) + "+++" + many(".", 15), good, 20},
		"nothing is known of any of one": {many("?", 100), good, 0},
	} {
		if got, _ := story(tt.calls, tt.others); got != tt.want {
			t.Errorf("%s: ejected at call %d, want %d", name, got, tt.want)
		}
	}
}

func TestEjectionGrows(t *testing.T) {
	now, r := time.Unix(1e9, 0), &record{}
	for n, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		if n == 0 {
			r.eject(now)
		} else {
			if !r.admit(now, false) {
				t.Fatalf("%d: no trial", n)
			}
			r.tried(now, broken)
		}
		if d := r.until.Sub(now); d != want*time.Second {
			t.Errorf("ejection %d is for %v, want %v s", n, d, want)
		}
		if r.admit(r.until.Add(-1), false) {
			t.Errorf("%d: a call is let through before the end", n)
		}
		now = r.until
	}
}

func TestTrial(t *testing.T) {
	now, r := time.Unix(1e9, 0), &record{}
	now = now.Add(r.eject(now))
	for n := range trials {
		if !r.admit(now, false) || r.admit(now, false) {
			t.Fatal("want one call at a time")
		}
		if back := r.tried(now, fine); back != (n == trials-1) {
			t.Errorf("back after %d: %v", n+1, back)
		}
	}
	if r.out() || r.run != 0 || r.recently(now).calls != 0 {
		t.Errorf("it is back with %+v", r)
	}
	if d := r.eject(now.Add(forgetEjection)); d != 2*firstEjection {
		t.Errorf("again soon: %v", d)
	}
	r.giveBack(now)
	if d := r.eject(now.Add(forgetEjection + 1)); d != firstEjection {
		t.Errorf("again much later: %v", d)
	}
}

// A call that does not end does not keep the instance on trial for ever, and a
// stream that goes on is fine.
func TestTrialGoesOn(t *testing.T) {
	now, r := time.Unix(1e9, 0), &record{}
	now = now.Add(r.eject(now))
	for n := range trials {
		if !r.admit(now, true) {
			t.Fatalf("%d: no trial", n)
		}
		if r.admit(now.Add(trialPatience-1), true) {
			t.Errorf("%d: a second one at once", n)
		}
		now = now.Add(trialPatience)
	}
	if !r.admit(now, true) || r.out() {
		t.Error("it is not back although its streams go on")
	}
	r = &record{}
	now = now.Add(r.eject(now))
	for range 10 {
		if !r.admit(now, false) || !r.out() {
			t.Error("calls that never end bring it back, or keep others away")
		}
		now = now.Add(trialPatience)
	}
}

// TestNeverTooMany: never more than half are out, whoever fails and whoever goes.
func TestNeverTooMany(t *testing.T) {
	now := time.Unix(1e9, 0)
	for connected, want := range []int{0, 0, 1, 1, 2, 2, 3} {
		w := &ward{roster: newRoster()}
		members := make([]*member, connected)
		for n := range members {
			members[n] = &member{}
		}
		w.connected(members, now)
		for range maxRun {
			for _, m := range members {
				w.done(m, now, result{outcome: broken, counts: true})
			}
		}
		if got := w.outLocked(); got != want {
			t.Errorf("%d of %d are out, want %d", got, connected, want)
		}
		for left := connected; left > 0; left-- {
			w.connected(members[:left], now)
			if got := w.outLocked(); got > left/2 {
				t.Errorf("%d of the %d that are left are out", got, left)
			}
		}
	}
}

// TestWorseOneIsOut: one that was ejected for little comes back for one that is much
// worse, and one that fails its trials does not.
func TestWorseOneIsOut(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := &ward{roster: newRoster()}
	a, b, c := &member{}, &member{}, &member{}
	w.connected([]*member{a, b, c}, now)
	do := func(m *member, n int, o outcome) {
		for range n {
			w.done(m, now, result{outcome: o, counts: true})
		}
	}
	do(a, 100, fine)
	do(c, 100, fine)
	do(a, maxRun, broken) // a pause
	if !a.out.Load() {
		t.Fatal("it is not ejected")
	}
	do(b, enough-1, broken)
	if !a.out.Load() || b.out.Load() {
		t.Error("a few calls are enough to say which is worse")
	}
	do(b, 1, broken)
	if a.out.Load() || !b.out.Load() || c.out.Load() {
		t.Fatal("not the worse one is out")
	}
	now = b.record.until
	w.admit(b, now, false)
	w.done(b, now, result{outcome: broken, trial: true})
	do(c, 100, broken)
	if !b.out.Load() || c.out.Load() {
		t.Error("one that fails its trials is back")
	}
}

// What began before an ejection says nothing about the trial.
func TestLateResults(t *testing.T) {
	now := time.Unix(1e9, 0)
	w := &ward{roster: newRoster()}
	a, b := &member{}, &member{}
	w.connected([]*member{a, b}, now)
	for range 100 {
		w.done(a, now, result{outcome: broken})
	}
	if !a.out.Load() || a.record.ejections != 1 {
		t.Fatalf("%+v", a.record)
	}
	now = a.record.until
	for range 100 {
		w.done(a, now, result{outcome: fine})
	}
	if !a.out.Load() {
		t.Error("old calls brought it back")
	}
	if !w.admit(a, now, false) {
		t.Fatal("no trial")
	}
	w.done(a, now, result{outcome: unknown, trial: true})
	if !w.admit(a, now, false) {
		t.Error("a call that was cancelled keeps others away")
	}
}

// TestStoppingIsNotEjected: an instance that ends its streams because it stops goes
// by itself. One that is READY and fails in the same way is ejected.
func TestStoppingIsNotEjected(t *testing.T) {
	for health, want := range map[registry.Health]bool{registry.Stopping: false, registry.Ready: true} {
		a, b := &member{}, &member{}
		a.instance.Health = health
		w := &ward{roster: newRoster(), members: []*member{a, b}}
		now := time.Unix(1e9, 0)
		for range 2 * maxRun {
			w.done(a, now, result{outcome: broken, stream: true, counts: true})
		}
		if got := a.out.Load(); got != want {
			t.Errorf("%s: ejected: %v", health, got)
		}
	}
}

// TestWardAtOnce: calls that end, trials and connections that come and go, all at
// once; never more are out than may be.
func TestWardAtOnce(t *testing.T) {
	w := &ward{roster: newRoster()}
	members := make([]*member, 6)
	for n := range members {
		members[n] = &member{}
	}
	var clock atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5000 {
				now := time.Unix(1e9, clock.Add(int64(10*time.Millisecond)))
				m := members[rand.IntN(len(members))]
				trial := m.out.Load() && w.admit(m, now, false)
				w.done(m, now, result{outcome: outcome(rand.IntN(5)), trial: trial, counts: true})
			}
		})
	}
	var done atomic.Bool
	go func() { wg.Wait(); done.Store(true) }()
	for k := 0; !done.Load(); k++ {
		connected := members[:rand.IntN(len(members)+1)]
		now := time.Unix(1e9, clock.Load())
		w.connected(connected, now)
		w.mu.Lock()
		if out := w.outLocked(); out > allowed(len(connected)) {
			t.Errorf("%d: %d of %d are out", k, out, len(connected))
		}
		w.mu.Unlock()
	}
	for n, m := range members {
		if m.out.Load() != m.record.out() {
			t.Errorf("whether %d is out is not clear", n)
		}
	}
	if w.roster.ejections.Load() == 0 {
		t.Error("none was ejected: the test is blind")
	}
}
