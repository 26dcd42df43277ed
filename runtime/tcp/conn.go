package tcp

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is an accepted connection, below TLS; it is tracked until its handler has returned.
type conn struct {
	net.Conn
	begun time.Time // when it was accepted
	proxy string    // the address of the proxy that has named the client

	// Set once, before the handler runs, under the server's lock.
	remote net.Addr     // of the client
	client netip.Prefix // that it counts for
	tls    atomic.Pointer[tls.ConnectionState]

	early readAhead
	own   traffic
	all   *traffic // the connection's share of the server's
}

// traffic is bytes on the wire. Reading and writing are on different processors.
type traffic struct {
	received atomic.Uint64
	_        [64]byte
	sent     atomic.Uint64
	_        [64]byte
}

func (c *conn) got(n int64) {
	c.own.received.Add(uint64(n))
	c.all.received.Add(uint64(n))
}

func (c *conn) gave(n int64) {
	c.own.sent.Add(uint64(n))
	c.all.sent.Add(uint64(n))
}

// RemoteAddr returns the address of the client, as a proxy that is trusted has named it.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Read reads and counts.
func (c *conn) Read(b []byte) (int, error) {
	if n := c.early.read(b); n > 0 {
		return n, nil
	}
	n, err := c.Conn.Read(b)
	c.got(int64(n))
	return n, err
}

// Write writes and counts.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.gave(int64(n))
	return n, err
}

// What is copied by the kernel is counted when it has been: a little at first, so that
// something is seen of a connection that carries little, and then up to a megabyte.
const (
	firstChunk = 4 << 10
	lastChunk  = 1 << 20
)

// ReadFrom sends what r has, by splice or sendfile where the kernel can.
func (c *conn) ReadFrom(r io.Reader) (total int64, err error) {
	to, ok := c.Conn.(io.ReaderFrom)
	_, limited := r.(*io.LimitedReader)
	_, open := r.(syscall.Conn) // a file or a connection, which the kernel knows
	switch {
	case !ok || !limited && !open:
		return io.Copy(struct{ io.Writer }{c}, r)
	case limited: // the kernel's ways look through one of them
		n, err := to.ReadFrom(r)
		c.gave(n)
		return n, err
	}
	for chunk := int64(firstChunk); ; chunk = min(2*chunk, lastChunk) {
		part := io.LimitedReader{R: r, N: chunk}
		n, err := to.ReadFrom(&part)
		c.gave(n)
		total += n
		if err != nil || n < chunk {
			return total, err
		}
	}
}

// WriteTo receives what w takes, by splice where the kernel can.
func (c *conn) WriteTo(w io.Writer) (total int64, err error) {
	if early := c.early.take(); len(early) > 0 {
		n, err := w.Write(early)
		if total = int64(n); err != nil {
			return total, err
		}
	}
	for chunk := int64(firstChunk); ; chunk = min(2*chunk, lastChunk) {
		n, err := io.Copy(w, &io.LimitedReader{R: c.Conn, N: chunk})
		c.got(n)
		total += n
		if err != nil || n < chunk {
			return total, err
		}
	}
}

// CloseWrite tells the client that nothing more comes, and leaves reading open. Where the
// transport cannot do that it does nothing.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SetLinger sets what closing does with what was not sent yet, as of [net.TCPConn]: a negative
// number of seconds is the default, and 0 drops it and resets the connection. Where the
// transport cannot do that it does nothing.
func (c *conn) SetLinger(seconds int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return nil
}

// readAhead is what was read beyond the header of the PROXY protocol.
type readAhead struct {
	left atomic.Bool
	mu   sync.Mutex
	b    []byte
}

func (r *readAhead) put(b []byte) {
	r.b = b
	r.left.Store(len(b) > 0)
}

func (r *readAhead) read(b []byte) (n int) {
	if !r.left.Load() {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n = copy(b, r.b)
	r.b = r.b[n:]
	r.left.Store(len(r.b) > 0)
	return n
}

func (r *readAhead) take() (b []byte) {
	if !r.left.Load() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b, r.b = r.b, nil
	r.left.Store(false)
	return b
}
