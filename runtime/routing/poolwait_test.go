package routing

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// later does something in a while, and waits for it at the end.
func later(t *testing.T, d time.Duration, f func()) {
	var done sync.WaitGroup
	done.Go(func() { time.Sleep(d); f() })
	t.Cleanup(done.Wait)
}

// TestPoolWaits: for an instance that comes later, and no longer than until then.
func TestPoolWaits(t *testing.T) {
	t.Parallel()
	for name, before := range map[string][]registry.Instance{
		"none":        nil,
		"not ready":   {tcp("a", "health=NOT_READY")},
		"refuses":     {tcp("b")},
		"a black one": {tcp("c")},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, PoolConfig{}, before, func(t *testing.T, b bubble) {
				b.network.set("refuses", "b:1")
				b.network.set("hole", "c:1")
				const when = 7 * time.Second
				later(t, when, func() { b.registry.say(nil, append(before, tcp("new"))...) })
				if id, took := b.dialled(t); id != "new" || took != when {
					t.Errorf("%s after %v", id, took)
				}
			})
			inBubble(t, PoolConfig{}, before, func(t *testing.T, b bubble) {
				if name == "none" || name == "not ready" {
					const when = 7 * time.Second
					later(t, when, func() { b.registry.say(nil, tcp("new")) })
					k, err := b.Pick(t.Context())
					if err != nil || k.Instance().ID != "new" {
						t.Fatal(k, err)
					}
					k.Done(nil)
				}
			})
		})
	}
}

// TestPoolComesBack: one that refuses is tried again while nobody else is there.
func TestPoolComesBack(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{}, []registry.Instance{tcp("a")}, func(t *testing.T, b bubble) {
		b.network.set("refuses", "a:1")
		later(t, 2*time.Second, func() { b.network.set("", "a:1") })
		if _, took := b.dialled(t); took != 3*time.Second { // after 0.2, 0.6, 1.4 and 3 s
			t.Errorf("it took %v", took)
		}
		if n := b.network.taken()["a:1"]; n != 5 {
			t.Errorf("%d attempts", n)
		}
		b.network.set("refuses", "a:1")
		later(t, 20*time.Second, func() { b.network.set("", "a:1") })
		if _, took := b.dialled(t); took > 20*time.Second+maxPause {
			t.Errorf("it took %v", took)
		}
		if n := b.network.taken()["a:1"]; n > 12 {
			t.Errorf("%d attempts", n)
		}
	})
}

// TestPoolGivesUp: after MaxWait, with the context, or at once; the error says what
// there is.
func TestPoolGivesUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		wait, timeout, want time.Duration
		list                []registry.Instance
		err                 error
		texts               []string
	}{
		"no instance":      {0, 0, DefaultMaxWait, nil, nil, []string{"lists no instance", "waited 30s"}},
		"soon":             {time.Second, 0, time.Second, nil, nil, []string{"lists no instance", "waited 1s"}},
		"at once":          {-1, 0, 0, nil, nil, []string{"lists no instance"}},
		"context":          {0, time.Second, time.Second, nil, nil, []string{"lists no instance", "waited 1s until the time for it was over", "deadline exceeded"}},
		"refused":          {10 * time.Second, 0, 10 * time.Second, []registry.Instance{tcp("dead")}, nil, []string{"lists 1, 1 READY", "last error", "refused", "waited 10s"}},
		"refused, context": {0, time.Second, time.Second, []registry.Instance{tcp("dead")}, nil, []string{"refused", "until", "deadline exceeded"}},
		"black, context":   {0, time.Second, time.Second, []registry.Instance{tcp("hole")}, nil, []string{"lists 1, 1 READY", "until", "deadline exceeded"}},
		"fails":            {-1, 0, 0, nil, errors.New("it is down"), []string{"cannot be asked: it is down"}},
		"others": {
			-1, 0, 0,
			[]registry.Instance{tcp("a", "kind=grpc"), tcp("b", "owner=alice"), tcp("c", "x=y"), tcp("d", "health=STARTING")},
			nil,
			[]string{"lists 4, 1 STARTING, 1 not of kind tcp but grpc, 1 with an owner", "1 with tags"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, PoolConfig{MaxWait: tt.wait}, nil, func(t *testing.T, b bubble) {
				b.network.set("refuses", "dead:1")
				b.network.set("hole", "hole:1")
				b.say(tt.err, tt.list...)
				ctx := t.Context()
				if tt.timeout > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				}
				start := time.Now()
				_, _, err := b.Dial(ctx)
				wantNone(t, err, append(tt.texts, service, "registry of the test")...)
				if took := time.Since(start); took != tt.want {
					t.Errorf("it took %v, want %v", took, tt.want)
				}
				if ended := tt.timeout > 0; ended != errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v: of the context: %v", err, ended)
				}
			})
		})
	}
}

// TestPoolFirstAnswer: who does not wait gives the registry a second to answer at all.
func TestPoolFirstAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for answers, want := range map[bool]time.Duration{true: answerTime / 2, false: answerTime} {
			m := newMemory()
			m.silent = true
			p := openPool(t, PoolConfig{Registry: m, MaxWait: -1, Dial: (&network{tried: map[string]int{}}).dial})
			if answers {
				later(t, answerTime/2, func() { m.say(nil, tcp("a")) })
			}
			start := time.Now()
			k, err := p.Pick(t.Context())
			if took := time.Since(start); took != want || answers != (err == nil) {
				t.Errorf("it answers: %v: after %v: %v", answers, took, err)
			}
			if answers {
				k.Done(nil)
			} else {
				wantNone(t, err, "not known yet from registry of the test")
			}
		}
	})
}

