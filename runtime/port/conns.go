package port

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// protocol says which stack a connection belongs to.
type protocol uint8

const (
	classifying protocol = iota
	protoGRPC
	protoHTTP1
	protoHTTP2
	refused // told to go elsewhere, about to be closed
	protocols
)

// Counts is how many connections are open, in total and by what they speak. HTTP2 includes
// connections that carry gRPC through the HTTP server.
type Counts struct {
	Open, Classifying, GRPC, HTTP1, HTTP2 int
}

// Conns returns the present counts.
func (p *Port) Conns() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Counts{
		Open:        len(p.conns),
		Classifying: p.count[classifying],
		GRPC:        p.count[protoGRPC],
		HTTP1:       p.count[protoHTTP1],
		HTTP2:       p.count[protoHTTP2],
	}
}

// conn is an accepted connection, below TLS; it is tracked until it is closed.
type conn struct {
	net.Conn
	port   *Port
	remote string
	addr   net.Addr // like no other
	peer   netip.Prefix
	begun  time.Time // when it was accepted
	// tls is the state of the TLS connection above, once its handshake is done.
	tls atomic.Pointer[tls.ConnectionState]
	// late is by how much the beginning of an HTTP/1 connection took too long.
	late time.Duration
	// fresh is set while the HTTP server has the connection and no request of it. It keeps
	// port.busy up by one: net/http's Shutdown drops an HTTP/1 request that it is reading.
	fresh   atomic.Bool
	closing sync.Once
	closed  atomic.Bool
	// offersHTTP1 is written and read by the goroutine that does the TLS handshake.
	offersHTTP1 bool
	proto       protocol // guarded by port.mu
	// waiting is set while the client has shown that it speaks HTTP/2 and owes nothing. Its
	// goroutine writes it under port.mu.
	waiting bool
	_       [40]byte

	// Bytes on the wire. Reading and writing are on different processors, and calls on others: each
	// has a cache line, and all of a connection is in seven.
	received atomic.Uint64
	_        [56]byte
	sent     atomic.Uint64
	_        [56]byte
	use      Use
}

// RemoteAddr returns the address by which UseOf finds the connection.
func (c *conn) RemoteAddr() net.Addr { return c.addr }

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	_, err := c.shut()
	return err
}

// shut closes the connection, and tells whether it was open.
func (c *conn) shut() (first bool, err error) {
	c.closing.Do(func() {
		first = true
		c.closed.Store(true)
		c.port.forget(c)
	})
	return first, c.Conn.Close()
}

// SetReadDeadline takes what an HTTP/1 client has wasted off the time that net/http gives to its
// first request, so that nobody gets the time to begin twice.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && c.fresh.Load() {
		t = t.Add(-c.late)
	}
	return c.Conn.SetReadDeadline(t)
}

// CloseWrite sends a FIN, where the transport has one, and leaves reading open.
func (c *conn) CloseWrite() error { return closeWrite(c.Conn) }

// ReadFrom keeps sendfile reachable for plaintext HTTP.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	n, err := readFrom(c.Conn, r)
	c.sent.Add(uint64(n))
	return n, err
}

func closeWrite(nc net.Conn) error {
	if cw, ok := nc.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

func readFrom(nc net.Conn, r io.Reader) (int64, error) {
	if rf, ok := nc.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{nc}, r)
}

// admit tracks a new connection and classifies it in a goroutine of its own, or closes it where
// there are too many.
func (p *Port) admit(nc net.Conn) {
	addr := ownAddr(nc.RemoteAddr())
	c := &conn{Conn: nc, port: p, remote: addr.String(), addr: addr, peer: peerOf(addr), begun: time.Now()}
	c.use.conn = c
	if reason := p.track(c); reason != "" {
		_ = nc.Close()
		p.logRefusal(c, reason)
		return
	}
	go func() {
		defer p.leave()
		p.classify(c)
	}()
}

// track adds c and enters its goroutine, or says why it may not stay.
func (p *Port) track(c *conn) (reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return "port closed"
	case p.cfg.MaxConns > 0 && len(p.conns) >= p.cfg.MaxConns:
		return "too many connections"
	case c.peer.IsValid() && p.cfg.MaxConnsPerIP > 0 && p.perIP[c.peer] >= p.cfg.MaxConnsPerIP:
		return "too many connections from this peer"
	}
	p.conns[c] = struct{}{}
	p.count[classifying]++
	if c.peer.IsValid() {
		p.perIP[c.peer]++
	}
	p.busy++
	return ""
}

// requestBegan notes that a request of c has reached the handler.
func (p *Port) requestBegan(c *conn) {
	if c.fresh.Load() && c.fresh.Swap(false) {
		p.leave()
	}
}

func (p *Port) forget(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	p.byAddr.remove(c)
	p.count[c.proto]--
	if c.fresh.Swap(false) {
		p.leaveLocked()
	}
	if !c.peer.IsValid() {
		return
	}
	if p.perIP[c.peer]--; p.perIP[c.peer] == 0 {
		delete(p.perIP, c.peer)
	}
}

// settle ends c's classification: it is counted under its protocol and loses its deadline. The
// lock keeps hurry from setting a deadline on a connection that a stack already owns.
func (p *Port) settle(c *conn, proto protocol) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, open := p.conns[c]; open {
		p.count[c.proto]--
		p.count[proto]++
		switch proto {
		case protoGRPC:
			if p.cfg.Note != nil {
				c.use.note = p.cfg.Note()
			}
			p.byAddr.add(c)
		case protoHTTP1:
			c.late = max(0, time.Since(c.begun)-p.slack())
			c.fresh.Store(true)
			p.busy++
		}
	}
	c.proto = proto
	_ = c.SetDeadline(time.Time{})
}

// slack is what the steps of a connection's beginning may take together beyond the timeout of one.
func (p *Port) slack() time.Duration { return p.cfg.ClassifyTimeout * 2 / 5 }

// stage begins a step of c's classification, which must end within the timeout.
func (p *Port) stage(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	by := time.Now().Add(p.cfg.ClassifyTimeout)
	if all := c.begun.Add(p.cfg.ClassifyTimeout + p.slack()); all.Before(by) {
		by = all
	}
	if !p.hurryBy.IsZero() && p.hurryBy.Before(by) {
		by = p.hurryBy
	}
	_ = c.SetDeadline(by)
}

// setWaiting records whether c can be turned away at once when the port drains.
func (p *Port) setWaiting(c *conn, waiting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.waiting = waiting
	if waiting && !p.hurryBy.IsZero() {
		_ = c.SetReadDeadline(aLongTimeAgo)
	}
}

// aLongTimeAgo is a deadline that ends a read at once.
var aLongTimeAgo = time.Unix(1, 0)

// peerOf returns what the cap per IP counts: an IPv4 address, or the /64 that one IPv6
// subscriber can choose addresses from.
func peerOf(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{} // not an IP network
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits)
	return prefix
}

func (p *Port) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy++
}

func (p *Port) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked()
}

func (p *Port) leaveLocked() {
	p.busy--
	if p.busy == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// quiet returns a channel that closes when no goroutine of this package runs and no connection
// is fresh.
func (p *Port) quiet() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	return p.idle
}
