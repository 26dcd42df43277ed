package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

var errNoAnswer = errors.New("no answer yet")

// finder finds the instances of one Conn. It outlives the resolvers that it
// makes, because gRPC drops these when a connection is idle; what they knew is
// kept.
type finder struct {
	config   Config
	marker   *marker
	retryNow func() // connects without waiting for the backoff

	mu      sync.Mutex
	chosen  []registry.Instance // what calls go to
	failing bool                // the registry cannot be asked
}

func (f *finder) Scheme() string { return scheme }

func (f *finder) instances() []registry.Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.chosen)
}

// Build implements [resolver.Builder].
func (f *finder) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{finder: f, cc: cc, cancel: cancel}
	w.late = time.AfterFunc(answerTime, w.remind)
	w.done.Go(func() {
		f.config.Registry.Watch(ctx, f.config.Service, w.update)
	})
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
	now, again := w.finder.learn(choose(listed))
	w.push(now, fmt.Sprintf("%s lists %s", w.finder.config.source(), count(listed)))
	if again {
		w.finder.retryNow()
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
	err = fmt.Errorf("%s cannot be asked: %w", w.finder.config.source(), err)
	w.push(w.finder.fail(err), err.Error())
}

// push hands the instances to the balancer, which keeps those that it has where
// there are none. Its error is for resolvers that can ask again.
func (w *watch) push(instances []registry.Instance, note string) {
	state := annotated(note)
	for _, i := range instances {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: i.Addr}}})
	}
	_ = w.finder.marker.update(w.cc, state)
}

// learn notes which instances are fit for calls. Where there are none, the
// last known ones are better than nothing. It reports whether one of them was
// restarted in its place.
func (f *finder) learn(fit []registry.Instance) (chosen []registry.Instance, again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing {
		f.failing = false
		f.config.Logger.Info("registry answers again", "service", f.config.Service, "registry", f.config.source())
	}
	if len(fit) > 0 {
		again = restarted(f.chosen, fit)
		f.chosen = fit
	}
	return f.chosen, again
}

func (f *finder) fail(err error) []registry.Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.failing {
		f.failing = true
		f.config.Logger.Warn("registry fails, going on with the instances that are known", "service", f.config.Service, "err", err)
	}
	return f.chosen
}

// count says how many instances are listed, by health.
func count(listed []registry.Instance) string {
	if len(listed) == 0 {
		return "no instance"
	}
	text := fmt.Sprintf("%d", len(listed))
	for _, h := range []registry.Health{registry.Ready, registry.Stopping, registry.NotReady, registry.Starting} {
		if n := len(withHealth(listed, h)); n > 0 {
			text += fmt.Sprintf(", %d %s", n, h)
		}
	}
	return text
}
