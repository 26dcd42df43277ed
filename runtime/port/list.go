package port

import (
	"crypto/tls"
	"slices"
	"time"
)

// Open is an open connection, as it was when it was listed.
type Open struct {
	Peer     string
	Protocol string    // "gRPC", "HTTP/1", "HTTP/2", which may carry gRPC too, or "new": not known yet
	Since    time.Time // it was accepted
	// Received and Sent are bytes on the wire, with those of TLS. What the kernel sends of a
	// file counts when it has been sent.
	Received, Sent uint64
	TLS            *tls.ConnectionState // nil without TLS, or before its handshake is done; must not be changed
	Use            *Use
}

// List returns the open connections, the oldest first and not more than most, and how many there
// are. It takes some milliseconds for 10,000.
func (p *Port) List(most int) (oldest []Open, total int) {
	conns, protos := p.snapshot()
	total = len(conns)
	order := make([]int, total)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return conns[a].begun.Compare(conns[b].begun) })
	oldest = make([]Open, 0, min(most, total))
	for _, i := range order[:min(most, total)] {
		oldest = append(oldest, conns[i].open(protos[i]))
	}
	return oldest, total
}

// snapshot returns the connections and what each speaks now.
func (p *Port) snapshot() (conns []*conn, protos []protocol) {
	p.mu.Lock()
	defer p.mu.Unlock()
	conns, protos = make([]*conn, 0, len(p.conns)), make([]protocol, 0, len(p.conns))
	for c := range p.conns {
		conns, protos = append(conns, c), append(protos, c.proto)
	}
	return conns, protos
}

func (c *conn) open(proto protocol) Open {
	return Open{
		Peer: c.remote, Protocol: proto.String(), Since: c.begun,
		Received: c.received.Load(), Sent: c.sent.Load(), TLS: c.tls.Load(), Use: &c.use,
	}
}

// String is what people call the protocol. A connection that is told to go elsewhere is of none.
func (p protocol) String() string {
	switch p {
	case protoGRPC:
		return "gRPC"
	case protoHTTP1:
		return "HTTP/1"
	case protoHTTP2:
		return "HTTP/2"
	}
	return "new"
}

// Read reads and counts.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(uint64(n))
	return n, err
}

// Write writes and counts.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(uint64(n))
	return n, err
}
