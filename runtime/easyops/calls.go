package easyops

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ignoredAfter is how long after its context has ended a handler counts as one
// that ignores it.
const ignoredAfter = 10 * time.Second

// calls are the calls in flight. They are listed, so that a stop can end what
// is left and name it, and so that a request that never arrives is noticed.
type calls struct {
	max      [classes]int64
	n        [classes]atomic.Int64
	ignoring atomic.Int64 // handlers that ignore the end of their context
	shards   [shards]shard
	timeout  time.Duration // for the request of a unary call to arrive
	log      *slog.Logger
	spawn    func(func()) // runs a goroutine of the server's
}

const shards = 16

// shard is a part of the calls. Calls choose theirs at random, so that few
// meet at its lock.
type shard struct {
	mu   sync.Mutex
	head call // the list's two ends
	_    [64]byte
}

func newCalls(l Limits, log *slog.Logger, spawn func(func())) *calls {
	cs := &calls{timeout: l.RequestTimeout, log: log, spawn: spawn}
	cs.max = [classes]int64{
		unary: int64(l.Calls), waiting: 4 * int64(l.Calls), streaming: int64(l.Streams),
		ownUnary: maxOfRuntime, ownWaiting: 4 * maxOfRuntime, ownStreaming: maxOfRuntime,
	}
	for i := range cs.shards {
		h := &cs.shards[i].head
		h.next, h.prev = h, h
	}
	return cs
}

// class is a kind of call with a bound of its own, so that one kind cannot
// take the room of another: a busy server is not a sick one, those who watch its
// health must not make it busy, and who sends no request keeps nobody out.
type class int8

const (
	unary     class = iota
	waiting         // unary, and the request has not arrived
	streaming       // HTTP requests too: either may last
	ownUnary        // the same for calls of the runtime's own methods
	ownWaiting
	ownStreaming
	classes
)

// own is how far the class of a runtime's own call is from that of a user's.
const own = ownUnary - unary

// firstClass returns the class in which calls of the method begin.
func (m *method) firstClass() class {
	class := waiting
	if m.stream {
		class = streaming
	}
	if m.ours {
		class += own
	}
	return class
}

const (
	// maxOfRuntime is how many calls of each of the runtime's own classes may
	// be in flight.
	maxOfRuntime = 1000
	// shortTimeout is the time for a request to arrive where it must not take
	// longer: for the runtime's own methods, and when many are waited for.
	shortTimeout = 2 * time.Second
)

// enter counts a call in a class, unless that is full.
func (cs *calls) enter(c *call, to class) bool {
	if cs.n[to].Add(1) > cs.max[to] {
		cs.n[to].Add(-1)
		return false
	}
	c.class = to
	return true
}

// add lists a call, unless there are too many of its class, or no room for it
// when its request arrives.
func (cs *calls) add(c *call) bool {
	first := c.method.firstClass()
	if then := first - (waiting - unary); !c.method.stream && cs.n[then].Load() >= cs.max[then] || !cs.enter(c, first) {
		return false
	}
	c.dice, c.listed = rand.Uint32(), true
	s := cs.shardOf(c)
	s.mu.Lock()
	h := &s.head
	c.next, c.prev = h.next, h
	h.next.prev, h.next = c, c
	s.mu.Unlock()
	return true
}

func (cs *calls) shardOf(c *call) *shard { return &cs.shards[c.dice%shards] }

// arrived moves a unary call whose request has arrived to where the bound on
// calls is, unless that is full.
func (cs *calls) arrived(c *call) bool {
	before := c.class
	if !cs.enter(c, before-(waiting-unary)) {
		return false
	}
	cs.n[before].Add(-1)
	c.arrived.Store(true)
	return true
}

func (cs *calls) remove(c *call) {
	if !c.listed {
		return
	}
	s := cs.shardOf(c)
	s.mu.Lock()
	c.prev.next, c.next.prev = c.next, c.prev
	if c.ignores {
		cs.ignoring.Add(-1)
	}
	s.mu.Unlock()
	cs.n[c.class].Add(-1)
}

