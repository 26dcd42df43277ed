package port

import (
	"net"
	"sync"
)

// queue is a net.Listener that yields the connections it is offered.
type queue struct {
	addr net.Addr
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, ch: make(chan net.Conn), done: make(chan struct{})}
}

// offer waits until nc is accepted and reports false if the queue was closed instead.
func (q *queue) offer(nc net.Conn) bool {
	select {
	case <-q.done:
		return false
	default:
	}
	select {
	case q.ch <- nc:
		return true
	case <-q.done:
		return false
	}
}

// Accept waits for the next connection; its error after Close is net.ErrClosed.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case nc := <-q.ch:
		return nc, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept; it leaves the port's own listener alone.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr returns the port's address.
func (q *queue) Addr() net.Addr { return q.addr }
