package flags

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func exit() { runtime.Goexit() }

// theirs is a flag of another maker.
type theirs struct{ text string }

func (v *theirs) String() string {
	if v.text == "panic" {
		panic(v.text)
	}
	return v.text
}
func (v *theirs) Set(s string) error { v.text = s; return nil }

func TestForeignFlags(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := fs.Int("n", 1, "a `number`")
	fs.Var(&theirs{"x"}, "odd", "")
	worse := &theirs{}
	fs.Var(worse, "worse", "")
	fs.Uint64("u", 3, "")
	parseLine(t, fs, "-n=2")
	worse.text = "panic"
	s := NewSet(fs, nil)
	*n = 3 // a list must not read it
	for name, want := range map[string]Info{
		"n":     {Type: "int", Value: "2", Default: "1", Source: "flag", Usage: "a number"},
		"odd":   {Type: "value", Value: "x", Default: "x", Source: "default"},
		"worse": {Type: "value", Value: "its String method panics", Source: "default"},
		"u":     {Type: "uint64", Value: "3", Default: "3", Source: "default"},
	} {
		got := info(t, s, name)
		if got.Type != want.Type || got.Value != want.Value || got.Source != want.Source || got.Usage != want.Usage || got.Dynamic {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		_, err := s.Change(Changes{Values: values(name, "7")})
		wantError(t, err, name+": cannot be changed while the program runs")
	}
}

func TestStatic(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := New("n", 1, "", In(fs), Static())
	parseLine(t, fs, "-n=2")
	_, err := NewSet(fs, nil).Change(Changes{Values: values("n", "3")})
	wantError(t, err, "restart it")
	wantEqual(t, "n", n.Get(), 2)
}

// TestAllOrNone: a change of several flags one of which cannot be changes none.
func TestAllOrNone(t *testing.T) {
	fs, _ := newFlagSet(t)
	n, m := New("n", 1, "", In(fs)), New("m", 1, "", In(fs))
	n.OnChange(func(int, int) { t.Error("n has changed") })
	s := NewSet(fs, nil)
	_, err := s.Change(Changes{Values: values("n", "2", "m", "x", "o", "3"), TTL: time.Millisecond})
	wantError(t, err, `m: "x": not a whole number`, "o: there is no such flag", "ttl: 1ms is not from 1s to 24h0m0s")
	_, err = s.Change(Changes{})
	wantError(t, err, "no flag is named")
	if n.Get() != 1 || m.Get() != 1 || len(s.History()) > 0 {
		t.Error(n.Get(), m.Get(), s.History())
	}
}

// TestTwoNames has a flag under two names, as package flag lets it.
func TestTwoNames(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := New("limit", 1, "", In(fs))
	fs.Var(fs.Lookup("limit").Value, "l", "short for limit")
	s := NewSet(fs, nil)
	_, err := s.Change(Changes{Values: values("limit", "2", "l", "3"), TTL: time.Minute})
	wantError(t, err, "limit: is the same flag as l: name one of them")
	wantEqual(t, "limit", n.Get(), 1)
	change(t, s, Changes{Values: values("l", "4")})
	wantEqual(t, "limit", n.Get(), 4)
	wantEqual(t, "get", fs.Lookup("l").Value.(flag.Getter).Get(), any(4))
}

func TestDryRun(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := New("n", 1, "", In(fs))
	s := NewSet(fs, nil)
	got := change(t, s, Changes{Values: values("n", "2"), DryRun: true, TTL: time.Minute, Who: "ann"})
	if len(got) != 1 || got[0].Old != "1" || got[0].New != "2" || got[0].Who != "ann" || got[0].Reverts.IsZero() {
		t.Errorf("%+v", got)
	}
	if n.Get() != 1 || len(s.History()) > 0 || !info(t, s, "n").Reverts.IsZero() {
		t.Error("something has changed")
	}
}

func TestHistory(t *testing.T) {
	fs, _ := newFlagSet(t)
	New("n", 0, "", In(fs))
	other, _ := newFlagSet(t)
	New("n", 0, "", In(other))
	s, o := NewSet(fs, nil), NewSet(other, nil)
	for i := range 150 {
		change(t, s, Changes{Values: values("n", strconv.Itoa(i)), Who: "ann", Reason: strings.Repeat("x", 1000) + "\n"})
	}
	h := s.History()
	wantEqual(t, "changes", len(h), historyKept)
	if h[0].New != "149" || h[0].Old != "148" || h[99].New != "50" || h[0].Who != "ann" || len([]rune(h[0].Reason)) > maxShown+1 || h[0].Time.IsZero() {
		t.Errorf("%+v", h[0])
	}
	wantEqual(t, "changes of another set", len(o.History()), 0)
	wantEqual(t, "the same flags in another set", len(NewSet(fs, nil).History()), historyKept)
}

// TestTimeToLive: one table of what happens to a flag that begins at 1, and what it
// is at which second.
func TestTimeToLive(t *testing.T) {
	type step struct {
		at    int    // s
		value string // "" for none
		ttl   int
		want  int // after it
	}
	for name, steps := range map[string][]step{
		"back to what it was":                 {{0, "2", 10, 2}, {9, "", 0, 2}, {11, "", 0, 1}},
		"a later one for good stays":          {{0, "2", 10, 2}, {5, "3", 0, 3}, {60, "", 0, 3}},
		"the same value for good stays":       {{0, "2", 10, 2}, {5, "2", 0, 2}, {60, "", 0, 2}},
		"a later shorter one":                 {{0, "2", 100, 2}, {5, "3", 10, 3}, {16, "", 0, 1}, {200, "", 0, 1}},
		"a later longer one":                  {{0, "2", 10, 2}, {5, "3", 100, 3}, {50, "", 0, 3}, {106, "", 0, 1}},
		"three":                               {{0, "2", 10, 2}, {5, "3", 10, 3}, {12, "4", 10, 4}, {23, "", 0, 1}},
		"for good in between is what remains": {{0, "2", 10, 2}, {5, "3", 0, 3}, {6, "4", 10, 4}, {17, "", 0, 3}},
		"back, and once more":                 {{0, "2", 10, 2}, {11, "3", 10, 3}, {22, "", 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs, _ := newFlagSet(t)
				n := New("n", 1, "", In(fs))
				s := NewSet(fs, nil)
				start := time.Now()
				for _, st := range steps {
					time.Sleep(time.Until(start.Add(time.Duration(st.at) * time.Second)))
					if st.value != "" {
						change(t, s, Changes{Values: values("n", st.value), TTL: time.Duration(st.ttl) * time.Second})
					}
					synctest.Wait()
					wantEqual(t, fmt.Sprint("at ", st.at), n.Get(), st.want)
					if i := info(t, s, "n"); i.Reverts.IsZero() != (i.RevertsTo == "") {
						t.Errorf("%+v", i)
					}
				}
				wantEqual(t, "pending", info(t, s, "n").Reverts.IsZero(), true)
			})
		})
	}
}

