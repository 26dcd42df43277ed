package port

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
)

const (
	alpnH2    = "h2"
	alpnHTTP1 = "http/1.1"

	// preface is what an HTTP/2 client sends first (RFC 9113, section 3.4).
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	firstRead = 1 << 10  // fits the beginning of nearly every connection
	maxSniff  = 64 << 10 // bytes looked at before a connection is given up
)

// serverTLS prepares the port's copy of the user's configuration.
func serverTLS(user *tls.Config) *tls.Config {
	cfg := user.Clone()
	cfg.NextProtos = []string{alpnH2, alpnHTTP1}
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if c, ok := hello.Conn.(*conn); ok {
			c.offersHTTP1 = slices.Contains(hello.SupportedProtos, alpnHTTP1)
		}
		if user.GetConfigForClient == nil {
			return nil, nil
		}
		own, err := user.GetConfigForClient(hello)
		if own == nil || err != nil {
			return nil, err
		}
		own = own.Clone()
		own.NextProtos = cfg.NextProtos
		return own, nil
	}
	return cfg
}

// classify finds the stack for c and hands it over; c is closed where there is none.
func (p *Port) classify(c *conn) {
	defer func() {
		// A user's TLS callback runs in here.
		if v := recover(); v != nil {
			_ = c.Close()
			p.cfg.Logger.Error("panic while a connection began", "peer", c.remote, "err", v, "stack", string(debug.Stack()))
		}
	}()
	p.stage(c)
	var err error
	if p.tls != nil {
		err = p.classifyTLS(c)
	} else {
		err = p.classifyPlain(c)
	}
	if err != nil {
		_ = c.Close()
		p.logFailed(c, err)
	}
}

func (p *Port) classifyTLS(c *conn) error {
	tc := tls.Server(c, p.tls)
	// The connection has a deadline; this one is for callbacks of the user's.
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.ClassifyTimeout)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return p.handshakeFailed(c, err)
	}
	state := tc.ConnectionState()
	c.tls.Store(&state)
	switch {
	case state.NegotiatedProtocol != alpnH2:
		p.toHTTP(c, tc, protoHTTP1, farewellHTTP1)
		return nil
	case state.Version < tls.VersionTLS12:
		return p.reject(c, tc, codeInadequateSecurity)
	}
	p.stage(c)
	buf, isHTTP2, err := readPreface(tc)
	switch {
	case err != nil:
		return err
	case !isHTTP2:
		return errors.New("no http/2 preface after alpn h2")
	}
	return p.classifyHTTP2(c, tc, buf, c.offersHTTP1)
}

// handshakeFailed answers a plaintext HTTP request to a TLS port in its own language.
func (p *Port) handshakeFailed(c *conn, err error) error {
	var rec tls.RecordHeaderError
	if errors.As(err, &rec) && rec.Conn != nil && looksLikeHTTP(rec.RecordHeader) {
		p.settle(c, refused)
		sayGoodbye(c, c, []byte("HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nthis port speaks TLS: use https\n"))
	}
	return err
}

func looksLikeHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

func (p *Port) classifyPlain(c *conn) error {
	buf, isHTTP2, err := readPreface(c)
	switch {
	case err != nil:
		return err
	case !isHTTP2:
		p.toHTTP(c, newReplay(c, buf), protoHTTP1, farewellHTTP1)
		return nil
	}
	return p.classifyHTTP2(c, c, buf, false)
}

// readPreface reads until the preface is complete or cannot be one any more. The buffer holds
// all that was read.
func readPreface(nc net.Conn) (buf []byte, isHTTP2 bool, err error) {
	buf = make([]byte, 0, firstRead)
	for {
		n, err := nc.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) >= len(preface):
			return buf, string(buf[:len(preface)]) == preface, nil
		case n > 0 && preface[:len(buf)] != string(buf):
			return buf, false, nil
		case err != nil:
			return buf, false, err
		}
	}
}

