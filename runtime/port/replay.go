package port

import (
	"io"
	"net"
	"sync/atomic"
)

// replayConn gives back what was read while the connection was classified and then is as good
// as the connection itself. It has no ConnectionState method: net/http would take it for
// finished TLS without HTTP/2.
type replayConn struct {
	net.Conn
	rest   []byte      // still to be read again
	filter *ackFilter  // nil: nothing to filter, or done
	acks   *ackDropper // the same for what is written
}

func newReplay(nc net.Conn, rest []byte) *replayConn { return &replayConn{Conn: nc, rest: rest} }

// Read reads the replayed bytes first.
func (r *replayConn) Read(b []byte) (int, error) {
	if r.filter != nil {
		return r.readFiltered(b)
	}
	if r.rest != nil {
		return r.replay(b)
	}
	return r.Conn.Read(b)
}

func (r *replayConn) replay(b []byte) (int, error) {
	if r.rest == nil {
		return r.Conn.Read(b)
	}
	n := copy(b, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil
	}
	return n, nil
}

func (r *replayConn) readFiltered(b []byte) (int, error) {
	n, err := r.filter.read(b)
	if r.filter.done {
		r.filter = nil
		if n == 0 && err == nil && len(b) > 0 {
			return r.Read(b)
		}
	}
	return n, err
}

// Write drops what the port has said already.
func (r *replayConn) Write(b []byte) (int, error) {
	if r.acks != nil {
		return r.writeFiltered(b)
	}
	return r.Conn.Write(b)
}

func (r *replayConn) writeFiltered(b []byte) (int, error) {
	out := r.acks.pass(b)
	if r.acks.done {
		r.acks = nil
	}
	if len(out) == 0 {
		return len(b), nil
	}
	if _, err := r.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite lets net/http close in an orderly way.
func (r *replayConn) CloseWrite() error { return closeWrite(r.Conn) }

// ReadFrom keeps sendfile reachable for plaintext HTTP.
func (r *replayConn) ReadFrom(src io.Reader) (int64, error) { return readFrom(r.Conn, src) }

// ackFilter drops the first SETTINGS acknowledgement from a client's frames: it answers the
// port's SETTINGS, and net/http ends a connection that acknowledges more than net/http sent.
type ackFilter struct {
	src    func([]byte) (int, error)
	left   int // bytes of the present frame (or of the preface) to pass on
	header [frameHeaderLen]byte
	have   int // bytes of header that were read
	sent   int // bytes of header that were passed on
	done   bool
}

// read passes on part of a frame. It may return 0, nil when it has just become done.
func (f *ackFilter) read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if f.left == 0 && f.sent == f.have {
		if err := f.readHeader(); err != nil || f.done {
			return 0, err
		}
	}
	if f.sent < f.have {
		n := copy(b, f.header[f.sent:f.have])
		f.sent += n
		return n, nil
	}
	n, err := f.src(b[:min(len(b), f.left)])
	f.left -= n
	return n, err
}

// readHeader reads a frame's header; what it has is kept when a deadline interrupts it.
func (f *ackFilter) readHeader() error {
	if f.have == frameHeaderLen {
		f.have, f.sent = 0, 0
	}
	for f.have < frameHeaderLen {
		n, err := f.src(f.header[f.have:])
		f.have += n
		f.sent = f.have // nothing to pass on before the header is whole
		if err != nil && f.have < frameHeaderLen {
			return err
		}
	}
	f.sent = 0
	f.left = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
	f.done = f.header == settingsAck
	return nil
}

// ackDropper drops the first SETTINGS acknowledgement from the frames that a stack writes: the port
// has acknowledged them, and clients may end a connection that acknowledges more than they sent.
type ackDropper struct {
	left   int // bytes of the present frame to pass on
	header []byte
	done   bool
}

// pass returns what is to be written of b and of what was held back: a header is until it is whole.
func (d *ackDropper) pass(b []byte) (out []byte) {
	for len(b) > 0 && !d.done {
		if d.left == 0 {
			n := min(len(b), frameHeaderLen-len(d.header))
			d.header, b = append(d.header, b[:n]...), b[n:]
			out = d.passHeader(out)
		}
		n := min(len(b), d.left)
		out, b = append(out, b[:n]...), b[n:]
		d.left -= n
	}
	return append(out, b...)
}

func (d *ackDropper) passHeader(out []byte) []byte {
	h := d.header
	if len(h) < frameHeaderLen {
		return out
	}
	d.header = d.header[:0]
	if [frameHeaderLen]byte(h) == settingsAck {
		d.done = true
		return out
	}
	d.left = int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	return append(out, h...)
}

// grpcConn is what the gRPC server gets.
type grpcConn struct {
	replayConn
	port    *Port
	conn    *conn
	begun   bool // the gRPC server has looked at it; one goroutine until then
	refused atomic.Bool

	// How it is read: see ReadOnReady.
	socket *socket              // of plaintext
	first  *[firstOfRecord]byte // of TLS
	more   bool                 // there may be more of the record
}

// Read marks the connection as taken and reads.
func (g *grpcConn) Read(b []byte) (int, error) {
	if g.rest != nil {
		g.begun = true
		return g.replay(b)
	}
	return g.Conn.Read(b)
}

// Close closes the connection. A gRPC server that is stopping closes connections it has
// accepted a moment too late without a word; their clients are told that nothing was processed.
func (g *grpcConn) Close() error {
	if g.begun || !g.refused.CompareAndSwap(false, true) {
		return g.Conn.Close()
	}
	g.port.enter()
	go func() {
		defer g.port.leave()
		g.port.settle(g.conn, refused)
		sayGoodbye(g.conn, g.Conn, goAway(codeNone))
	}()
	return nil
}
