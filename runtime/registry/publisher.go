package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
)

// State is how far a [Publisher] has come.
type State string

// The states of a publisher.
const (
	Unregistered State = "unregistered" // nothing is listed: not yet, or no longer
	Registered   State = "registered"   // the entries are listed
	Lost         State = "lost"         // they were listed, and will be again
)

// Publisher keeps the instances of a server listed, through any outage of the
// registry. It asks the registry from a goroutine of its own, so that none of
// its methods but Stop and Close wait. They may be called concurrently.
type Publisher struct {
	registry Registry
	logger   *slog.Logger
	cancel   context.CancelFunc
	wake     chan struct{} // want or stopping has changed
	done     chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex
	want     []Instance         // what is to be listed
	rev      int                // counts the changes of want
	listed   int                // the revision that the registry has
	waiters  []chan struct{}    // closed when there is nothing left to do
	stopping bool               // no new lease
	abort    context.CancelFunc // ends a Register that is under way
	state    State
	err      error
	retold   bool // that registering again fails was logged
	silent   bool // the registry did not answer in time when the server stopped

	lease Lease   // the goroutine's; Close's once that has ended
	old   []Lease // lost ones, to be closed once their entries are another's
}

// NewPublisher starts a publisher that has nothing to publish yet. It logs what
// changes, once; no logger means slog.Default(). The caller closes it.
func NewPublisher(r Registry, logger *slog.Logger) *Publisher {
	if logger == nil {
		logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Publisher{
		registry: r,
		logger:   logger,
		cancel:   cancel,
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		state:    Unregistered,
	}
	go p.run(ctx)
	return p
}

// Set makes the instances the ones that are to be listed, in place of what was
// set before; none takes the server out of the registry until there are some
// again. It does not wait. After Stop it does nothing.
func (p *Publisher) Set(instances []Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopping && !reflect.DeepEqual(p.want, instances) {
		p.setLocked(instances)
	}
}

func (p *Publisher) setLocked(instances []Instance) {
	p.want = slices.Clone(instances)
	p.rev++
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Stop lists the instances, which say [Stopping], if this server is listed
// now, and waits until that is done or the context ends, whose error it
// returns then. From its call on nothing is registered any more, whatever
// happens to the lease.
func (p *Publisher) Stop(ctx context.Context, instances []Instance) error {
	settled := make(chan struct{})
	p.mu.Lock()
	p.stopping = true
	if p.abort != nil {
		p.abort()
	}
	p.setLocked(instances)
	p.waiters = append(p.waiters, settled)
	p.mu.Unlock()

	select {
	case <-settled:
		return nil
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		p.silent = true
		p.mu.Unlock()
		if err := p.LastError(); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s: stopping could not be published: %w: %w", p.registry, ctx.Err(), err)
		}
		return fmt.Errorf("%s: stopping could not be published: %w", p.registry, ctx.Err())
	}
}

// Close takes the instances out of the registry and ends the publisher. It
// waits for that until the context ends, but at most a second, and less where
// the registry failed just now, and returns what went wrong. Further calls do
// nothing.
func (p *Publisher) Close(ctx context.Context) error {
	p.mu.Lock()
	p.stopping = true
	timeout := closeTimeout
	if p.err != nil || p.silent {
		timeout = lateCloseTimeout
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p.cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("%s: does not let go: %w", p.registry, ctx.Err())
	}
	p.mu.Lock()
	if p.lease != nil {
		p.old = append(p.old, p.lease)
	}
	old := p.old
	p.lease, p.old = nil, nil
	p.mu.Unlock()
	err := closeAll(ctx, old)
	p.report(Unregistered, err)
	if err != nil {
		return fmt.Errorf("%s: unregister: %w", p.registry, err)
	}
	return nil
}

// State returns how far the publisher has come.
func (p *Publisher) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// LastError returns why the instances are not listed, or not as they should
// be; nil when they are.
func (p *Publisher) LastError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
