package routing

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/go-easyops/easyops/runtime/registry"
)

// member is one instance that calls of a Conn go to. It outlives the balancer,
// which gRPC drops when the connection is idle.
type member struct {
	class class
	load  workload
	out   atomic.Bool  // as the record says
	turns atomic.Int64 // how often it was taken, for instances that are alike

	reached atomic.Bool // there was a connection, once

	mu        sync.Mutex
	instance  registry.Instance // with a target only the address
	spare     bool
	state     connectivity.State
	since     time.Time // of the state
	lastErr   string    // of a connection
	calls     uint64
	failures  uint64
	ejections uint64
	average   average
	record    record
	lost      time.Time // when a call was, with the connection
}

type memberKey struct{}

// memberOf returns the instance that an endpoint is, or nil.
func memberOf(e resolver.Endpoint) *member {
	m, _ := e.Attributes.Value(memberKey{}).(*member)
	return m
}

// endpoint returns the instance as gRPC takes it.
func (m *member) endpoint() resolver.Endpoint {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark(resolver.Endpoint{Addresses: []resolver.Address{{Addr: m.instance.Addr}}})
}

func (m *member) mark(e resolver.Endpoint) resolver.Endpoint {
	e.Attributes = e.Attributes.WithValue(memberKey{}, m)
	return e
}

// connection takes in the state of the connection, and reports whether the
// instance is one of those that calls should go to and can.
func (m *member) connection(s connectivity.State, err error, now time.Time) (reached bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != s {
		m.state, m.since = s, now
	}
	if err != nil {
		m.lastErr = causeOf(err)
	}
	if s == connectivity.Ready {
		m.reached.Store(true)
	}
	return s == connectivity.Ready && !m.spare
}

// roster has the instances that calls go to, and which classes they ask for. It
// is the Conn's, and handed to each of its balancers.
type roster struct {
	demand    *demand
	told      *notices                // nil for no log
	allowed   func(connected int) int // how many instances of a class may be out
	ejections atomic.Uint64
	ready     atomic.Pointer[policy] // the balancer by which plain calls find an instance at once
	balanced  atomic.Bool            // a balancer says when that is so
	note      atomic.Pointer[string] // what the finder has to say; nil for none

	mu      sync.Mutex
	members map[string]*member
}

type rosterKey struct{}

func newRoster() *roster {
	return &roster{demand: newDemand(), allowed: allowed, members: map[string]*member{}}
}

// place is an instance and the class that it is of.
type place struct {
	class    class
	instance registry.Instance
	spare    bool // it is chosen because no other one can be reached
}

// set makes these the instances of the roster. One that was known stays who it
// is, with what is known of it.
func (r *roster) set(places []place) []*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.members
	r.members = make(map[string]*member, len(places))
	all := make([]*member, 0, len(places))
	for _, p := range places {
		key := p.instance.ID + "\x00" + p.instance.Addr + "\x00" + string(p.class)
		m := cmp.Or(r.members[key], before[key])
		if m == nil {
			m = &member{class: p.class, state: connectivity.Idle, since: time.Now()}
		}
		m.mu.Lock()
		m.instance, m.spare = p.instance, p.spare
		m.mu.Unlock()
		r.members[key] = m
		all = append(all, m)
	}
	return all
}

// adopt makes members of endpoints that are not from a registry.
func (r *roster) adopt(endpoints []resolver.Endpoint) []resolver.Endpoint {
	places := make([]place, len(endpoints))
	for n, e := range endpoints {
		if len(e.Addresses) > 0 {
			places[n].instance.Addr = e.Addresses[0].Addr
		}
	}
	members := r.set(places)
	marked := make([]resolver.Endpoint, len(endpoints))
	for n, e := range endpoints {
		marked[n] = members[n].mark(e)
	}
	return marked
}

// all returns the members.
func (r *roster) all() []*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*member, 0, len(r.members))
	for _, m := range r.members {
		all = append(all, m)
	}
	return all
}

// notReady notes that plain calls have to wait, as far as a balancer knows. It may be
// an old one, and another one in its place.
func (r *roster) notReady(p *policy) {
	r.balanced.Store(true)
	r.ready.CompareAndSwap(p, nil)
}

// rest notes that nothing is connected any more.
func (r *roster) rest() {
	now := time.Now()
	for _, m := range r.all() {
		m.connection(connectivity.Idle, nil, now)
	}
}
