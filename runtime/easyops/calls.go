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

	"github.com/go-easyops/easyops/runtime/port"
)

// ignoredAfter is how long after its context has ended a handler counts as one
// that ignores it.
const ignoredAfter = 10 * time.Second

// calls are the calls in flight. They are listed, so that a stop can end what
// is left and name it, and so that a request that never arrives is noticed.
type calls struct {
	max      [classes]int64
	rooms    [classes]room
	ignoring atomic.Int64 // handlers that ignore the end of their context
	shards   []shard
	near     sync.Pool     // of shards: what this processor put there last
	turns    atomic.Uint32 // through the shards, for processors that have none
	timeout  time.Duration // for the request of a unary call to arrive
	log      *slog.Logger
	spawn    func(func()) // runs a goroutine of the server's
}

// shard is a part of the calls. Each processor has one that it takes mostly, so
// that few meet at its lock, and what it guards stays in the processor's cache.
type shard struct {
	mu    sync.Mutex
	head  call           // the list's two ends, with a flight
	n     [classes]int64 // calls that are listed here
	spare [classes]int64 // room that was taken for more
	idle  *flight        // for calls to come
	part  uint8          // of metrics, and of calls.shards
	_     [64]byte
}

// newCalls lists calls in so many shards, which are 256 at most.
func newCalls(l Limits, parts int, log *slog.Logger, spawn func(func())) *calls {
	cs := &calls{shards: make([]shard, parts), timeout: l.RequestTimeout, log: log, spawn: spawn}
	cs.max = [classes]int64{
		unary: int64(l.Calls), waiting: 4 * int64(l.Calls), streaming: int64(l.Streams),
		ownUnary: maxOfRuntime, ownWaiting: 4 * maxOfRuntime, ownStreaming: maxOfRuntime,
	}
	for k, most := range cs.max {
		cs.rooms[k].init(most, parts)
	}
	for i := range cs.shards {
		s := &cs.shards[i]
		s.part, s.head.flight = uint8(i), &flight{}
		s.head.next, s.head.prev = &s.head, &s.head
	}
	cs.near.New = func() any { return &cs.shards[int(cs.turns.Add(1))%len(cs.shards)] }
	return cs
}

const (
	// maxOfRuntime is how many calls of each of the runtime's own classes may
	// be in flight.
	maxOfRuntime = 1000
	// shortTimeout is the time for a request to arrive where it must not take
	// longer: for the runtime's own methods, and when many are waited for.
	shortTimeout = 2 * time.Second
)

// board gives a call a flight and adds it.
func (cs *calls) board(c *call, begun time.Duration, use *port.Use) bool {
	s := cs.nearest()
	s.mu.Lock()
	c.flight = s.newFlight()
	c.of, c.begun, c.use = c, begun, use
	s.label(c)
	full, ok := cs.addLocked(s, c)
	s.mu.Unlock()
	if ok || !cs.gather(full) {
		return ok
	}
	return cs.addTo(s, c)
}

// land removes a call and takes its flight back. Who looks at that later, by a context
// that was kept, ends with a nil dereference and not with another call's.
func (cs *calls) land(c *call) {
	s := cs.shardOf(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	cs.removeLocked(s, c)
	s.keep(c.flight)
	c.flight = nil
}

// add lists a call that has a flight of its own, unless there are too many of its class,
// or no room for it when its request arrives.
func (cs *calls) add(c *call) bool {
	if c.flight == nil {
		c.flight = &flight{}
	}
	s := cs.nearest()
	s.label(c)
	return cs.addTo(s, c)
}

// label says where a call is listed and counted.
func (s *shard) label(c *call) {
	c.dice, c.part, c.class = rand.Uint32(), s.part, c.method.firstClass()
}

// nearest returns the shard that the processor has used before.
func (cs *calls) nearest() *shard {
	s := cs.near.Get().(*shard)
	cs.near.Put(s)
	return s
}

func (cs *calls) addTo(s *shard, c *call) bool {
	for {
		s.mu.Lock()
		full, ok := cs.addLocked(s, c)
		s.mu.Unlock()
		if ok || !cs.gather(full) {
			return ok
		}
	}
}

// addLocked names the class that has no room here.
func (cs *calls) addLocked(s *shard, c *call) (full class, ok bool) {
	if !c.method.stream && !cs.hasRoom(s, c.class.arrived()) {
		return c.class.arrived(), false
	}
	if !cs.enter(s, c.class) {
		return c.class, false
	}
	h := &s.head
	c.next, c.prev = h.next, h
	h.next.prev, h.next = c, c
	c.listed = true
	return 0, true
}

// arrived moves a unary call whose request has arrived to where the bound on
// calls is, unless that is full.
func (cs *calls) arrived(c *call) bool {
	s := cs.shardOf(c)
	for {
		s.mu.Lock()
		full, ok := cs.arriveLocked(s, c)
		s.mu.Unlock()
		if ok || !cs.gather(full) {
			return ok
		}
	}
}

func (cs *calls) arriveLocked(s *shard, c *call) (full class, ok bool) {
	if c.arrived.Load() { // it decodes a second time, which gRPC does not let it
		return 0, true
	}
	to := c.class.arrived()
	if !cs.enter(s, to) {
		return to, false
	}
	cs.leave(s, c.class)
	c.class = to
	c.arrived.Store(true)
	return 0, true
}

func (cs *calls) remove(c *call) {
	s := cs.shardOf(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	cs.removeLocked(s, c)
}

func (cs *calls) removeLocked(s *shard, c *call) {
	if !c.listed {
		return
	}
	c.prev.next, c.next.prev = c.next, c.prev
	if c.ignores {
		cs.ignoring.Add(-1)
	}
	cs.leave(s, c.class)
}

func (cs *calls) shardOf(c *call) *shard { return &cs.shards[c.part] }

// inFlight returns how many calls have begun and not ended.
func (cs *calls) inFlight() (n int64) {
	for k := range classes {
		n += cs.count(k)
	}
	return n
}

// count returns how many calls of a class are listed.
func (cs *calls) count(k class) (n int64) {
	for i := range cs.shards {
		s := &cs.shards[i]
		s.mu.Lock()
		n += s.n[k]
		s.mu.Unlock()
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
	if cs.count(waiting) > cs.max[unary] {
		patience = min(patience, shortTimeout)
	}
	cs.endSilent(now, ofUsers, patience)
	cs.endSilent(now, ofRuntime, min(cs.timeout, shortTimeout))
	deaf := map[*call]time.Duration{}
	cs.each(func(c *call) {
		if cs.notice(c, now) {
			deaf[c] = now.Sub(c.start())
		}
	})
	for c, age := range deaf {
		cs.log.Warn("handler ignores the end of its call", "method", c.method.name, "peer", c.peer(), "duration", age.Round(time.Second))
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
