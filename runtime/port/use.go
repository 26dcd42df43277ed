package port

import (
	"context"
	"net"
	"reflect"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/peer"
)

// Use is what an open connection is used for, as whoever serves its calls notes it. Its
// methods may be called concurrently and cost no more than a few nanoseconds. On nil, the use of
// no connection, they do nothing.
type Use struct {
	begun, ended atomic.Uint64
	by           atomic.Pointer[caller]
}

// caller is who makes calls, as far as is known.
type caller struct{ user, service string }

// maxID is how many bytes of an ID are kept.
const maxID = 256

// UseOf returns the use of the connection that a call came by: ctx is that of a gRPC call, before
// anybody has changed its peer, or of a request to the http.Server. It is nil where the port does
// not know the connection, or knows it no longer.
func (p *Port) UseOf(ctx context.Context) *Use {
	if from, ok := peer.FromContext(ctx); ok {
		if c, ok := p.byAddr.Load(from.Addr); ok {
			return &c.(*conn).use
		}
	}
	if c, _ := ctx.Value(connKey{}).(*conn); c != nil {
		return &c.use
	}
	return nil
}

// Begin counts a call that begins.
func (u *Use) Begin() {
	if u != nil {
		u.begun.Add(1)
	}
}

// End counts a call that has begun and now ends.
func (u *Use) End() {
	if u != nil {
		u.ended.Add(1)
	}
}

// By notes the IDs of who has made a call, "" for none. A call of nobody leaves what was noted.
// Of IDs of more than 256 bytes the beginning is kept. It allocates only where another has made
// the call before.
func (u *Use) By(user, service string) {
	if u == nil || user == "" && service == "" {
		return
	}
	now := caller{user[:min(len(user), maxID)], service[:min(len(service), maxID)]}
	if before := u.by.Load(); before == nil || *before != now {
		u.by.Store(&caller{strings.Clone(now.user), strings.Clone(now.service)})
	}
}

// InFlight returns how many calls have begun and not ended.
func (u *Use) InFlight() int64 {
	ended := u.ended.Load() // first: what has ended by now has begun
	return int64(u.begun.Load() - ended)
}

// Calls returns how many calls have begun.
func (u *Use) Calls() uint64 { return u.begun.Load() }

// Caller returns the IDs of who made the last call that was not of nobody.
func (u *Use) Caller() (user, service string) {
	if by := u.by.Load(); by != nil {
		return by.user, by.service
	}
	return "", ""
}

// ownAddr returns an address that is like no other, so that a connection can be found by it. It
// is of the same type where people look for that: they do not for types that are no pointers.
func ownAddr(a net.Addr) net.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		own := *a
		return &own
	case *net.UnixAddr:
		own := *a
		return &own
	}
	if reflect.TypeOf(a).Kind() == reflect.Pointer {
		return a // each connection of its own, one hopes
	}
	return &valueAddr{a}
}

// valueAddr is an address of a type that is no pointer.
type valueAddr struct{ net.Addr }
