package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

const (
	// maxCalls bounds the gRPC calls of one caller that are under way, and those that
	// it cancels in resetWindow. It is a quarter of what the connections to a service
	// bear, where its servers take 250 calls at a time on a connection.
	maxCalls = maxConns * 250 / 4
	// maxResets is how many calls of a Conn are cancelled in resetWindow before others
	// go elsewhere. Servers of easyops close a connection of which 1,000 calls were
	// cancelled within 10 s, which are at most two such windows.
	maxResets   = 250
	resetWindow = 10 * time.Second
	// hasty is how long a call must last, and before its deadline end, that its end
	// was the deadline, and not a cancellation.
	hasty = 10 * time.Millisecond
)

// resets is how many calls were cancelled since a time: as HTTP/2 has it, a RST_STREAM
// for each.
type resets struct {
	since time.Time
	n     int
}

func (r *resets) add(now time.Time) {
	if now.Sub(r.since) > resetWindow {
		*r = resets{since: now}
	}
	r.n++
}

func (r *resets) recent(now time.Time) int {
	if now.Sub(r.since) > resetWindow {
		return 0
	}
	return r.n
}

// gaveUp tells whether the client of a call has cancelled it, or given it no time, which
// does the same. One whose deadline has passed in its time is none.
func gaveUp(ctx context.Context, begun time.Time) bool {
	if ctx.Err() == nil {
		return false
	}
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > hasty || time.Since(begun) < hasty
}

// shares bounds what one caller has of the connections that all share. Its methods may
// be called concurrently.
type shares struct {
	mu    sync.Mutex
	all   map[string]*share // by caller
	swept time.Time
}

// share is what a caller has of them.
type share struct {
	calls  int
	resets resets
}

var (
	errTooManyCalls  = fmt.Errorf("the caller has %d calls under way, which is as many as one may have", maxCalls)
	errTooManyResets = fmt.Errorf("the caller has cancelled %d calls within %v, which is as many as one may", maxCalls, resetWindow)
)

// begin counts a call, unless its caller has its share already. Whoever begins it calls
// end, and says whether it was cancelled.
func (c *shares) begin(who string) (end func(reset bool), err error) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweepLocked(now)
	s := c.all[who]
	switch {
	case s == nil:
		s = &share{}
		c.all[who] = s
	case s.calls >= maxCalls:
		return nil, errTooManyCalls
	case s.resets.recent(now) >= maxCalls:
		return nil, errTooManyResets
	}
	s.calls++
	return func(reset bool) { c.end(s, reset) }, nil
}

func (c *shares) end(s *share, reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.calls--
	if reset {
		s.resets.add(time.Now())
	}
}

// sweepLocked forgets callers without calls, now and then.
func (c *shares) sweepLocked(now time.Time) {
	if now.Sub(c.swept) < resetWindow {
		return
	}
	c.swept = now
	for who, s := range c.all {
		if s.calls == 0 && s.resets.recent(now) == 0 {
			delete(c.all, who)
		}
	}
}

// callerOf says who makes a call: the user, else the service, else the address, of IPv6
// the network, which is one customer's.
func callerOf(ctx context.Context) string {
	if u := auth.User(ctx); u != nil {
		return fmt.Sprintf("user %q %q", u.Issuer, u.ID)
	}
	if s := auth.Service(ctx); s != nil {
		return fmt.Sprintf("service %q %q", s.Issuer, s.ID)
	}
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	return networkOf(p.Addr)
}

func networkOf(addr net.Addr) string {
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return addr.String()
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}

// tooMuch is the answer to a call whose caller has its share already.
func (g *grpcRoute) tooMuch(err error, who string) error {
	g.tally.fail(g.log, "calls refused: their caller has its share already", err, "route", g.route.Name, "caller", who)
	if errors.Is(err, errTooManyResets) {
		return status.Errorf(codes.ResourceExhausted, "you have cancelled %d calls within %v: try again later", maxCalls, resetWindow)
	}
	return status.Errorf(codes.ResourceExhausted, "you have %d calls under way: end some first", maxCalls)
}
