package easyops

import (
	"context"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
)

// Draining returns a channel that is closed when the server wants streams to
// end. The handler of a long stream watches it, beside its context, and returns
// once it has told its client what there is to tell; what has not returned
// when the stream grace is over is ended with UNAVAILABLE. Outside of a call
// the channel is nil, which never is closed.
func Draining(ctx context.Context) <-chan struct{} {
	if c := callFrom(ctx); c != nil {
		return c.method.server.draining
	}
	return nil
}

// Go runs f in a goroutine, for work that outlives the call whose context is
// given. A panic in f is logged and counted, and does not end the process. The
// context of f has the values of the call's, but not its end: it ends when the
// server has served its last call, and f has to return then.
func Go(ctx context.Context, f func(context.Context)) {
	c := callFrom(ctx)
	if c == nil {
		go recovering(context.WithoutCancel(ctx), f)
		return
	}
	s := c.method.server
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(s.life, cancel)
	s.work.start(func() {
		defer cancel()
		defer stop()
		_ = s.guard(own, "Go in "+c.method.name, func() { f(own) })
	}, "Go in "+c.method.name)
}

// recovering is Go where there is no server, as in a test of a handler.
func recovering(ctx context.Context, f func(context.Context)) {
	defer func() {
		if p := recover(); p != nil {
			slog.ErrorContext(ctx, "panic", "in", "Go", "err", p, "stack", string(debug.Stack())) //nolint:sloglint // there is no server whose logger could be used
		}
	}()
	f(ctx)
}

// work is the goroutines that run code of the user's beside calls.
type work struct {
	mu      sync.Mutex
	running map[string]int
	ended   chan struct{} // closed when the last one ends; nil where nobody waits
}

func (w *work) start(f func(), name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running == nil {
		w.running = map[string]int{}
	}
	w.running[name]++
	go func() {
		defer w.end(name)
		f()
	}()
}

func (w *work) end(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[name]--; w.running[name] == 0 {
		delete(w.running, name)
	}
	if len(w.running) == 0 && w.ended != nil {
		close(w.ended)
		w.ended = nil
	}
}

// wait waits until all have ended, or names those that have not when the
// context ends.
func (w *work) wait(ctx context.Context) []string {
	w.mu.Lock()
	if len(w.running) == 0 {
		w.mu.Unlock()
		return nil
	}
	ended := make(chan struct{})
	w.ended = ended
	w.mu.Unlock()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.running))
}
