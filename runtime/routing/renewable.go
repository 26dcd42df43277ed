package routing

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
)

// renewable is gRPC's pick_first for one instance. Where its connection is to be
// made anew, there are two of them: the former one goes on until the next is
// ready, or until it is not ready itself.
type renewable struct {
	cc   balancer.ClientConn
	opts balancer.BuildOptions

	mu   sync.Mutex // taken while pick_first holds its own, so never the other way round
	now  *generation
	next *generation // nil for none
}

func buildRenewable(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	return &renewable{cc: cc, opts: opts}
}

// generation is a pick_first, and what is above it.
type generation struct {
	balancer.ClientConn
	of    *renewable
	heir  atomic.Bool // it is the next one
	times int         // as the marker marks it
	state balancer.State

	failures *failures // nil for none
	told     bool      // of its failure

	mu     sync.Mutex // for the methods of pickFirst, of which none must follow Close
	closed bool
	first  balancer.Balancer
}

// newGenerationLocked makes one that connects as soon as it is updated.
func (r *renewable) newGenerationLocked(times int) *generation {
	g := &generation{ClientConn: r.cc, of: r, times: times}
	g.state = balancer.State{ConnectivityState: connectivity.Connecting, Picker: base.NewErrPicker(balancer.ErrNoSubConnAvailable)}
	g.first = balancer.Get(pickfirst.Name).Build(g, r.opts)
	return g
}

// UpdateClientConnState implements [balancer.Balancer].
func (r *renewable) UpdateClientConnState(s balancer.ClientConnState) (err error) {
	r.turn(timesOf(s.ResolverState), s.ResolverState)
	r.each(func(g *generation) {
		s := s
		s.ResolverState.Endpoints = g.mark(s.ResolverState.Endpoints)
		err = g.first.UpdateClientConnState(s)
	})
	return err
}

// turn begins a generation where there is a mark that is new. One that is not
// ready has nothing to lose, and becomes it.
func (r *renewable) turn(times int, s resolver.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.now == nil:
		r.now = r.newGenerationLocked(times)
	case r.now.times == times:
	case r.now.state.ConnectivityState != connectivity.Ready:
		r.now.times = times
	case r.next != nil:
		r.next.times = times
	default:
		r.next = r.newGenerationLocked(times)
		r.next.heir.Store(true)
		r.next.failures, _ = s.Attributes.Value(failuresKey{}).(*failures)
	}
}

// each is called by one goroutine at a time.
func (r *renewable) each(do func(*generation)) {
	r.mu.Lock()
	all := []*generation{r.now, r.next}
	r.mu.Unlock()
	for _, g := range all {
		if g != nil {
			g.do(do)
		}
	}
}

// ResolverError implements [balancer.Balancer].
func (r *renewable) ResolverError(err error) {
	r.each(func(g *generation) { g.first.ResolverError(err) })
}

// UpdateSubConnState implements [balancer.Balancer]. It is not called.
func (r *renewable) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle implements [balancer.Balancer].
func (r *renewable) ExitIdle() { r.each(func(g *generation) { g.first.ExitIdle() }) }

// Close implements [balancer.Balancer].
func (r *renewable) Close() { r.each((*generation).closeLocked) }

func (g *generation) do(f func(*generation)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		f(g)
	}
}

func (g *generation) closeLocked() {
	g.closed = true
	g.first.Close()
}

// UpdateState implements [balancer.ClientConn]. Of the next generation only that
// it is ready is news for those above.
func (g *generation) UpdateState(s balancer.State) {
	r := g.of
	r.mu.Lock()
	defer r.mu.Unlock()
	g.state = s
	ready := s.ConnectivityState == connectivity.Ready
	switch {
	case g == r.next && ready, g == r.now && r.next != nil && !ready:
		r.succeedLocked()
	case g == r.now:
		r.cc.UpdateState(s)
	case g == r.next && s.ConnectivityState == connectivity.TransientFailure:
		g.tellLocked()
	}
}

func (r *renewable) succeedLocked() {
	former := r.now
	r.now, r.next = r.next, nil
	r.now.heir.Store(false)
	go former.do((*generation).closeLocked) // it may be the one that calls
	r.cc.UpdateState(r.now.state)
}

// tellLocked has the log told once why a connection is not made anew.
func (g *generation) tellLocked() {
	if g.told || g.failures == nil {
		return
	}
	g.told = true
	if _, err := g.state.Picker.Pick(balancer.PickInfo{}); err != nil {
		g.failures.journal.warn("no new connection to an instance, the former one stays", "service", g.failures.service, "err", explain(err, true))
	}
}

// mark makes the addresses those of the generation: to gRPC the same address with
// another mark is another address.
func (g *generation) mark(found []resolver.Endpoint) []resolver.Endpoint {
	endpoints := make([]resolver.Endpoint, len(found))
	for i, e := range found {
		e.Addresses = marked(e.Addresses, g)
		endpoints[i] = e
	}
	return endpoints
}

// timesOf returns how the marker has marked addresses; 0 where it has not.
func timesOf(s resolver.State) int {
	for _, e := range s.Endpoints {
		for _, a := range e.Addresses {
			times, _ := a.Attributes.Value(markKey{}).(int)
			return times
		}
	}
	return 0
}

// Replaces tells transport credentials whether the handshake of a context is for
// a connection that is to take the place of one that is ready. Where it fails,
// that one goes on.
func Replaces(ctx context.Context) bool {
	g, ok := credentials.ClientHandshakeInfoFromContext(ctx).Attributes.Value(markKey{}).(*generation)
	return ok && g.heir.Load()
}