// TestRevertOfSeveral: what was changed together goes back together, but for what
// was changed since.
func TestRevertOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, _ := newFlagSet(t)
		n, m, o := New("n", 1, "", In(fs)), New("m", 1, "", In(fs)), New("o", 1, "", In(fs))
		var seen []string
		n.OnChange(func(from, to int) { seen = append(seen, fmt.Sprint(from, to, o.Get())) })
		var log logbook
		s := NewSet(fs, log.logger())
		change(t, s, Changes{Values: values("n", "2", "m", "2", "o", "2"), TTL: time.Minute, Who: "ann", Reason: "why"})
		i := info(t, s, "n")
		if i.Reverts != time.Now().Add(time.Minute) || i.RevertsTo != "1" || i.Source != "operator" {
			t.Errorf("%+v", i)
		}
		change(t, s, Changes{Values: values("m", "3")})
		time.Sleep(time.Minute)
		synctest.Wait()
		if n.Get() != 1 || m.Get() != 3 || o.Get() != 1 || !slices.Equal(seen, []string{"1 2 2", "2 1 1"}) {
			t.Error(n.Get(), m.Get(), o.Get(), seen)
		}
		wantEqual(t, "source", info(t, s, "n").Source, "default")
		h := s.History()
		if len(h) != 6 || h[0].Who != RevertedBy || h[0].Name != "o" || h[0].Old != "2" || h[0].New != "1" {
			t.Errorf("%+v", h)
		}
		if strings.Count(log.String(), "parameter reverted") != 2 {
			t.Error(log.String())
		}
	})
}

