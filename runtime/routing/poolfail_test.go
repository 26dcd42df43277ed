package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// TestPoolRefused: who refuses is left at once, and tried ever more seldom.
func TestPoolRefused(t *testing.T) {
	t.Parallel()
	list := []registry.Instance{tcp("a"), tcp("b"), tcp("c"), tcp("d")}
	inBubble(t, PoolConfig{}, list, func(t *testing.T, b bubble) {
		b.network.set("refuses", "a:1", "b:1")
		for range 1000 {
			if id, took := b.dialled(t); id == "a" || id == "b" || took > 0 {
				t.Fatalf("%s after %v", id, took)
			}
		}
		if n := b.network.taken(); n["a:1"] != 1 || n["b:1"] != 1 {
			t.Errorf("they were tried %d and %d times, want once", n["a:1"], n["b:1"])
		}
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			b.dialled(t)
		}
		if n := b.network.taken(); n["a:1"] < 3 || n["a:1"] > 7 || n["b:1"] < 3 || n["b:1"] > 7 {
			t.Errorf("in a minute they were tried %d and %d times", n["a:1"], n["b:1"])
		}
		b.network.set("", "a:1", "b:1")
		time.Sleep(maxEjection)
		if got := names(b.share(t)); got != "a b c d" {
			t.Errorf("only %s are back", got)
		}
		for _, i := range b.Status().Instances {
			if !i.OutUntil.IsZero() {
				t.Errorf("%+v works", i)
			}
		}
	})
}

// TestPoolBlackHole: who does not answer holds up a connection for half a second, and
// others not at all.
func TestPoolBlackHole(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{}, []registry.Instance{tcp("a"), tcp("b")}, func(t *testing.T, b bubble) {
		b.network.set("hole", "a:1")
		var slow int
		for range 300 {
			id, took := b.dialled(t)
			if id != "b" || took > headStart {
				t.Fatalf("%s after %v", id, took)
			}
			if took > 0 {
				slow++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := b.network.taken()["a:1"]; n == 0 || slow != n || slow > 6 {
			t.Errorf("%d were held up in 30 s, by %d attempts", slow, n)
		}
	})
}

// TestPoolSlow: who needs a while is not given up, and what was cut because another
// one was a little faster says nothing.
func TestPoolSlow(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{}, []registry.Instance{tcp("a"), tcp("b")}, func(t *testing.T, b bubble) {
		b.network.set("slow", "a:1", "b:1")
		if got := names(b.share(t)); got != "a b" {
			t.Errorf("only %s", got)
		}
		if n := b.network.taken(); n["a:1"]+n["b:1"] != 100 {
			t.Errorf("%v attempts for 100 connections", n)
		}
		b.network.set("too slow", "a:1", "b:1")
		conn, i, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		time.Sleep(time.Second)
		for _, s := range b.Status().Instances {
			if s.Failures != 0 || (s.InUse > 0) != (s.ID == i.ID) {
				t.Errorf("%+v: a connection that came too late is open", s)
			}
		}
		if n := b.network.taken(); n["a:1"] != 1 || n["b:1"] != 1 {
			t.Errorf("attempts: %v", n)
		}
	})
}

// TestPoolNobodyAnswers: one attempt is given up after ConnectTimeout, and who calls
// is told of all.
func TestPoolNobodyAnswers(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]time.Duration{"refuses": 0, "hole": 2*headStart + DefaultConnectTimeout} {
		t.Run(how, func(t *testing.T) {
			list := []registry.Instance{tcp("a"), tcp("b"), tcp("c")}
			inBubble(t, PoolConfig{MaxWait: -1}, list, func(t *testing.T, b bubble) {
				b.network.set(how, "a:1", "b:1", "c:1")
				start := time.Now()
				_, _, err := b.Dial(t.Context())
				if took := time.Since(start); took != want {
					t.Errorf("it took %v, want %v", took, want)
				}
				wantNone(t, err, service, "registry of the test lists 3, 3 READY", "last error")
				if how == "refuses" && !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%v does not say what the last error was", err)
				}
				for addr, n := range b.network.taken() {
					if n != 1 {
						t.Errorf("%s was tried %d times", addr, n)
					}
				}
				if s := b.Status(); s.LastError == "" || s.LastErrorAt.IsZero() {
					t.Errorf("the status does not say so: %+v", s)
				}
			})
		})
	}
}

