package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// The errors of Load that are not the load's own.
var (
	errExited  = errors.New("cache: the load ended its goroutine by runtime.Goexit")
	errItself  = errors.New("cache: the load of a value asks for that value: it would wait for itself")
	errNowhere = errors.New("cache: Load was given no function")
)

// PanicError is a panic of a load. Load panics with it in each caller that waits
// for the value.
type PanicError struct {
	Cache string
	Value any    // that the load panicked with
	Stack []byte // of the load
}

// Error says what the load panicked with, and where.
func (e *PanicError) Error() string {
	return fmt.Sprintf("load for cache %s panicked: %v\n\n%s", e.Cache, e.Value, e.Stack)
}

// Unwrap is the value that the load panicked with, where that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// PanicValue is the value that the load panicked with.
func (e *PanicError) PanicValue() any { return e.Value }

// PanicStack is the stack of the load. Servers log it in place of that of the
// caller that waited.
func (e *PanicError) PanicStack() []byte { return e.Stack }

// flight is a load that is on its way, and who waits for it.
type flight[V any] struct {
	landed chan struct{} // closed when value, err and panic are set
	value  V
	err    error
	panic  *PanicError
	cancel context.CancelFunc

	// Guarded by the cache.
	waiting int
	over    bool
}

// inside marks the context of a load with what it loads.
type inside[K comparable, V any] struct {
	cache *Cache[K, V]
	key   K
}

// Load returns the value of key, and where there is none the one that load
// returns, which is stored. An error of load is returned as it is and nothing
// is stored.
//
// Concurrent callers with the same key share one load. It runs in a goroutine
// of its own, with the values of the context of the caller that began it but
// without its end: a caller whose context ends gets ctx.Err() at once, and the
// load goes on for the others. Its context ends when no caller waits any more.
// So the value must depend on nothing but the key: where it depends on who
// asks, the key has to say so.
//
// Where load panics, each caller that waits panics with a [*PanicError]; the
// next caller begins anew. A load that asks the cache for its own key gets an
// error. It must not wait for another load that may wait for it.
func (c *Cache[K, V]) Load(ctx context.Context, key K, load func(context.Context, K) (V, error)) (V, error) {
	if v, ok := c.entries.GetIfPresent(key); ok {
		return v, nil
	}
	return c.miss(ctx, key, load)
}

func (c *Cache[K, V]) miss(ctx context.Context, key K, load func(context.Context, K) (v V, err error)) (none V, err error) {
	switch {
	case ctx.Err() != nil:
		return none, ctx.Err()
	case load == nil:
		return none, errNowhere
	case key != key: //nolint:gocritic // NaN, which no map finds again
		return load(ctx, key)
	case ctx.Value(inside[K, V]{c, key}) != nil:
		return none, errItself
	}
	v, f := c.join(ctx, key, load)
	if f == nil {
		return v, nil
	}
	select {
	case <-f.landed:
	case <-ctx.Done():
		if c.leave(key, f) {
			return none, ctx.Err()
		}
		<-f.landed
	}
	if f.panic != nil {
		panic(f.panic)
	}
	return f.value, f.err
}

// join takes part in the load of a key, which it begins where there is none. The
// load may have ended in the meantime: then there is the value and no flight.
func (c *Cache[K, V]) join(ctx context.Context, key K, load func(context.Context, K) (V, error)) (V, *flight[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flights[key]
	if f == nil {
		if e, ok := c.entries.GetEntryQuietly(key); ok {
			return e.Value, nil
		}
		f = &flight[V]{landed: make(chan struct{})}
		ctx = context.WithValue(context.WithoutCancel(ctx), inside[K, V]{c, key}, true)
		ctx, f.cancel = context.WithCancel(ctx)
		c.flights[key] = f
		go c.fly(ctx, key, load, f)
	}
	f.waiting++
	var none V
	return none, f
}

// leave gives up waiting, unless the load is over already. The last to leave
// ends the load, which nobody joins any more.
func (c *Cache[K, V]) leave(key K, f *flight[V]) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.over {
		return false
	}
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		c.forget(key, f)
	}
	return true
}

// fly runs a load, and ends it whatever it does.
func (c *Cache[K, V]) fly(ctx context.Context, key K, load func(context.Context, K) (V, error), f *flight[V]) {
	f.err = errExited
	defer func() {
		if v := recover(); v != nil {
			f.panic = &PanicError{Cache: c.Name(), Value: v, Stack: debug.Stack()}
		}
		c.land(key, f)
	}()
	f.value, f.err = load(ctx, key)
}

func (c *Cache[K, V]) land(key K, f *flight[V]) {
	defer f.cancel()
	defer close(f.landed)
	c.mu.Lock()
	defer c.mu.Unlock()
	f.over = true
	if c.forget(key, f) && f.err == nil {
		c.entries.Set(key, f.value)
	}
	if f.panic != nil && f.waiting == 0 {
		c.log().Error("load panicked, and nobody waits for it", slog.String("cache", c.Name()), slog.Any("err", f.panic))
	}
}

// forget takes a load off the list, where it still is: one that is not on it any
// more is too old to be stored.
func (c *Cache[K, V]) forget(key K, f *flight[V]) bool {
	if c.flights[key] != f {
		return false
	}
	delete(c.flights, key)
	return true
}