// classifyHTTP2 looks at how nc begins: at its first request, unless its client is known to be one
// of HTTP. nc is c itself or the TLS connection above it, and buf what was read of it, from the
// preface on.
func (p *Port) classifyHTTP2(c *conn, nc net.Conn, buf []byte, isHTTP bool) error {
	s := &sniffer{buf: buf, off: len(preface)}
	if isHTTP || p.cfg.AllHTTP2ToHTTP {
		if err := p.awaitSettings(c, nc, s); err != nil {
			return p.refuse(c, nc, err)
		}
		p.toHTTP(c, newReplay(nc, s.buf), protoHTTP2, append(p.settings(), goAway(codeNone)...))
		return nil
	}
	s.reply = p.settings() // gRPC clients send no request before they have seen them
	v, err := p.sniff(c, nc, s)
	if err != nil {
		return p.refuse(c, nc, err)
	}
	r := newReplay(nc, s.buf)
	r.acks = &ackDropper{}
	if v == verdictGRPC {
		g := &grpcConn{replayConn: *r, port: p, conn: c}
		g.setReader(nc)
		p.toGRPC(c, g)
		return nil
	}
	r.filter = &ackFilter{src: r.replay, left: len(preface)}
	p.toHTTP(c, r, protoHTTP2, goAway(codeNone))
	return nil
}

// awaitSettings reads what a client has to send before it may wait for an answer. net/http would
// wait longer for it.
func (p *Port) awaitSettings(c *conn, nc net.Conn, s *sniffer) error {
	p.stage(c)
	for {
		if _, whole, err := s.nextFrame(); whole || err != nil {
			return err
		}
		if err := s.readFrom(nc); err != nil {
			return err
		}
	}
}

// sniff feeds s from nc until it knows, and sends what s answers.
func (p *Port) sniff(c *conn, nc net.Conn, s *sniffer) (verdict, error) {
	p.stage(c)
	for announced := false; ; {
		v, err := s.step()
		if len(s.reply) > 0 {
			if _, err := nc.Write(s.reply); err != nil {
				return undecided, err
			}
			s.reply = nil
		}
		if v != undecided || err != nil {
			return v, err
		}
		if s.first > 0 && !announced {
			announced = true
			p.stage(c)
		}
		if w := s.waiting(); w != c.waiting {
			p.setWaiting(c, w)
		}
		err = s.readFrom(nc)
		switch {
		case err == nil:
		case !c.waiting || !errors.Is(err, os.ErrDeadlineExceeded):
			return undecided, err
		case p.stopped():
			return undecided, protocolError{codeNone, "port is draining"}
		default:
			return verdictGRPC, nil // a gRPC client that has nothing to call yet
		}
	}
}

// readFrom reads once, growing the buffer up to maxSniff.
func (s *sniffer) readFrom(r io.Reader) error {
	if len(s.buf) == cap(s.buf) {
		if len(s.buf) >= maxSniff {
			return protocolError{codeEnhanceYourCalm, "no request in the first 64 KiB"}
		}
		s.buf = append(make([]byte, 0, min(2*cap(s.buf), maxSniff)), s.buf...)
	}
	n, err := r.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	if n > 0 {
		return nil // an error comes back with the next read
	}
	return err
}

// toHTTP hands nc over to the HTTP server; farewell is what the client is told if that has
// stopped.
func (p *Port) toHTTP(c *conn, nc net.Conn, proto protocol, farewell []byte) {
	p.settle(c, proto)
	if !p.httpQueue.offer(nc) {
		p.settle(c, refused)
		sayGoodbye(c, nc, farewell)
	}
}

func (p *Port) toGRPC(c *conn, g *grpcConn) {
	p.settle(c, protoGRPC)
	if p.cfg.UserTimeout > 0 {
		_ = setUserTimeout(c.Conn, p.cfg.UserTimeout) // the client may have left by now
	}
	if !p.grpcQueue.offer(g) {
		p.settle(c, refused)
		sayGoodbye(c, g.Conn, goAway(codeNone))
	}
}

// refuse ends a connection that has failed, with a word if it broke HTTP/2's rules.
func (p *Port) refuse(c *conn, nc net.Conn, err error) error {
	var bad protocolError
	if errors.As(err, &bad) {
		return p.reject(c, nc, bad.code)
	}
	return err
}

// reject ends a connection that broke HTTP/2's rules.
func (p *Port) reject(c *conn, nc net.Conn, code uint32) error {
	p.settle(c, refused)
	sayGoodbye(c, nc, goAway(code))
	return protocolError{code, "connection rejected"}
}