func wantNone(t *testing.T, err error, texts ...string) {
	t.Helper()
	var none *NoInstanceError
	if !errors.As(err, &none) {
		t.Fatalf("got %v, want that there is no instance", err)
	}
	if none.Service != service || none.Source == "" || none.Note == "" {
		t.Errorf("%+v does not say all", none)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

// TestPoolEachOnce: who does not wait tries none again while another one is being tried.
func TestPoolEachOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{MaxWait: -1}, []registry.Instance{tcp("a"), tcp("b")}, func(t *testing.T, b bubble) {
		b.network.set("refuses", "a:1")
		b.network.set("hole", "b:1")
		_, _, err := b.Dial(t.Context())
		wantNone(t, err)
		if n := b.network.taken(); n["a:1"] != 1 || n["b:1"] != 1 {
			t.Errorf("attempts: %v", n)
		}
	})
}

// TestPoolManyHoles: of a great many that do not answer not all are tried.
func TestPoolManyHoles(t *testing.T) {
	t.Parallel()
	var list []registry.Instance
	for n := range 200 {
		list = append(list, tcp(fmt.Sprint("a", n)))
	}
	inBubble(t, PoolConfig{MaxWait: -1}, list, func(t *testing.T, b bubble) {
		for _, i := range list {
			b.network.set("hole", i.Addr)
		}
		start := time.Now()
		_, _, err := b.Dial(t.Context())
		wantNone(t, err)
		if took := time.Since(start); took > 2*DefaultConnectTimeout {
			t.Errorf("it took %v", took)
		}
		if n := len(b.network.taken()); n > 2*lanes {
			t.Errorf("%d were tried", n)
		}
	})
}

// TestPoolStopping: as soon as another one is READY, one that stops gets no new
// connection, and those that are open stay.
func TestPoolStopping(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{}, []registry.Instance{tcp("a", "health=STOPPING")}, func(t *testing.T, b bubble) {
		if got := names(b.share(t)); got != "a" {
			t.Fatalf("%s while there is no other", got)
		}
		open, _, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		b.say(nil, tcp("a", "health=STOPPING"), tcp("b"))
		if got := names(b.share(t)); got != "b" {
			t.Errorf("%s are chosen", got)
		}
		if got := b.Status().Instances[0]; got.ID != "a" || got.InUse != 1 {
			t.Errorf("what is open is not known any more: %+v", got)
		}
		b.network.set("refuses", "b:1") // it is listed, but of no use
		if got := names(b.share(t)); got != "a" {
			t.Errorf("%s although the one that is ready refuses", got)
		}
	})
}

// TestPoolZoneFails: where those of the own zone fail, others are chosen.
func TestPoolZoneFails(t *testing.T) {
	t.Parallel()
	list := []registry.Instance{tcp("a", "zone=a"), tcp("a2", "zone=a"), tcp("b", "zone=b"), tcp("c", "zone=c")}
	inBubble(t, PoolConfig{Zone: "a"}, list, func(t *testing.T, b bubble) {
		b.network.set("refuses", "a:1")
		b.share(t)
		if got := names(b.share(t)); got != "a2" {
			t.Errorf("%s are chosen, want the other one of the zone", got)
		}
		b.say(nil, list[0], list[2], list[3])
		b.network.set("hole", "a:1")
		b.dialled(t)
		for range 100 {
			if id, took := b.dialled(t); id == "a" || took > 0 {
				t.Fatalf("%s after %v", id, took)
			}
		}
	})
}

// TestPoolNeverTooMany: never more than half of the instances are left out, though all
// but one fail, and never the last, though all do.
func TestPoolNeverTooMany(t *testing.T) {
	t.Parallel()
	for n, most := range map[int]int{1: 0, 2: 1, 3: 1, 4: 2, 5: 2, 6: 3} {
		var list []registry.Instance
		for k := range n {
			list = append(list, tcp(fmt.Sprint("a", k)))
		}
		inBubble(t, PoolConfig{MaxWait: -1}, list, func(t *testing.T, b bubble) {
			for k := range n {
				left := len(b.picked(t))
				if want := max(n-most, n-k); left != want {
					t.Errorf("%d of %d fail: %d are left, want %d", k, n, left, want)
				}
				b.pickOf(t, list[k].ID).Done(errors.New("broken"))
			}
			if left := len(b.picked(t)); left != n-most {
				t.Errorf("all %d fail: %d are left", n, left)
			}
		})
	}
}

