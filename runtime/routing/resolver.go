package routing

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	scheme = "easyops"
	// answerTime is how long the registry may take for its first answer before
	// it counts as one that cannot be asked.
	answerTime = time.Second
)

// Scheme implements [resolver.Builder].
func (f *finder) Scheme() string { return scheme }

// Build implements [resolver.Builder].
func (f *finder) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{finder: f, cc: cc, cancel: cancel}
	w.late = time.AfterFunc(answerTime, w.remind)
	w.done.Go(func() {
		f.config.Registry.Watch(ctx, f.config.Service, w.update)
	})
	w.done.Go(func() { w.follow(ctx) })
	return w, nil
}

// watch is the resolver of a connection that is not idle.
type watch struct {
	finder *finder
	cc     resolver.ClientConn
	cancel context.CancelFunc
	late   *time.Timer
	done   sync.WaitGroup

	mu       sync.Mutex // held while news are handed on, to keep their order
	answered bool
	told     *found // what the balancer was told last
}

// ResolveNow implements [resolver.Resolver]. The registry tells by itself.
func (w *watch) ResolveNow(resolver.ResolveNowOptions) {}

// Close implements [resolver.Resolver].
func (w *watch) Close() {
	w.late.Stop()
	w.cancel()
	w.done.Wait()
}

func (w *watch) update(listed []registry.Instance, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered = true
	if err != nil {
		w.failed(err)
		return
	}
	now, restart := w.finder.learn(listed)
	w.push(now)
	if restart {
		w.finder.retryNow()
	}
}

// follow connects to the classes that calls ask for, and leaves them when no call
// does any more.
func (w *watch) follow(ctx context.Context) {
	timer := time.NewTimer(unasked)
	defer timer.Stop()
	for {
		timer.Stop()
		if _, next := w.finder.roster.demand.current(time.Now()); next > 0 {
			timer.Reset(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.finder.roster.demand.kick:
		case <-timer.C:
		}
		w.rechoose()
	}
}

func (w *watch) rechoose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answered {
		w.push(w.finder.rechoose())
	}
}

// remind makes calls go on where the registry is slow.
func (w *watch) remind() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.answered {
		w.failed(errNoAnswer)
	}
}

// failed goes on with what was known before.
func (w *watch) failed(err error) {
	w.push(w.finder.fail(fmt.Errorf("%s cannot be asked: %w", w.finder.config.source(), err)))
}

// push hands the instances to the balancer, which keeps those that it has where
// there are none. Its error is for resolvers that can ask again. Of ten thousand
// instances one changes at any time, but seldom one of those that are chosen: else
// the balancer finds the note when it needs it.
func (w *watch) push(f *found) {
	w.finder.roster.note.Store(&f.note)
	if f.same(w.told) {
		return
	}
	w.told = f
	state := annotated(f.note)
	state.Attributes = state.Attributes.WithValue(indexKey{}, f.index)
	for _, m := range f.members {
		state.Endpoints = append(state.Endpoints, m.endpoint())
	}
	_ = w.finder.marker.update(w.cc, state)
}