// TestPoolRegistryFails: what is known stays, and the log says so once.
func TestPoolRegistryFails(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	inBubble(t, PoolConfig{Logger: logger}, []registry.Instance{tcp("a"), tcp("b")}, func(t *testing.T, b bubble) {
		for range 3 {
			b.say(errors.New("it is down"))
			time.Sleep(10 * keepLost)
			if got := names(b.share(t)); got != "a b" {
				t.Errorf("%s while the registry is down", got)
			}
		}
		if s := b.Status(); s.RegistryError != "it is down" || s.Listed != 2 {
			t.Errorf("%+v", s)
		}
		b.say(nil, tcp("b"))
		if got := names(b.share(t)); got != "b" {
			t.Errorf("%s afterwards", got)
		}
		b.Close()
		if got := log.String(); strings.Count(got, "registry fails") != 1 || strings.Count(got, "answers again") != 1 {
			t.Errorf("the log says\n%s", got)
		}
	})
}

// TestPoolLost: where no instance is listed any more, those that were known are
// chosen, for a while. One that comes is chosen alone.
func TestPoolLost(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{MaxWait: -1}, []registry.Instance{tcp("a"), tcp("b")}, func(t *testing.T, b bubble) {
		b.say(nil, tcp("a", "health=NOT_READY"))
		if got := names(b.share(t)); got != "a b" {
			t.Errorf("%s are chosen, want both", got)
		}
		time.Sleep(keepLost + 1)
		if got := names(b.share(t)); got != "a" {
			t.Errorf("%s are chosen, want the one that is still listed", got)
		}
		b.say(nil)
		b.share(t)
		time.Sleep(keepLost / 2)
		b.say(nil) // that is no news of it
		time.Sleep(keepLost/2 + 1)
		_, _, err := b.Dial(t.Context())
		wantNone(t, err, "lists no instance")
		b.say(nil, tcp("c"))
		if got := names(b.share(t)); got != "c" {
			t.Errorf("%s are chosen", got)
		}
	})
}

// TestPoolRestarted: what failed at an address is not held against who comes after.
func TestPoolRestarted(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{}, []registry.Instance{tcp("a", "at=x:1"), tcp("b")}, func(t *testing.T, b bubble) {
		b.network.set("refuses", "x:1")
		b.share(t)
		b.network.set("", "x:1")
		if got := names(b.share(t)); got != "b" {
			t.Fatalf("%s although a fails", got)
		}
		b.say(nil, tcp("a2", "at=x:1"), tcp("b"))
		if got := names(b.share(t)); got != "a2 b" {
			t.Errorf("%s are chosen", got)
		}
	})
}

// TestPoolTold: the log has a line for each instance that fails, and when it is back.
func TestPoolTold(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	inBubble(t, PoolConfig{Logger: logger}, []registry.Instance{tcp("a"), tcp("b")}, func(t *testing.T, b bubble) {
		b.network.set("refuses", "a:1")
		for range 100 {
			b.dialled(t)
			time.Sleep(100 * time.Millisecond)
		}
		b.network.set("", "a:1")
		for range 100 {
			b.dialled(t)
			time.Sleep(100 * time.Millisecond)
		}
		b.Close()
		failed, back := strings.Count(log.String(), "no connection to an instance"), strings.Count(log.String(), "can be reached again")
		if failed != 1 || back != 1 || !strings.Contains(log.String(), "service="+service+" instance=a peer=a:1") {
			t.Errorf("the log says\n%s", log.String())
		}
	})
}

// TestPoolClose: it ends who waits and who connects.
func TestPoolClose(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"none", "hole"} {
		inBubble(t, PoolConfig{}, nil, func(t *testing.T, b bubble) {
			b.network.set("hole", "hole:1")
			if id == "hole" {
				b.say(nil, tcp(id))
			}
			later(t, time.Second, func() { b.Close() })
			start := time.Now()
			_, _, err := b.Dial(t.Context())
			if took := time.Since(start); took != time.Second {
				t.Errorf("%s: it took %v", id, took)
			}
			if !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), service) {
				t.Errorf("%s: %v", id, err)
			}
			if _, _, err = b.Dial(t.Context()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("afterwards: %v", err)
			}
			if _, err = b.Pick(t.Context()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("afterwards: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if n := b.registry.watches.Load(); n != 0 {
				t.Errorf("%d watches are left", n)
			}
		})
	}
}

// TestPoolCallersLeave: who gives up soon says nothing of the instance, which may be
// far away; who gives up late does.
func TestPoolCallersLeave(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]uint64{headStart / 2: 0, 2 * headStart: 0, DefaultConnectTimeout/2 - 1: 0, DefaultConnectTimeout / 2: 1} {
		inBubble(t, PoolConfig{}, []registry.Instance{tcp("a")}, func(t *testing.T, b bubble) {
			b.network.set("hole", "a:1")
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			_, _, err := b.Dial(ctx)
			wantNone(t, err)
			synctest.Wait()
			if i := b.Status().Instances[0]; i.Failures != want || i.InUse != 0 {
				t.Errorf("after %v: %+v", wait, i)
			}
		})
	}
}

// TestPoolConfigFaults: what is wrong is said.
func TestPoolConfigFaults(t *testing.T) {
	m := newMemory()
	for text, c := range map[string]PoolConfig{
		"service name":    {Service: "a/b", Kind: registry.KindTCP, Registry: m},
		"no registry":     {Service: "a", Kind: registry.KindTCP},
		"of what kind":    {Service: "a", Registry: m},
		"time that a con": {Service: "a", Kind: registry.KindTCP, Registry: m, ConnectTimeout: -1},
	} {
		if p, err := NewPool(c); err == nil || p != nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
