package registry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	attemptTimeout = 5 * time.Second        // for one question to the registry
	minRetry       = 500 * time.Millisecond // between two attempts
	maxRetry       = 3 * time.Second

	// How long Close waits for the registry, and where that failed just now. The
	// entries of an ended server are not worth more: they end by themselves.
	closeTimeout     = time.Second
	lateCloseTimeout = closeTimeout / 4
)

// unknown is the revision that is listed after a failed update.
const unknown = -1

// errLost is for leases that do not say why.
var errLost = errors.New("the lease has ended, and the registry does not say why")

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
			err := whyLost(p.lease)
			p.drop() // what is still listed of it stays until there is another
			p.report(Lost, err)
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
		p.drop() // also where Close fails: nobody renews it any more
		err = p.letGo(ctx)
	case rev != listed:
		err = p.lease.Update(ctx, want)
	}
	return p.settle(rev, err)
}

// settle notes how a step went, and reports whether it was the last for now.
func (p *Publisher) settle(rev int, err error) bool {
	p.report(p.stateAfter(err), err)

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

// stateAfter returns the state after a step. What could not be unregistered is
// listed still, as far as anyone knows.
func (p *Publisher) stateAfter(err error) State {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.lease != nil:
		return Registered
	case err == nil:
		return Unregistered
	case p.state != Unregistered && len(p.want) > 0 && !p.stopping:
		return Lost
	}
	return p.state
}

// drop has the lease be one to close only.
func (p *Publisher) drop() {
	p.old = append(p.old, p.lease)
	p.lease = nil
}

// whyLost returns what is known of why a lease was lost.
func whyLost(l Lease) error {
	if l, ok := l.(interface{ Err() error }); ok {
		if err := l.Err(); err != nil {
			return err
		}
	}
	return errLost
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

// report notes the state and logs it where it changes, and the first failure
// after a loss. While the server stops, who stops it is told what fails.
func (p *Publisher) report(state State, err error) {
	p.mu.Lock()
	oldState, oldErr, services := p.state, p.err, serviceNames(p.want)
	p.state, p.err = state, err
	still := state == Lost && oldState == Lost
	news := state != oldState || (err == nil) != (oldErr == nil) || still && !p.retold
	p.retold = still
	quiet := p.stopping && err != nil
	p.mu.Unlock()

	if !news || quiet {
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
	case oldState != Unregistered:
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
