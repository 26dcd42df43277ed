package port

import (
	"context"
	"net"
	"reflect"
	"runtime"
	"sync/atomic"

	"google.golang.org/grpc/peer"
)

// Use is what an open connection is used for, as whoever serves its calls notes it. Its
// methods may be called concurrently. Begin, By and End cost some nanoseconds where the calls of a
// connection run on one processor, and some tens where they run on several; they do not allocate.
// On nil, the use of no connection, they do nothing.
type Use struct {
	conn *conn
	note any
	by   caller
	_    [16]byte // keeps what every call reads from what every call writes

	begun, ended atomic.Uint64
	_            [48]byte
}

// caller is who makes calls, as far as is known: two strings of others, nil for none.
type caller struct {
	version       atomic.Uint32 // odd while somebody writes
	user, service atomic.Pointer[string]
}

// maxID is how many bytes of an ID are shown.
const maxID = 256

// UseOf returns the use of the connection that a call came by: ctx is that of a gRPC call, before
// anybody has changed its peer, or of a request to the http.Server. It is nil where the port does
// not know the connection, or knows it no longer.
func (p *Port) UseOf(ctx context.Context) *Use {
	if from, ok := peer.FromContext(ctx); ok && isPointer(from.Addr) {
		if c := p.byAddr.find(from.Addr); c != nil {
			return &c.use
		}
	}
	if c, _ := ctx.Value(connKey{}).(*conn); c != nil {
		return &c.use
	}
	return nil
}

// Note returns what Config.Note has made for the connection, or nil.
func (u *Use) Note() any {
	if u == nil {
		return nil
	}
	return u.note
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

// By notes the IDs of who has made a call, nil or "" for none. A call of nobody leaves what was
// noted, and of two calls at the same moment one is. The strings must not change; what they are
// part of is kept in memory until the next caller comes or the connection is closed.
func (u *Use) By(user, service *string) {
	if u == nil || text(user) == "" && text(service) == "" {
		return
	}
	by := &u.by
	if same(by.user.Load(), user) && same(by.service.Load(), service) {
		return
	}
	version := by.version.Load()
	if version&1 == 1 || !by.version.CompareAndSwap(version, version+1) {
		return // another call's is being noted
	}
	by.user.Store(user)
	by.service.Store(service)
	by.version.Store(version + 2)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func same(a, b *string) bool { return a == b || text(a) == text(b) }

// InFlight returns how many calls have begun and not ended.
func (u *Use) InFlight() int64 {
	ended := u.ended.Load() // first: what has ended by now has begun
	return int64(u.begun.Load() - ended)
}

// Calls returns how many calls have begun.
func (u *Use) Calls() uint64 { return u.begun.Load() }

// Caller returns the IDs of who made the last call that was not of nobody. Of IDs of more than
// 256 bytes it is the beginning.
func (u *Use) Caller() (user, service string) {
	by := &u.by
	for {
		version := by.version.Load()
		user, service := text(by.user.Load()), text(by.service.Load())
		if version&1 == 0 && by.version.Load() == version {
			return user[:min(len(user), maxID)], service[:min(len(service), maxID)]
		}
		runtime.Gosched()
	}
}

// Peer returns the remote address.
func (u *Use) Peer() string {
	if u.conn == nil {
		return ""
	}
	return u.conn.remote
}

// Closed tells whether the connection has been closed.
func (u *Use) Closed() bool { return u.conn != nil && u.conn.closed.Load() }

// Close cuts the connection and reports whether it was open.
func (u *Use) Close() bool {
	if u.conn == nil {
		return false
	}
	first, _ := u.conn.shut()
	return first
}

// ownAddr returns an address that is like no other, so that a connection can be found by it. It
// is of the same type where people look for that: they do not for types that are no pointers.
func ownAddr(a net.Addr) net.Addr {
	if isNil(a) {
		return &valueAddr{nowhere{}}
	}
	switch a := a.(type) {
	case *net.TCPAddr:
		own := *a
		return &own
	case *net.UnixAddr:
		own := *a
		return &own
	}
	if isPointer(a) {
		return a // each connection of its own, one hopes
	}
	return &valueAddr{a}
}

// isNil finds addresses whose methods may panic.
func isNil(a net.Addr) bool {
	return a == nil || isPointer(a) && reflect.ValueOf(a).IsNil()
}

// isPointer tells whether an address can be a key: not all types can be compared.
func isPointer(a net.Addr) bool {
	if _, ok := a.(*net.TCPAddr); ok { // as good as always, and fast
		return true
	}
	return a != nil && reflect.TypeOf(a).Kind() == reflect.Pointer
}

// nowhere is the address of a connection that has none.
type nowhere struct{}

func (nowhere) Network() string { return "none" }
func (nowhere) String() string  { return "" }

// valueAddr is an address of a type that is no pointer.
type valueAddr struct{ net.Addr }
