package routing

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/resolver"
)

type fixedPicker struct{}

func (fixedPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{}, nil
}

// newPool returns the pool of some instances.
func newPool(n int) *pool {
	r := newRoster()
	g := &group{ward: &ward{roster: r}}
	endpoints := make([]resolver.Endpoint, n)
	for k := range endpoints {
		endpoints[k].Addresses = []resolver.Address{{Addr: fmt.Sprint("h", k, ":1")}}
	}
	var children []endpointsharding.ChildState
	for _, e := range r.adopt(endpoints) {
		children = append(children, endpointsharding.ChildState{
			Endpoint: e, State: balancer.State{ConnectivityState: connectivity.Ready, Picker: fixedPicker{}},
		})
	}
	g.take(children, time.Now())
	return g.pool()
}

var answered = balancer.DoneInfo{BytesSent: true, BytesReceived: true}

// A plain call needs no memory for its choice.
func TestPlainCallsCostNothing(t *testing.T) {
	p := &picker{plain: newPool(3)}
	info := balancer.PickInfo{Ctx: t.Context()}
	if n := testing.AllocsPerRun(1000, func() {
		r, err := p.Pick(info)
		if err != nil {
			t.Fatal(err)
		}
		r.Done(answered)
	}); n >= 1 { // the race detector empties pools at times
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 3, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := &picker{plain: newPool(n)}
			info := balancer.PickInfo{Ctx: context.WithValue(b.Context(), userKey{}, "x")}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, _ := p.Pick(info)
					r.Done(answered)
				}
			})
		})
	}
}

// An instance that was away does not get all of the calls until it had as many
// turns as others.
func TestTurns(t *testing.T) {
	p := newPool(2)
	a, b := &p.ready[0], &p.ready[1]
	a.member.turns.Store(1000)
	now, got := time.Now(), 0
	for range 100 {
		if less(a, b, false, now) == b {
			got++
		}
	}
	if got < 50 || got > 50+behind {
		t.Errorf("it gets %d of 100", got)
	}
}

// Of those that a call was at and those that are out, none is taken while there is
// another one, and one is all the same where there is none.
func TestChoose(t *testing.T) {
	now := time.Now()
	p := newPool(4)
	m := func(n int) *member { return p.ready[n].member }
	for range maxRun {
		p.ward.done(m(0), now, result{outcome: broken})
	}
	c := &call{resendable: true}
	c.try(m(1))
	c.try(m(2))
	for range 100 {
		if got, trial := p.choose(c, false, now); got.member != m(3) || trial {
			t.Fatal("another one than the only one that is fit")
		}
	}
	c.try(m(3))
	for range 100 {
		if got, _ := p.choose(c, false, now); got.member == m(0) {
			t.Fatal("the one that is out, rather than one that the call was at")
		}
	}
	now = now.Add(firstEjection)
	if got, trial := p.choose(c, false, now); got.member != m(0) || !trial {
		t.Error("not the one that is on trial")
	}
	if got, trial := p.choose(c, false, now); got.member == m(0) || trial {
		t.Error("a second call for the trial")
	}
}

type noPicker struct{}

func (noPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
}

// A trial that does not come about is another call's.
func TestTrialIsGivenBack(t *testing.T) {
	p := newPool(2)
	bad := &p.ready[0]
	now := time.Now()
	for range maxRun {
		p.ward.done(bad.member, now, result{outcome: broken})
	}
	now = now.Add(firstEjection)
	for bad.picker = (noPicker{}); ; {
		if _, err := p.pick(balancer.PickInfo{Ctx: t.Context()}, nil, now); err != nil {
			break
		}
	}
	if !p.ward.admit(bad.member, now, false) {
		t.Error("the trial is lost")
	}
}

// TestTurnsStay: a new picker goes on where the last one was.
func TestTurnsStay(t *testing.T) {
	p := newPool(2)
	p.ready[0].member.turns.Store(1000)
	g := &group{ward: p.ward}
	for _, c := range p.ready {
		e := resolver.Endpoint{Attributes: c.member.mark(resolver.Endpoint{}).Attributes}
		g.ready = append(g.ready, endpointsharding.ChildState{Endpoint: e, State: balancer.State{Picker: c.picker}})
	}
	next := g.pool()
	if less(&next.ready[0], &next.ready[1], false, time.Now()) == &next.ready[0] {
		t.Error("the turns are forgotten")
	}
}

// told is a connection that takes pickers.
type told struct {
	balancer.ClientConn
	n int
}

func (c *told) UpdateState(balancer.State) { c.n++ }

// TestLearnsWhileConnectionsChange: see it with -race.
func TestLearnsWhileConnectionsChange(t *testing.T) {
	cc := &told{}
	p := newPolicy(cc, balancer.BuildOptions{}).(*policy)
	defer p.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			p.take(balancer.State{ConnectivityState: connectivity.Ready, Picker: fixedPicker{}})
		}
	}()
	for range 100 {
		s := resolver.State{}
		s.Attributes = s.Attributes.WithValue(rosterKey{}, newRoster())
		p.learn(balancer.ClientConnState{ResolverState: s})
	}
	<-done
	if cc.n != 100 {
		t.Errorf("%d pickers", cc.n)
	}
}
