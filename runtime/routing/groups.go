package routing

import (
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/connectivity"
)

// group is what the balancer knows of the instances of a class.
type group struct {
	ward    *ward
	known   bool // there are instances, which may not be reached
	ready   []endpointsharding.ChildState
	state   connectivity.State
	since   time.Time // of the state not being READY
	lastErr string    // of a connection
}

// sortLocked sorts the instances into their groups.
func (p *policy) sortLocked(children []endpointsharding.ChildState) (news []notice) {
	now := time.Now()
	of, reached := map[class][]endpointsharding.ChildState{plain: nil}, map[class]bool{}
	for _, child := range children {
		if m := memberOf(child.Endpoint); m != nil {
			of[m.class] = append(of[m.class], child)
			if m.connection(child.State.ConnectivityState, errorOf(child), now) {
				reached[m.class] = true
			}
		}
	}
	maps.DeleteFunc(p.groups, func(c class, _ *group) bool {
		_, there := of[c]
		return !there
	})
	for c, children := range of {
		g := p.groupLocked(c)
		news = append(news, g.take(children, now)...)
		if reached[c] || g.known && g.state == connectivity.TransientFailure {
			p.roster.demand.reached(c, reached[c])
		}
	}
	return news
}

func (p *policy) groupLocked(c class) *group {
	g := p.groups[c]
	if g == nil {
		g = &group{
			ward:  &ward{class: c, roster: p.roster},
			state: connectivity.TransientFailure, since: time.Now(),
		}
		p.groups[c] = g
	}
	return g
}

// take notes how the instances of the group are connected.
func (g *group) take(children []endpointsharding.ChildState, now time.Time) []notice {
	before := g.state
	g.known, g.ready, g.state = len(children) > 0, nil, connectivity.TransientFailure
	var members []*member
	for _, child := range children {
		switch child.State.ConnectivityState {
		case connectivity.Ready:
			g.ready = append(g.ready, child)
			members = append(members, memberOf(child.Endpoint))
		case connectivity.Connecting, connectivity.Idle:
			g.state = connectivity.Connecting
		}
	}
	if len(g.ready) > 0 {
		g.state, g.lastErr = connectivity.Ready, ""
	} else if err := connectError(children); err != "" {
		g.lastErr = err
	}
	if before == connectivity.Ready && g.state != before {
		g.since = now
	}
	return g.ward.connected(members, now)
}

// pickerLocked returns what chooses instances for calls, as things are.
func (p *policy) pickerLocked() *picker {
	p.groupLocked(plain) // it is always there
	k := &picker{
		policy: p, config: p.config, note: p.noteLocked(), index: p.index, demand: p.roster.demand,
		tags: sync.OnceValue(p.index.tags), pools: make(map[class]*pool, len(p.groups)),
	}
	for c, g := range p.groups {
		k.pools[c] = g.pool()
		if len(g.ready) == 0 {
			k.pools[c].wait = p.waiterLocked(c, g)
		}
	}
	k.plain = k.pools[plain]
	return k
}

func (g *group) pool() *pool {
	o := &pool{ready: make([]choice, len(g.ready)), ward: g.ward}
	for n, child := range g.ready {
		o.ready[n].member, o.ready[n].picker = memberOf(child.Endpoint), child.State.Picker
	}
	return o
}

func (p *policy) waiterLocked(c class, g *group) *waiter {
	return &waiter{
		policy:     p,
		class:      c,
		connecting: g.state != connectivity.TransientFailure,
		since:      g.since,
		config:     p.config,
		note:       p.noteLocked(),
		lastErr:    g.lastErr,
	}
}
