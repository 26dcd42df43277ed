package port

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"syscall"

	"google.golang.org/grpc/mem"
)

// ReadOnReady reads into a buffer of the pool, which it takes when there is something to read, so
// that on Linux a connection that waits holds none: 32 KiB of the 55 that an idle one took. Elsewhere
// one without TLS waits with the buffer, as it would without this method.
//
// It implements internal/transport/readyreader.Reader of grpc-go as of 1.85, for which its server
// looks; connections of package net it reads like this by itself, and this is not one. Where a later
// version has it otherwise, all is right and dearer, and a test notices. The buffer is the caller's,
// and nil where there is an error and nothing was read.
func (g *grpcConn) ReadOnReady(size int, pool mem.BufferPool) (buf *[]byte, n int, err error) {
	switch {
	case g.rest != nil:
		return readInto(g, size, pool)
	case g.socket != nil:
		buf, n, err = g.socket.read(size, pool)
		g.conn.received.Add(uint64(n))
		return buf, n, err
	case g.first != nil:
		return g.readTLS(size, pool)
	}
	return readInto(g.Conn, size, pool)
}

// readInto reads into a buffer of the pool, and waits with it.
func readInto(from io.Reader, size int, pool mem.BufferPool) (*[]byte, int, error) {
	buf := pool.Get(size)
	n, err := from.Read(*buf)
	if n == 0 {
		pool.Put(buf)
		buf = nil
	}
	return buf, n, err
}

// firstOfRecord is with how much room a TLS connection waits: most calls are shorter.
const firstOfRecord = 512

// readTLS waits with little room. What is beyond it of a record, if there is anything, can be read
// at once, and comes with the next read; else that waits with a buffer, once.
func (g *grpcConn) readTLS(size int, pool mem.BufferPool) (*[]byte, int, error) {
	if g.more {
		g.more = false
		return readInto(g.Conn, size, pool)
	}
	n, err := g.Conn.Read(g.first[:min(size, firstOfRecord)])
	g.more = n == firstOfRecord
	if n == 0 {
		return nil, 0, err
	}
	buf := pool.Get(size)
	copy(*buf, g.first[:n])
	return buf, n, err
}

// setReader chooses how the connection is read.
func (g *grpcConn) setReader(nc net.Conn) {
	switch nc := nc.(type) {
	case *tls.Conn:
		g.first = new([firstOfRecord]byte)
	case *conn:
		g.socket = newSocket(nc.Conn)
	}
}

// socket reads from a connection of the kernel's.
type socket struct {
	raw syscall.RawConn
	try func(fd uintptr) (done bool) // attempt: made once, as it is an allocation

	// Of the present read.
	size int
	pool mem.BufferPool
	buf  *[]byte
	n    int
	err  error
}

// newSocket returns nil where nc is no such connection, or the system has no way.
func newSocket(nc net.Conn) *socket {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil // one that embeds such a connection may read in a way of its own
	}
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil || !canReadNow {
		return nil
	}
	s := &socket{raw: raw}
	s.try = s.attempt
	return s
}

// attempt reads what there is. It reports false, and is called again later, where that is nothing.
func (s *socket) attempt(fd uintptr) (done bool) {
	s.buf = s.pool.Get(s.size)
	n, wait, err := readNow(fd, *s.buf)
	if n <= 0 {
		s.pool.Put(s.buf)
		s.buf, n = nil, 0
	}
	s.n, s.err = n, err
	return !wait
}

// read waits until there is something, by the deadline of the connection.
func (s *socket) read(size int, pool mem.BufferPool) (*[]byte, int, error) {
	s.size, s.pool = size, pool
	err := s.raw.Read(s.try)
	buf, n, fault := s.buf, s.n, s.err
	s.pool, s.buf, s.n, s.err = nil, nil, 0, nil
	switch {
	case buf != nil || err != nil:
		return buf, n, err
	case fault != nil:
		return nil, 0, os.NewSyscallError("read", fault)
	}
	return nil, 0, io.EOF
}
