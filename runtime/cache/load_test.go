package cache

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/cache/caches"
)

type loader = func(context.Context, string) (int, error)

func constant(v int) loader { return func(context.Context, string) (int, error) { return v, nil } }

// slow gives a value after a time, or the error of its context if that ends.
func slow(d time.Duration, v int, begun *atomic.Int64) loader {
	return func(ctx context.Context, _ string) (int, error) {
		begun.Add(1)
		select {
		case <-time.After(d):
			return v, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func TestLoadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int]("once", Options{})
		var begun atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if v, err := c.Load(t.Context(), "a", slow(time.Second, 7, &begun)); v != 7 || err != nil {
					t.Errorf("%d, %v", v, err)
				}
			})
		}
		wg.Wait()
		if v, err := c.Load(t.Context(), "a", slow(time.Second, 8, &begun)); v != 7 || err != nil {
			t.Errorf("after the load: %d, %v", v, err)
		}
		if n := begun.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
		if s := c.Stats(); s.Hits != 1 || s.Misses != 100 || s.Entries != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLoadsOfDifferentKeysDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int]("keys", Options{})
		var begun atomic.Int64
		go c.Load(t.Context(), "slow", slow(time.Hour, 1, &begun))
		synctest.Wait()
		start := time.Now()
		if v, err := c.Load(t.Context(), "fast", constant(2)); v != 2 || err != nil || time.Since(start) > 0 {
			t.Errorf("%d, %v after %v", v, err, time.Since(start))
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestErrorsAreNotStored(t *testing.T) {
	c := New[string, int]("errors", Options{})
	fault := errors.New("no such user")
	for range 2 {
		if _, err := c.Load(t.Context(), "a", func(context.Context, string) (int, error) { return 1, fault }); err != fault { //nolint:errorlint // as it is
			t.Errorf("error %v, want %v", err, fault)
		}
	}
	if v, err := c.Load(t.Context(), "a", constant(3)); v != 3 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	if _, err := c.Load(t.Context(), "b", nil); err == nil {
		t.Error("a nil function is no error")
	}
}

func TestOneCancelledCallerFailsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int]("cancelled", Options{})
		var begun atomic.Int64
		load := slow(10*time.Second, 7, &begun)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		go func() {
			if _, err := c.Load(short, "a", load); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("the first: %v after %v", err, time.Since(start))
			}
		}()
		synctest.Wait()
		if v, err := c.Load(t.Context(), "a", load); v != 7 || err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("the second: %d, %v after %v", v, err, time.Since(start))
		}
		if n := begun.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

// Nobody waits for the value any more: the load is told, and the next caller
// does not join it.
func TestTheLastCallerEndsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int]("last", Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		load := func(ctx context.Context, _ string) (int, error) {
			<-ctx.Done()
			time.Sleep(time.Minute) // it takes its time
			ended <- ctx.Err()
			return 1, nil
		}
		for range 3 {
			go c.Load(ctx, "a", load)
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		if v, err := c.Load(t.Context(), "a", constant(2)); v != 2 || err != nil {
			t.Errorf("the next: %d, %v", v, err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait()
		if v, _ := c.Get("a"); v != 2 {
			t.Errorf("the value is %d: that of the load that was given up", v)
		}
	})
}

func TestACallerWhoseContextHasEndedLoadsNothing(t *testing.T) {
	c := New[string, int]("ended", Options{})
	c.Put("there", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := c.Load(ctx, "there", nil); v != 1 || err != nil {
		t.Errorf("what is there: %d, %v", v, err)
	}
	if _, err := c.Load(ctx, "a", constant(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("what is not: %v", err)
	}
}

// What was cleared, deleted or put while a load is in flight is newer than the
// load.
func TestStaleLoadsAreNotStored(t *testing.T) {
	for name, change := range map[string]func(*Cache[string, int]){
		"clear":  func(c *Cache[string, int]) { c.Clear() },
		"delete": func(c *Cache[string, int]) { c.Delete("a") },
		"put":    func(c *Cache[string, int]) { c.Put("a", 5) },
		"operator": func(c *Cache[string, int]) {
			if err := caches.NewGroup(silent).Clear(context.Background(), c.Name(), "alice"); err != nil {
				t.Error(err)
			}
		},
		"nothing": nil, // the control
	} {
		synctest.Test(t, func(t *testing.T) {
			c := New[string, int]("stale", Options{})
			var begun atomic.Int64
			got := make(chan int, 1)
			go func() {
				v, _ := c.Load(t.Context(), "a", slow(time.Second, 1, &begun))
				got <- v
			}()
			synctest.Wait()
			if change != nil {
				change(c)
			}
			// Who comes after the change does not get what was loaded before it.
			want := map[string]int{"put": 5, "nothing": 1}[name]
			if want == 0 {
				want = 2
			}
			if v, err := c.Load(t.Context(), "a", slow(2*time.Second, 2, &begun)); v != want || err != nil {
				t.Errorf("%s: a later caller got %d, %v, want %d", name, v, err, want)
			}
			if v := <-got; v != 1 {
				t.Errorf("%s: who waited got %d", name, v)
			}
			if v, _ := c.Get("a"); v != want {
				t.Errorf("%s: %d is stored, want %d", name, v, want)
			}
			if len(c.flights) != 0 {
				t.Errorf("%s: loads are left", name)
			}
		})
	}
}

// load calls Load and returns what it panicked with.
func panicOf(c *Cache[string, int], ctx context.Context, load loader) (v any) {
	defer func() { v = recover() }()
	_, _ = c.Load(ctx, "a", load)
	return nil
}

func TestPanicReachesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int]("panics", Options{})
		fault := errors.New("boom")
		load := func(context.Context, string) (int, error) { time.Sleep(time.Second); panic(fault) }
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				p, ok := panicOf(c, t.Context(), load).(*PanicError)
				if !ok || !errors.Is(p, fault) || !strings.Contains(p.Error(), "TestPanicReachesAllWhoWait") {
					t.Errorf("%v", p)
				}
			})
		}
		wg.Wait()
		if v, err := c.Load(t.Context(), "a", constant(4)); v != 4 || err != nil {
			t.Errorf("the next: %d, %v", v, err)
		}
	})
}

func TestPanicThatNobodyWaitsForIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := New[string, int]("unheard", Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Load(ctx, "a", func(context.Context, string) (int, error) { time.Sleep(time.Minute); panic("boom") })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), "cache=unheard") {
			t.Errorf("log: %s", log.String())
		}
	})
}

func TestGoexitIsAnError(t *testing.T) {
	c := New[string, int]("exits", Options{})
	for range 2 {
		_, err := c.Load(t.Context(), "a", func(context.Context, string) (int, error) { runtime.Goexit(); return 1, nil })
		if !errors.Is(err, errExited) {
			t.Error(err)
		}
	}
}

func TestLoadOfItself(t *testing.T) {
	c := New[string, int]("itself", Options{})
	var load loader
	load = func(ctx context.Context, key string) (int, error) {
		if key == "a" {
			return c.Load(ctx, "b", load)
		}
		return c.Load(ctx, "a", load)
	}
	if _, err := c.Load(t.Context(), "a", load); !errors.Is(err, errItself) {
		t.Error(err)
	}
	other := New[string, int]("other", Options{})
	v, err := c.Load(t.Context(), "a", func(ctx context.Context, key string) (int, error) { return other.Load(ctx, key, constant(3)) })
	if v != 3 || err != nil {
		t.Errorf("the same key of another cache: %d, %v", v, err)
	}
}

func TestLoadsHaveTheValuesOfTheirContext(t *testing.T) {
	type key struct{}
	c := New[string, string]("values", Options{})
	v, err := c.Load(context.WithValue(t.Context(), key{}, "alice"), "a", func(ctx context.Context, _ string) (string, error) {
		if _, bounded := ctx.Deadline(); bounded {
			t.Error("the load has a caller's deadline")
		}
		return ctx.Value(key{}).(string), nil
	})
	if v != "alice" || err != nil {
		t.Error(v, err)
	}
}

// Values carry the version of what they were loaded from. Who calls after the
// cache was cleared for a version must not get one before that.
func TestNothingStaleIsEverServed(t *testing.T) {
	c := New[string, int64]("versions", Options{MaxEntries: 4})
	var written, cleared atomic.Int64
	load := func(context.Context, string) (int64, error) {
		v := written.Load()
		runtime.Gosched()
		return v, nil
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			key := string(rune('a' + n%2))
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := cleared.Load()
				if v, err := c.Load(t.Context(), key, load); v < least || err != nil {
					t.Errorf("version %d after %d, %v", v, least, err)
					return
				}
			}
		})
	}
	for v := range int64(2000) {
		written.Store(v)
		c.Clear()
		cleared.Store(v)
	}
	close(stop)
	wg.Wait()
}

// TestPutIsNewer has values put while they are loaded. Whichever comes first, the
// one that was put stays.
func TestPutIsNewer(t *testing.T) {
	c := New[int, string]("put-is-newer", Options{Logger: silent})
	for key := range 20_000 {
		var both sync.WaitGroup
		both.Go(func() { c.Put(key, "put") })
		both.Go(func() {
			_, _ = c.Load(t.Context(), key, func(context.Context, int) (string, error) { return "loaded", nil })
		})
		both.Wait()
		if v, _ := c.Get(key); v != "put" {
			t.Fatalf("after %d: %q is there, which is older than what was put", key, v)
		}
		c.Delete(key)
	}
}
