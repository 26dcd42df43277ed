package easyops

import (
	"net"
	"sync"
	"time"
)

// refusable is a connection whose server may yet refuse our certificate. Since
// TLS 1.3 it does so after the handshake, as far as we can see (RFC 8446, 4.4.3),
// and hangs up. A write may find that out before a read does; then its error is
// what the server has said.
type refusable struct {
	net.Conn
	once  sync.Once
	ended chan struct{} // closed when a read has failed
	err   error         // of that read
}

// alertTime is how long a failed write waits for what the server has said.
const alertTime = 100 * time.Millisecond

// Read implements [net.Conn].
func (c *refusable) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.once.Do(func() { c.err = err; close(c.ended) })
	}
	return n, err
}

// Write implements [net.Conn].
func (c *refusable) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil {
		return n, nil
	}
	select {
	case <-c.ended:
		return n, c.err
	case <-time.After(alertTime):
		return n, err
	}
}
