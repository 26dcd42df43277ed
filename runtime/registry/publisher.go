package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"
)

// State is how far a [Publisher] has come.
type State string

// The states of a publisher.
const (
	Unregistered State = "unregistered" // nothing is listed: not yet, or no longer
	Registered   State = "registered"   // the entries are listed
	Lost         State = "lost"         // they were listed, and will be again
)

const (
	attemptTimeout = 5 * time.Second        // for one question to the registry
	minRetry       = 500 * time.Millisecond // between two attempts
	maxRetry       = 3 * time.Second
)

// unknown is the revision that is listed after a failed update.
const unknown = -1

var errLost = errors.New("the registry dropped the entries")

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
		return fmt.Errorf("%s: stopping could not be published: %w", p.registry, errors.Join(ctx.Err(), p.LastError()))
	}
}

// Close takes the instances out of the registry and ends the publisher. It
// waits for that until the context ends, and returns what went wrong. Further
// calls do nothing.
func (p *Publisher) Close(ctx context.Context) error {
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

// run does what there is to do until the context ends: at once when something
// changes, later and later while the registry fails.
func (p *Publisher) run(ctx context.Context) {
	defer close(p.done)
	delay := minRetry
	for {
		var retry <-chan time.Time
		if p.step(ctx) {
			delay = minRetry
		} else {
			retry = time.After(jitter(delay))
			delay = min(delay*3/2, maxRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-retry:
		case <-p.lost():
			p.old = append(p.old, p.lease) // what is still listed of it stays until then
			p.lease = nil
			p.report(Lost, errLost)
			p.sleep(ctx, rand.N(minRetry)) // other servers lost theirs at the same moment
		}
	}
}

// step asks the registry for what is wanted and not so yet, and reports
// whether nothing is left to do.
func (p *Publisher) step(ctx context.Context) bool {
	p.mu.Lock()
	select {
	case <-p.wake: // for what is seen here
	default:
	}
	want, rev, listed, stopping := p.want, p.rev, p.listed, p.stopping
	ctx, p.abort = context.WithTimeout(ctx, attemptTimeout)
	defer p.abort()
	p.mu.Unlock()

	var err error
	switch {
	case p.lease == nil && (stopping || len(want) == 0):
		err = p.letGo(ctx)
	case p.lease == nil:
		if p.lease, err = p.registry.Register(ctx, want); err == nil {
			_ = p.letGo(ctx) // nobody keeps them alive
		}
	case len(want) == 0:
		if err = p.lease.Close(ctx); err == nil {
			p.lease = nil
		}
	case rev != listed:
		err = p.lease.Update(ctx, want)
	}
	return p.settle(rev, err)
}

// settle notes how a step went, and reports whether it was the last for now.
func (p *Publisher) settle(rev int, err error) bool {
	state := Unregistered
	switch {
	case p.lease != nil:
		state = Registered
	case err != nil && p.State() == Lost:
		state = Lost
	}
	p.report(state, err)

	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.listed = unknown
		return false
	}
	p.listed = rev
	if rev == p.rev {
		for _, w := range p.waiters {
			close(w)
		}
		p.waiters = nil
	}
	return true
}

func (p *Publisher) lost() <-chan struct{} {
	if p.lease == nil {
		return nil
	}
	return p.lease.Lost()
}

// letGo closes the lost leases.
func (p *Publisher) letGo(ctx context.Context) error {
	err := closeAll(ctx, p.old)
	if err == nil || p.lease != nil {
		p.old = nil
	}
	return err
}

func closeAll(ctx context.Context, leases []Lease) error {
	var errs []error
	for _, l := range leases {
		errs = append(errs, l.Close(ctx))
	}
	return errors.Join(errs...)
}

// sleep waits, unless there is something new to do.
func (p *Publisher) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-p.wake:
	case <-time.After(d):
	}
}

// report notes the state and logs it where it changes.
func (p *Publisher) report(state State, err error) {
	p.mu.Lock()
	oldState, oldErr, services := p.state, p.err, serviceNames(p.want)
	p.state, p.err = state, err
	p.mu.Unlock()

	if state == oldState && (err == nil) == (oldErr == nil) {
		return
	}
	log := p.logger.With("registry", p.registry.String())
	switch {
	case state == Lost && oldState != Lost:
		log.Warn("registration lost, registering again", "err", err)
	case err != nil:
		log.Warn("registration fails, trying again", "state", string(state), "err", err)
	case state == Registered:
		log.Info("registered", "service", services)
	default:
		log.Info("unregistered")
	}
}

func serviceNames(instances []Instance) []string {
	names := make([]string, len(instances))
	for n, i := range instances {
		names[n] = i.Service
	}
	return names
}

// jitter spreads a delay by a fifth to either side, within the bounds.
func jitter(d time.Duration) time.Duration {
	d = d*4/5 + rand.N(d*2/5)
	return min(max(d, minRetry), maxRetry)
}
