package routing

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// policyName is the name of our balancer in service configs. gRPC finds
// balancers by name in a registry of the process, which only init may write.
const policyName = "easyops_less_loaded"

func init() { balancer.Register(policyBuilder{}) }

// policyConfig is what a Conn tells its balancer: with its service config, and
// with calls that may have to wait before that has come.
type policyConfig struct {
	serviceconfig.LoadBalancingConfig `json:"-"`

	Service string        `json:"service"`
	Source  string        `json:"source"`
	MaxWait time.Duration `json:"maxWait"`
	Dialled string        `json:"dialled"` // what shows that it is from Dial
}

// policyBuilder makes policies for connections of [Dial], and of no others, whether
// there was a Dial before or not. What init registers is linked into every program, and
// by way of a function that Dial sets a program which only serves does not link all this.
type policyBuilder struct{}

// dialling is what the first Dial of a process sets.
type dialling struct {
	mark       string // in the configs of Dial: others cannot know it
	makePolicy func(balancer.ClientConn, balancer.BuildOptions) balancer.Balancer
}

var dialled atomic.Pointer[dialling]

// linkPolicy has the policy linked, and returns the mark.
func linkPolicy() string {
	if dialled.Load() == nil {
		dialled.CompareAndSwap(nil, &dialling{rand.Text(), newPolicy})
	}
	return dialled.Load().mark
}

var errNotDialled = errors.New(policyName + ": is for connections that easyops dials")

func (policyBuilder) Name() string { return policyName }

// ParseConfig implements [balancer.ConfigParser].
func (policyBuilder) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	c := &policyConfig{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", policyName, err)
	}
	if by := dialled.Load(); by == nil || c.Dialled != by.mark {
		return nil, errNotDialled
	}
	return c, nil
}

// Build implements [balancer.Builder].
func (policyBuilder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	if by := dialled.Load(); by != nil {
		return by.makePolicy(cc, opts)
	}
	return strangers{cc} // of somebody's own policy, which has parsed no config
}

// strangers fails the calls of connections that are not [Dial]'s.
type strangers struct{ cc balancer.ClientConn }

// UpdateClientConnState implements [balancer.Balancer].
func (s strangers) UpdateClientConnState(balancer.ClientConnState) error {
	s.cc.UpdateState(balancer.State{ConnectivityState: connectivity.TransientFailure, Picker: base.NewErrPicker(errNotDialled)})
	return nil
}

// ResolverError implements [balancer.Balancer].
func (s strangers) ResolverError(error) { _ = s.UpdateClientConnState(balancer.ClientConnState{}) }

// UpdateSubConnState implements [balancer.Balancer]. It is not called.
func (strangers) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle implements [balancer.Balancer].
func (strangers) ExitIdle() {}

// Close implements [balancer.Balancer].
func (strangers) Close() {}

func newPolicy(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	p := &policy{
		cc: cc, config: &policyConfig{MaxWait: DefaultMaxWait}, roster: newRoster(),
		state: connectivity.Connecting, groups: map[class]*group{},
	}
	p.alarm = time.AfterFunc(time.Hour, p.look)
	p.alarm.Stop()
	p.shards = endpointsharding.NewBalancer(&sink{ClientConn: cc, policy: p}, opts,
		buildRenewable, endpointsharding.Options{})
	return p
}

// sink takes the states of the balancer inside.
type sink struct {
	balancer.ClientConn
	policy *policy
}

func (s *sink) UpdateState(state balancer.State) { s.policy.take(state) }

// NewSubConn implements [balancer.ClientConn].
func (s *sink) NewSubConn(addrs []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	sc, err := s.ClientConn.NewSubConn(addrs, opts) //nolint:staticcheck // it passes on what gRPC's own balancer asks for
	if err != nil {
		return nil, err
	}
	return &lingering{sc}, nil
}

// linger is how long a connection that is not chosen any more takes calls that
// had chosen it before. A call that begins on one that gRPC is shutting down may
// wait until its last stream ends.
const linger = 10 * time.Second

type lingering struct{ balancer.SubConn }

// Shutdown implements [balancer.SubConn].
func (l *lingering) Shutdown() { time.AfterFunc(linger, l.SubConn.Shutdown) }

