package routing

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

type callKey struct{}

// call is what the balancer has to know of a call that is not like most. It is that
// of one call, but contexts with it get around: to interceptors and token sources,
// and as that of a stream to whoever has the stream. So who calls with one gets a
// record of its own, also over another Conn; and an interceptor may send the call
// several times at once.
type call struct {
	context.Context // the call's own

	start    time.Time
	failFast bool
	config   *policyConfig
	stream   bool
	owner    class // of the user's own instances; plain for none
	tags     class // plain for none
	fallback bool  // from these to plain

	resendable bool // it may be sent more than once
	tries      atomic.Int32
	tried      [attempts]atomic.Pointer[member] // the last ones
}

// Value implements [context.Context].
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// callOf returns what there is to know of a call, or nil.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// missed reports whether the call was at the instance already.
func (c *call) missed(m *member) bool {
	if c == nil || !c.resendable {
		return false
	}
	for n := range c.tried {
		if c.tried[n].Load() == m {
			return true
		}
	}
	return false
}

// try notes that the call goes to the instance.
func (c *call) try(m *member) {
	if c != nil && c.resendable {
		c.tried[uint32(c.tries.Add(1)-1)%attempts].Store(m)
	}
}

// stamp notes what is special about a call: that it may have to wait, that it
// goes to some instances only, that it may be sent again, or that it is a stream;
// or that the context has the record of another call, which is not its own. For
// others it costs nothing.
func (c *Conn) stamp(ctx context.Context, method string, stream bool, opts []grpc.CallOption) context.Context {
	tags, fallback := tagsOf(ctx)
	owner := c.ownerOf(ctx)
	resendable := c.resendable[method]
	if !stream && !resendable && tags == plain && owner == plain && c.plainReady() && callOf(ctx) == nil {
		return ctx
	}
	s := &call{
		Context: ctx, start: clock(), config: c.policy, stream: stream,
		owner: owner, tags: tags, fallback: fallback, resendable: resendable,
	}
	for _, o := range opts {
		if o, ok := o.(grpc.FailFastCallOption); ok {
			s.failFast = o.FailFast
		}
	}
	return s
}

// plainReady reports whether a plain call finds an instance at once. All calls of a
// Conn ask, so there is no lock, but where the roster is not the balancer's.
func (c *Conn) plainReady() bool {
	return c.roster.ready.Load() != nil || !c.roster.balanced.Load() && c.cc.GetState() == connectivity.Ready
}

// ownerOf returns the class of the personal instances of the user whose call it
// is, or plain.
func (c *Conn) ownerOf(ctx context.Context) class {
	if c.user == nil {
		return plain
	}
	if user := c.user(ctx); user != "" {
		return ownedBy(user)
	}
	return plain
}
