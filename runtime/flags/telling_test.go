package flags

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowFixture is a flag whose watcher returns when it is let.
type slowFixture struct {
	*Set
	log  logbook
	let  chan bool
	seen []string
}

func newSlowFixture(t *testing.T) *slowFixture {
	t.Helper()
	fs, _ := newFlagSet(t)
	f := &slowFixture{let: make(chan bool)}
	New("slow", 1, "", In(fs)).OnChange(func(_, to int) {
		<-f.let
		f.seen = append(f.seen, fmt.Sprint("slow ", to))
	})
	New("quick", 1, "", In(fs)).OnChange(func(_, to int) { f.seen = append(f.seen, fmt.Sprint("quick ", to)) })
	New("unseen", 1, "", In(fs))
	f.Set = NewSet(fs, f.log.logger())
	return f
}

// changed makes a change for good, and checks for how long and with what warning.
func (f *slowFixture) changed(t *testing.T, name, value string, wait time.Duration, warning string) {
	t.Helper()
	start := time.Now()
	got := change(t, f.Set, Changes{Values: values(name, value)})
	wantEqual(t, name+" took", time.Since(start), wait)
	wantEqual(t, name, got[0].Warning, warning)
	wantEqual(t, name, info(t, f.Set, name).Value, value)
}

// TestWatcherThatDoesNotReturn: the change is made and answered, later ones wait for
// their watchers no longer, and all are told in order when it returns.
func TestWatcherThatDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlowFixture(t)
		const warning = "the function of slow has not returned; those of later changes wait"
		wantEqual(t, "stuck", len(f.Stuck()), 0)
		f.changed(t, "slow", "2", waitMost, warning)
		f.changed(t, "quick", "2", 0, warning)
		f.changed(t, "unseen", "2", 0, "")
		if got := f.Stuck(); !slices.Equal(got, []string{"slow", "quick"}) {
			t.Error(got)
		}
		wantEqual(t, "lines", strings.Count(f.log.String(), `msg="a function of a flag has not returned: those of later changes wait" name=slow duration=5s`), 1)
		wantEqual(t, "seen", len(f.seen), 0)
		close(f.let)
		synctest.Wait()
		f.changed(t, "quick", "3", 0, "")
		if !slices.Equal(f.seen, []string{"slow 2", "quick 2", "quick 3"}) {
			t.Error(f.seen)
		}
		wantEqual(t, "stuck", len(f.Stuck()), 0)
	})
}

// TestSlowRevert: what goes back is logged although its watcher does not return.
func TestSlowRevert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlowFixture(t)
		go func() { f.let <- true }()
		change(t, f.Set, Changes{Values: values("slow", "2"), TTL: time.Minute})
		time.Sleep(time.Minute)
		synctest.Wait()
		wantEqual(t, "slow", info(t, f.Set, "slow").Value, "1")
		if !strings.Contains(f.log.String(), `msg="parameter reverted" name=slow old=2 new=1`) {
			t.Error(f.log.String())
		}
		time.Sleep(waitMost)
		synctest.Wait()
		if !strings.Contains(f.log.String(), "has not returned") || len(f.Stuck()) != 1 {
			t.Error(f.log.String(), f.Stuck())
		}
		close(f.let)
	})
}

// TestShortWaits: a watcher that returns in time is waited for, by two that change at
// the same time, too.
func TestShortWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlowFixture(t)
		go func() {
			time.Sleep(time.Second)
			f.changed(t, "quick", "2", 3*time.Second, "")
		}()
		go func() {
			time.Sleep(4 * time.Second)
			close(f.let)
		}()
		f.changed(t, "slow", "2", 4*time.Second, "")
		synctest.Wait()
		if !slices.Equal(f.seen, []string{"slow 2", "quick 2"}) {
			t.Error(f.seen)
		}
	})
}

// TestChangesByWatchers: they do not wait for themselves, and who set them off waits
// for all and hears of all.
func TestChangesByWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSlowFixture(t)
		fs, _ := newFlagSet(t)
		first := New("first", 1, "", In(fs))
		s := NewSet(fs, nil)
		var inner time.Duration
		first.OnChange(func(_, to int) {
			start := time.Now()
			change(t, f.Set, Changes{Values: values("slow", fmt.Sprint(to))})
			parseLine(t, fs, "-first=3")
			inner = time.Since(start)
			if to == 2 {
				panic("after that")
			}
		})
		go func() {
			time.Sleep(time.Second)
			close(f.let)
		}()
		start := time.Now()
		got := change(t, s, Changes{Values: values("first", "2")})
		wantEqual(t, "the first change took", time.Since(start), time.Second)
		wantEqual(t, "that of the watcher took", inner, 0)
		wantEqual(t, "warning", got[0].Warning, "the function of first panicked: the log has its stack")
		wantEqual(t, "first", first.Get(), 3)
		if !slices.Equal(f.seen, []string{"slow 2", "slow 3"}) {
			t.Error(f.seen)
		}
	})
}

// TestSuperseded: the history says which changes do not go back.
func TestSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, _ := newFlagSet(t)
		New("n", 1, "", In(fs))
		s := NewSet(fs, nil)
		change(t, s, Changes{Values: values("n", "2"), TTL: time.Minute})
		change(t, s, Changes{Values: values("n", "3"), TTL: time.Minute})
		change(t, s, Changes{Values: values("n", "4")})
		change(t, s, Changes{Values: values("n", "5"), TTL: time.Minute})
		time.Sleep(time.Minute)
		synctest.Wait()
		var got []bool
		for _, c := range s.History() {
			got = append(got, c.Superseded)
		}
		if !slices.Equal(got, []bool{false, false, false, true, true}) {
			t.Error(got)
		}
	})
}