// picked picks at one time, and returns how often each was; nobody says how that went.
func (b bubble) picked(t *testing.T) map[string]int {
	t.Helper()
	n := map[string]int{}
	for range 100 {
		k, err := b.Pick(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n[k.Instance().ID]++
		k.Done(context.Canceled)
	}
	return n
}

// TestPoolTrial: who was left out is tried by one at a time, and back when that went
// well.
func TestPoolTrial(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{}, []registry.Instance{tcp("a"), tcp("b")}, func(t *testing.T, b bubble) {
		fail := func(k *Pick) { k.Done(errors.New("broken")) }
		fail(b.pickOf(t, "a"))
		if got := names(b.picked(t)); got != "b" {
			t.Fatalf("%s although a fails", got)
		}
		time.Sleep(firstEjection)
		trial := b.pickOf(t, "a")
		busy := []*Pick{b.pickOf(t, "b"), b.pickOf(t, "b")} // a has less to do
		if got := names(b.picked(t)); got != "b" {
			t.Errorf("%s while a is being tried", got)
		}
		for _, k := range busy {
			k.Done(nil)
		}
		trial.Done(context.Canceled)
		fail(b.pickOf(t, "a"))
		time.Sleep(firstEjection)
		if got := names(b.picked(t)); got != "b" {
			t.Errorf("%s, it was left out for no longer than at first", got)
		}
		time.Sleep(firstEjection)
		b.pickOf(t, "a").Done(nil)
		if got := names(b.picked(t)); got != "a b" {
			t.Errorf("only %s, a is not back", got)
		}
		old := b.pickOf(t, "a")
		fail(b.pickOf(t, "a"))
		old.Done(nil)
		if got := names(b.picked(t)); got != "b" {
			t.Errorf("%s: what began before the failure brought it back", got)
		}
	})
}

// pickOf picks until it is that one.
func (b bubble) pickOf(t *testing.T, id string) *Pick {
	t.Helper()
	for range 100 {
		k, err := b.Pick(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if k.Instance().ID == id {
			time.Sleep(time.Microsecond) // what comes later, does
			return k
		}
		defer k.Done(context.Canceled) // it has more to do now, so another one is next
	}
	t.Fatalf("%s is not picked", id)
	return nil
}

// TestPoolPickOthers: who tries one after the other gets each once, and then not the
// same ones without a pause.
func TestPoolPickOthers(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{}, []registry.Instance{tcp("a"), tcp("b"), tcp("c")}, func(t *testing.T, b bubble) {
		var tried []*Pick
		var when []time.Duration
		start := time.Now()
		for range 9 {
			k, err := b.Pick(t.Context(), tried...)
			if err != nil {
				t.Fatal(err)
			}
			when = append(when, time.Since(start).Round(100*time.Millisecond))
			k.Done(errors.New("broken"))
			tried = append(tried, k)
			time.Sleep(time.Millisecond)
		}
		if want := []time.Duration{0, 0, 0, 2e8, 2e8, 2e8, 6e8, 6e8, 6e8}; !slices.Equal(when, want) {
			t.Errorf("they were tried after %v, want %v", when, want)
		}
		for _, i := range b.Status().Instances {
			if i.Picks != 3 {
				t.Errorf("%s was tried %d times", i.ID, i.Picks)
			}
		}
	})
	inBubble(t, PoolConfig{MaxWait: -1}, []registry.Instance{tcp("a")}, func(t *testing.T, b bubble) {
		k := b.pickOf(t, "a")
		k.Done(errors.New("broken"))
		_, err := b.Pick(t.Context(), k)
		wantNone(t, err, "broken; with that last error")
	})
}

// TestPoolSameEvent: many that were under way together are one failure.
func TestPoolSameEvent(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{}, []registry.Instance{tcp("a"), tcp("b")}, func(t *testing.T, b bubble) {
		var all []*Pick
		for range 10 {
			all = append(all, b.pickOf(t, "a"))
		}
		for _, k := range all {
			k.Done(errors.New("broken"))
		}
		if i := b.Status().Instances[0]; i.Failures != 10 || i.OutUntil != time.Now().Add(firstEjection) || i.LastError != "broken" {
			t.Errorf("%+v", i)
		}
	})
}