// policy finds an instance for each call, by gRPC's own balancers that make the
// connections. While there is none it makes calls wait, each for its time.
type policy struct {
	cc     balancer.ClientConn
	shards balancer.Balancer // a connection for each instance

	mu       sync.Mutex
	config   *policyConfig
	closed   bool
	note     string             // what the resolver has to say, where it is not our own
	failures *failures          // nil where the resolver is not ours
	roster   *roster            // its own where the resolver is not ours
	index    *index             // nil where there is no registry
	state    connectivity.State // READY: there is an instance to call
	groups   map[class]*group   // of the classes that are connected
	alarm    *time.Timer        // when the next waiting call gives up
	alarmAt  time.Time          // zero while it is not set
	notified time.Time          // when the calls were last made to look
}

// UpdateClientConnState implements [balancer.Balancer]. An empty list is not
// news to act on: the resolver is asked again, the known instances are kept.
func (p *policy) UpdateClientConnState(s balancer.ClientConnState) error {
	if s.BalancerConfig == nil {
		p.mu.Lock()
		p.closed = true // has nothing more to say
		p.mu.Unlock()
		return strangers{p.cc}.UpdateClientConnState(s)
	}
	found := &s.ResolverState
	p.learn(s)
	if len(found.Endpoints) == 0 {
		p.look()
		return balancer.ErrBadResolverState
	}
	if memberOf(found.Endpoints[0]) == nil { // from one of gRPC's own resolvers
		found.Endpoints = p.roster.adopt(found.Endpoints)
	}
	s.BalancerConfig = nil // the balancers inside have none
	return p.shards.UpdateClientConnState(s)
}

// learn notes what comes with the instances.
func (p *policy) learn(s balancer.ClientConnState) {
	with := s.ResolverState.Attributes
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := s.BalancerConfig.(*policyConfig); ok {
		p.config = c
	}
	p.note, _ = with.Value(noteKey{}).(string)
	if p.note == "" { // from one of gRPC's own resolvers
		p.note = fmt.Sprintf("%s resolves to %d addresses", p.config.Source, len(s.ResolverState.Endpoints))
	}
	p.failures, _ = with.Value(failuresKey{}).(*failures)
	p.index, _ = with.Value(indexKey{}).(*index)
	if r, ok := with.Value(rosterKey{}).(*roster); ok && r != p.roster {
		p.roster = r
	}
}

// noteLocked returns what there is to say of where the instances come from.
func (p *policy) noteLocked() string {
	if note := p.roster.note.Load(); note != nil {
		return *note
	}
	return p.note
}

// ResolverError implements [balancer.Balancer].
func (p *policy) ResolverError(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note = err.Error()
	p.pushLocked()
}

// UpdateSubConnState implements [balancer.Balancer]. It is not called.
func (p *policy) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle implements [balancer.Balancer].
func (p *policy) ExitIdle() { p.shards.ExitIdle() }

// Close implements [balancer.Balancer].
func (p *policy) Close() {
	p.mu.Lock()
	p.closed = true
	p.alarm.Stop()
	p.mu.Unlock()
	p.shards.Close()
	p.roster.notReady(p)
	p.roster.rest()
}

// take takes in how the connections are.
func (p *policy) take(s balancer.State) {
	children := endpointsharding.ChildStatesFromPicker(s.Picker)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if p.failures != nil { // the log is told of them, also while there are others
		p.failures.note(children)
	}
	p.state = s.ConnectivityState
	p.roster.told.tell(p.sortLocked(children)...)
	p.pushLocked()
}

// pushLocked tells the calls where to go, and makes those that wait look again.
func (p *policy) pushLocked() {
	if p.closed {
		return
	}
	picker, state := p.pickerLocked(), p.state
	if len(p.groups) == 1 && !p.groups[plain].known {
		state = connectivity.TransientFailure
	}
	ready := len(picker.plain.ready) > 0
	if !ready {
		p.roster.notReady(p)
	}
	p.notified, p.alarmAt = time.Now(), time.Time{}
	p.cc.UpdateState(balancer.State{ConnectivityState: state, Picker: picker})
	if ready { // from now on calls have the picker
		p.roster.ready.Store(p)
	}
}

// look is called by the alarm.
func (p *policy) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushLocked()
}

// lookInterval bounds how often the waiting calls are made to look, all at
// once, and so how long one waits beyond its time.
const lookInterval = 50 * time.Millisecond

// lookAt makes the waiting calls look at that time, or soon after.
func (p *policy) lookAt(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if earliest := p.notified.Add(lookInterval); t.Before(earliest) {
		t = earliest
	}
	if p.closed || !p.alarmAt.IsZero() && !t.Before(p.alarmAt) {
		return
	}
	p.alarmAt = t
	p.alarm.Reset(time.Until(t))
}