// TestSettings: those of the program's own stand before flags of the same name, and
// stop going back when the Set is closed; flags do not.
func TestSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, _ := newFlagSet(t)
		fs.String("own", "flag", "")
		n := New("n", 1, "", In(fs))
		var inForce atomic.Value
		parse := func(text string) (func(), error) {
			switch text {
			case "bad":
				return nil, errors.New("is bad")
			case "panic":
				panic(text)
			case "late":
				return func() { panic(text) }, nil
			}
			return func() { inForce.Store(text) }, nil
		}
		restored := 0
		var log logbook
		s := NewSet(fs, log.logger(),
			Setting{Name: "own", Value: "a", Source: "option", Parse: parse, Values: []string{"a", "late"}, Type: "enum"},
			Setting{Name: "other", Value: "a", Parse: parse, Restore: func() { restored++ }},
			Setting{Name: "fixed", Value: "etcd://a:b@c"})
		wantEqual(t, "own", info(t, s, "own").Value, "a")
		wantEqual(t, "source", info(t, s, "own").Source, "option")
		wantEqual(t, "fixed", info(t, s, "fixed").Value, "etcd://REDACTED@c")
		wantEqual(t, "fixed", info(t, s, "fixed").Dynamic, false)
		for _, bad := range []string{"bad", "panic"} {
			_, err := s.Change(Changes{Values: values("own", bad)})
			wantError(t, err, "own: ")
		}
		change(t, s, Changes{Values: values("own", "b", "other", "b"), TTL: time.Minute})
		wantEqual(t, "in force", inForce.Load(), any("b"))
		time.Sleep(time.Minute)
		synctest.Wait()
		wantEqual(t, "in force", inForce.Load(), any("a"))
		wantEqual(t, "restored", restored, 1)
		change(t, s, Changes{Values: values("own", "LATE")})
		wantEqual(t, "own", info(t, s, "own").Value, "late")
		if !strings.Contains(log.String(), "a function of a flag panicked") {
			t.Error(log.String())
		}
		change(t, s, Changes{Values: values("own", "a")})
		change(t, s, Changes{Values: values("own", "b", "n", "2"), TTL: time.Minute})
		s.Close()
		time.Sleep(time.Hour)
		synctest.Wait()
		wantEqual(t, "in force", inForce.Load(), any("b")) // what reverts no more
		wantEqual(t, "n", n.Get(), 1)
	})
}

