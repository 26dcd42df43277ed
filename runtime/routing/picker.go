package routing

import (
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
)

// picker finds the instance for a call: first the class, then one of its
// instances.
type picker struct {
	policy *policy
	config *policyConfig
	note   string
	index  *index        // nil where there is no registry
	tags   func() string // that it lists, for people
	demand *demand
	pools  map[class]*pool
	plain  *pool

	mu   sync.Mutex
	away map[absence]*waiter // for classes without a pool, as far as they are known
}

// absence is why a class has no pool.
type absence struct {
	class      class
	connecting bool
	more       string
}

// pool is the connected instances of a class.
type pool struct {
	ready []choice
	ward  *ward
	wait  *waiter // for who finds none of them
}

// choice is an instance that can be called.
type choice struct {
	member *member
	picker balancer.Picker // of its connection
}

// Pick implements [balancer.Picker].
func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	now := clock()
	c := callOf(info.Ctx)
	pool, wait := p.plain, p.plain.wait
	if c != nil && p.index != nil && (c.owner != plain || c.tags != plain) {
		pool, wait = p.route(c, now)
	}
	if pool == nil || len(pool.ready) == 0 {
		return wait.Pick(info)
	}
	return pool.pick(info, c, now)
}

// route returns the instances that a call goes to: those of its user, else those
// with its tags, else the plain ones; or what it waits with.
func (p *picker) route(c *call, now time.Time) (*pool, *waiter) {
	if c.owner != plain {
		if pool, wait := p.class(c.owner, now); pool != nil && len(pool.ready) > 0 || wait != nil && wait.connecting {
			return pool, wait
		}
	}
	if c.tags != plain {
		pool, wait := p.class(c.tags, now)
		if pool != nil || wait != nil {
			return pool, wait
		}
		if !c.fallback {
			return nil, p.nobody(c.tags)
		}
	}
	return p.plain, p.plain.wait
}

// class returns the instances of a class that is not plain, or what to wait with
// while it is being connected. Both are nil where none is listed.
func (p *picker) class(c class, now time.Time) (*pool, *waiter) {
	pool := p.pools[c]
	if pool == nil && !p.index.has(c) {
		return nil, nil
	}
	room := p.demand.ask(c, now)
	switch {
	case pool != nil:
		return pool, pool.wait
	case !room:
		return nil, p.waiting(absence{c, false, "too many others are asked for"})
	}
	return nil, p.waiting(absence{c, true, "they are not connected yet"})
}

// nobody returns what calls with tags wait with that no instance has.
func (p *picker) nobody(c class) *waiter { return p.waiting(absence{c, false, p.tags()}) }

// waiting returns what calls of a class wait with: all with the same, as long as they
// are of as few classes as can be connected.
func (p *picker) waiting(a absence) *waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.away[a]
	if w == nil {
		w = &waiter{policy: p.policy, class: a.class, connecting: a.connecting, config: p.config, note: p.note + "; " + a.more}
		if p.away == nil {
			p.away = map[absence]*waiter{}
		}
		if len(p.away) < maxAsked {
			p.away[a] = w
		}
	}
	return w
}

// pick chooses one of the instances.
func (p *pool) pick(info balancer.PickInfo, c *call, now time.Time) (balancer.PickResult, error) {
	stream := c != nil && c.stream
	chosen, trial := p.choose(c, stream, now)
	r, err := chosen.picker.Pick(info)
	if err != nil {
		if trial { // another call may have it
			p.ward.done(chosen.member, now, result{trial: true, stream: stream})
		}
		return r, err
	}
	if l, ok := r.SubConn.(*lingering); ok { // gRPC is handed its own connections
		r.SubConn = l.SubConn
	}
	c.try(chosen.member)
	r.Done = begin(chosen.member, p.ward, now, stream, trial).done
	return r, nil
}

// draws is how often two instances are drawn, until there is one that takes calls.
const draws = 3

// choose returns the one of two random instances that has less to do. Those that
// are out, and those that the call was at before, are taken only if there is no
// other.
func (p *pool) choose(c *call, stream bool, now time.Time) (chosen *choice, trial bool) {
	n := len(p.ready)
	if n == 1 {
		return &p.ready[0], false
	}
	for range draws {
		k := rand.IntN(n)
		a, b := &p.ready[k], &p.ready[(k+1+rand.IntN(n-1))%n]
		okA, trialA := p.fit(a, c, stream, now)
		if trialA {
			return a, true
		}
		okB, trialB := p.fit(b, c, stream, now)
		switch {
		case trialB:
			return b, true
		case okA && okB:
			return less(a, b, stream, now), false
		case okA:
			return a, false
		case okB:
			return b, false
		}
	}
	return p.any(c, stream, now)
}

// any looks at all of the instances.
func (p *pool) any(c *call, stream bool, now time.Time) (chosen *choice, trial bool) {
	n := len(p.ready)
	from := rand.IntN(n)
	for k := range n {
		a := &p.ready[(from+k)%n]
		if ok, trial := p.fit(a, c, stream, now); ok {
			return a, trial
		}
	}
	for k := range n { // a call that was at all of those that are fit
		if a := &p.ready[(from+k)%n]; !a.member.out.Load() {
			return a, false
		}
	}
	return &p.ready[from], false
}

// fit reports whether a call may go to an instance, and whether that is a trial
// of the instance, which the call must then be.
func (p *pool) fit(a *choice, c *call, stream bool, now time.Time) (ok, trial bool) {
	if c.missed(a.member) {
		return false, false
	}
	if a.member.out.Load() {
		ok = p.ward.admit(a.member, now, stream)
		return ok, ok
	}
	return true, false
}

// behind is by how many turns an instance that was away may be ahead of others.
const behind = 8

// less returns the instance that has less to do, or had less turns.
func less(a, b *choice, stream bool, now time.Time) *choice {
	order := compare(&a.member.load, &b.member.load, stream, now)
	turnsA, turnsB := a.member.turns.Load(), b.member.turns.Load()
	if order > 0 || order == 0 && turnsA > turnsB {
		a, turnsA, turnsB = b, turnsB, turnsA
	}
	a.member.turns.Store(max(turnsA+1, turnsB-behind))
	return a
}
