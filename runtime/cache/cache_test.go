package cache

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/cache/caches"
)

func TestPutGetDelete(t *testing.T) {
	c := New[string, int]("plain", Options{})
	if _, ok := c.Get("a"); ok {
		t.Error("a new cache is not empty")
	}
	c.Put("a", 1)
	c.Put("a", 2)
	c.Put("b", 3)
	if v, ok := c.Get("a"); v != 2 || !ok {
		t.Errorf("a: %d, %v, want 2", v, ok)
	}
	c.Delete("a")
	c.Delete("a")
	if v, ok := c.Get("a"); ok {
		t.Errorf("a is %d after it was deleted", v)
	}
	want := Stats{Entries: 1, Max: 10_000, Hits: 1, Misses: 2}
	if s := c.Stats(); s != want {
		t.Errorf("stats: %+v, want %+v", s, want)
	}
	c.Clear()
	if s := c.Stats(); s.Entries != 0 || s.Hits != 1 {
		t.Errorf("stats after Clear: %+v", s)
	}
}

func TestBounds(t *testing.T) {
	for _, o := range []Options{{MaxEntries: 100}, {MaxEntries: 100, TTL: time.Hour}, {MaxEntries: 1}} {
		c := New[int, int]("bounded", o)
		for n := range 10_000 {
			c.Put(n, n)
		}
		s := c.Stats()
		if s.Entries > o.MaxEntries || s.Max != o.MaxEntries || s.TTL != o.TTL {
			t.Errorf("%+v: %+v", o, s)
		}
		if s.Evictions != uint64(10_000-s.Entries) {
			t.Errorf("%+v: %d evictions and %d entries of 10,000", o, s.Evictions, s.Entries)
		}
	}
	for _, o := range []Options{{}, {MaxEntries: -1, TTL: -1}} {
		if s := New[int, int]("default", o).Stats(); s.Max != 10_000 || s.TTL != 0 {
			t.Errorf("%+v: %+v", o, s)
		}
	}
}

func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int]("ttl", Options{TTL: time.Minute})
		c.Put("a", 1)
		time.Sleep(time.Minute - time.Millisecond)
		if _, ok := c.Get("a"); !ok {
			t.Error("it is gone before its time")
		}
		time.Sleep(time.Millisecond)
		if _, ok := c.Get("a"); ok {
			t.Error("it is there after its time, which reading does not prolong")
		}
		c.Put("b", 1)
		time.Sleep(time.Hour)
		if s := c.Stats(); s.Entries != 0 || s.Evictions != 2 {
			t.Errorf("what has expired still counts: %+v", s)
		}
	})
}

// A cache without a TTL keeps what it has room for.
func TestNoTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int]("no-ttl", Options{})
		c.Put("a", 1)
		time.Sleep(1000 * time.Hour)
		if _, ok := c.Get("a"); !ok {
			t.Error("it is gone")
		}
	})
}

func TestUnusualKeys(t *testing.T) {
	c := New[float64, int]("floats", Options{})
	c.Put(math.NaN(), 1)
	for range 3 {
		if v, err := c.Load(t.Context(), math.NaN(), func(context.Context, float64) (int, error) { return 7, nil }); v != 7 || err != nil {
			t.Errorf("NaN: %d, %v", v, err)
		}
	}
	if n := len(c.flights); n != 0 {
		t.Errorf("%d loads are left", n)
	}
	a := New[any, int]("any", Options{})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a slice is no key, and nothing is said")
			}
		}()
		a.Put([]int{1}, 1)
	}()
	a.Put("fine", 1) // nothing is locked
	a.Clear()
}

func TestACacheThatNobodyUsesIsCollected(t *testing.T) {
	g := caches.NewGroup(silent)
	kept := New[int, [1 << 10]byte]("kept", Options{TTL: time.Hour})
	for range 20 {
		dropped := New[int, [1 << 10]byte]("dropped", Options{TTL: time.Hour})
		dropped.Put(1, [1 << 10]byte{})
	}
	for end := time.Now().Add(20 * time.Second); ; {
		runtime.GC()
		if _, listed := g.Get("dropped"); !listed {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it is still listed: %+v", g.List())
		}
	}
	if _, listed := g.Get("kept"); !listed {
		t.Error("a cache that is in use is not listed")
	}
	runtime.KeepAlive(kept)
}

func BenchmarkLoadHit(b *testing.B) {
	load := func(_ context.Context, key string) (string, error) { return key, nil }
	for _, o := range []Options{{}, {TTL: time.Hour}} {
		c := New[string, string]("bench", o)
		keys := make([]string, 1000)
		for i := range keys {
			keys[i] = fmt.Sprint("key-", i)
			c.Put(keys[i], keys[i])
		}
		b.Run(fmt.Sprint("ttl=", o.TTL), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := c.Load(b.Context(), keys[i%1000], load); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint("parallel/ttl=", o.TTL), func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := c.Load(ctx, keys[i%1000], load); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkLoadMiss(b *testing.B) {
	c := New[int, int]("bench", Options{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := c.Load(b.Context(), i, func(_ context.Context, key int) (int, error) { return key, nil }); err != nil {
			b.Fatal(err)
		}
	}
}