func TestDynamic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, out := newFlagSet(t)
		raw := fs.Int("v", 1, "verbosity")
		fs.Bool("on", false, "")
		New("n", 1, "", In(fs))
		var v atomic.Int64
		parse := func(text string) (func(), error) {
			n, err := strconv.ParseInt(text, 10, 32)
			return func() { v.Store(n) }, err
		}
		if err := Dynamic(fs, "v", parse); err != nil {
			t.Fatal(err)
		}
		on := func(text string) (func(), error) { return func() {}, nil }
		if err := Dynamic(fs, "on", on); err != nil {
			t.Fatal(err)
		}
		wantError(t, Dynamic(fs, "v", parse), "changeable as it is")
		wantError(t, Dynamic(fs, "n", parse), "changeable as it is")
		wantError(t, Dynamic(fs, "w", parse), "not declared")
		wantError(t, Dynamic(fs, "on", nil), "nil")
		fs.String("name", "ann", "")
		wantError(t, Dynamic(fs, "name", parse), "not valid")
		fs.Func("func", "", func(string) error { return nil })
		wantError(t, Dynamic(fs, "func", parse), `flag func: String() returns "", as flag.Func does: use flag.Var`)
		if err := fs.Parse([]string{"-v=x"}); err == nil {
			t.Error("x was taken")
		}
		parseLine(t, fs, "-v=2", "-on")
		if *raw != 2 || v.Load() != 2 || fs.Lookup("v").Value.(flag.Getter).Get() != 2 {
			t.Error(*raw, v.Load())
		}
		s := NewSet(fs, nil)
		i := info(t, s, "v")
		if !i.Dynamic || i.Type != "int" || i.Value != "2" || i.Default != "1" || i.Source != "flag" {
			t.Errorf("%+v", i)
		}
		_, err := s.Change(Changes{Values: values("v", "y")})
		wantError(t, err, `v: "y": `)
		change(t, s, Changes{Values: values("v", "3"), TTL: time.Second})
		wantEqual(t, "v", v.Load(), 3)
		wantEqual(t, "as package flag sees it", fs.Lookup("v").Value.String(), "3")
		time.Sleep(time.Second)
		synctest.Wait()
		wantEqual(t, "v", v.Load(), 2)
		fs.PrintDefaults()
		if !strings.Contains(out.String(), "-v int\n    \tverbosity (int) (default 1)\n") || !strings.Contains(out.String(), "  -on\n") {
			t.Error(out)
		}
	})
}

// TestConcurrently: writers and readers of everything at once, for the race
// detector. A pair of flags that is always changed together is never seen apart by a
// list.
func TestConcurrently(t *testing.T) {
	fs, _ := newFlagSet(t)
	n, m := New("n", 0, "", In(fs)), New("m", 0, "", In(fs))
	list := New("l", []string{"0"}, "", In(fs))
	var last atomic.Int64
	n.OnChange(func(_, to int) { last.Store(int64(to)) })
	s, o := NewSet(fs, nil), NewSet(fs, nil)
	var parts sync.WaitGroup
	end := time.Now().Add(time.Second)
	for w := range 8 {
		parts.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				v := strconv.Itoa(rand.IntN(1000))
				set := []*Set{s, o}[w%2]
				c := Changes{Values: values("n", v, "m", v, "l", v+",x")}
				switch i % 4 {
				case 1:
					c.TTL = time.Hour
				case 2:
					c.DryRun = true
				case 3:
					c.Values["n"] = "wrong"
				}
				if _, err := set.Change(c); (err != nil) != (i%4 == 3) {
					t.Error(err)
				}
			}
		})
		parts.Go(func() {
			for time.Now().Before(end) {
				if l := list.Get(); len(l) == 2 && l[1] != "x" {
					t.Error(l)
				}
				_, _ = n.Get(), m.Get()
				all := s.List()
				at := func(name string) Info {
					return all[slices.IndexFunc(all, func(i Info) bool { return i.Name == name })]
				}
				if at("n").Value != at("m").Value || !strings.HasPrefix(at("l").Value, at("n").Value) {
					t.Error("seen apart:", at("n").Value, at("m").Value, at("l").Value)
				}
				_ = s.History()
			}
		})
	}
	parts.Wait()
	change(t, s, Changes{Values: values("n", "1000")})
	wantEqual(t, "told last", last.Load(), 1000)
}

func BenchmarkGet(b *testing.B) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	n := New("n", 1, "", In(fs))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if n.Get() != 1 {
				b.Fail()
			}
		}
	})
}