// inFlight returns how many calls have begun and not ended.
func (cs *calls) inFlight() (n int64) {
	for i := range cs.n {
		n += cs.n[i].Load()
	}
	return n
}

// each calls f for every call in flight. A call does not end while f looks at it.
func (cs *calls) each(f func(*call)) {
	for i := range cs.shards {
		s := &cs.shards[i]
		s.mu.Lock()
		for c := s.head.next; c != &s.head; c = c.next {
			f(c)
		}
		s.mu.Unlock()
	}
}

// everySecond calls look once a second until the context ends.
func everySecond(ctx context.Context, look func(now time.Time)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			look(now)
		}
	}
}

// look ends the calls whose request does not arrive, and names the handlers that
// go on though their call is over.
func (cs *calls) look(now time.Time) {
	patience := cs.timeout
	if cs.n[waiting].Load() > cs.max[unary] {
		patience = min(patience, shortTimeout)
	}
	cs.endSilent(now, ofUsers, patience)
	cs.endSilent(now, ofRuntime, min(cs.timeout, shortTimeout))
	var deaf []*call
	cs.each(func(c *call) {
		if cs.notice(c, now) {
			deaf = append(deaf, c)
		}
	})
	for _, c := range deaf {
		cs.log.Warn("handler ignores the end of its call", "method", c.method.name, "peer", c.peer(), "duration", now.Sub(c.start()).Round(time.Second))
	}
}

func ofUsers(c *call) bool   { return !c.method.ours }
func ofRuntime(c *call) bool { return c.method.ours }

// endSilent ends the calls whose request has not arrived in time.
func (cs *calls) endSilent(now time.Time, which func(*call) bool, patience time.Duration) {
	late := status.Newf(codes.DeadlineExceeded, "the request did not arrive within %v", patience)
	cs.abort(late, func(c *call) bool { return which(c) && c.isSilent() && now.Sub(c.start()) > patience })
}

// notice tells whether a handler ignores the end of its call's context, once.
func (cs *calls) notice(c *call, now time.Time) bool {
	if c.Err() == nil || c.ignores {
		return false
	}
	age := now.Sub(c.start())
	if c.over == 0 {
		c.over = age
	}
	c.ignores = age-c.over > ignoredAfter
	if c.ignores {
		cs.ignoring.Add(1)
	}
	return c.ignores
}

// end ends the calls for which which returns true, because the server stops.
func (cs *calls) end(which func(*call) bool) { cs.abort(statusDraining, which) }

var statusDraining = status.New(codes.Unavailable, "server draining")

// ended waits until no call is in flight, or the context ends.
func (cs *calls) ended(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for cs.inFlight() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// names describes the calls that are left, for the log and for Wait's error.
func (cs *calls) names() (names []string) {
	cs.each(func(c *call) {
		names = append(names, fmt.Sprintf("%s from %s, %v old", c.method.name, c.peer(), c.age().Round(time.Millisecond)))
	})
	return names
}

// abort ends those calls with a status for which which returns true, each in a
// goroutine of its own: on the ServeHTTP path it takes until the client reads,
// or its connection is closed.
func (cs *calls) abort(st *status.Status, which func(*call) bool) {
	var found []*call
	cs.each(func(c *call) {
		if c.ended.Load() == nil && which(c) {
			found = append(found, c)
		}
	})
	for _, c := range found {
		cs.spawn(func() { c.abort(st) })
	}
}

// abort ends a call with a status while its handler runs, unless it was ended
// before. The handler's context ends, and what it returns reaches no one.
//
// grpc-go has no call for this. Its stream has the method that it uses itself
// when a handler returns; where that is missing the handler's context still
// ends with the connection.
func (c *call) abort(st *status.Status) {
	if !c.ended.CompareAndSwap(nil, st) {
		return
	}
	if c.method.http {
		c.cancel()
		return
	}
	s, ok := grpc.ServerTransportStreamFromContext(c.Context).(interface{ WriteStatus(*status.Status) error })
	if !ok {
		c.method.server.log.Warn("this version of grpc-go does not let the runtime end a call: it goes on until its connection closes", "method", c.method.name)
		return
	}
	_ = s.WriteStatus(st) // fails only where the connection is gone
}
