package tcp

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"time"
)

// admit tracks a new connection and serves it in a goroutine of its own, or closes it where
// there are too many.
func (s *Server) admit(nc net.Conn) {
	c := &conn{Conn: nc, begun: time.Now(), remote: nc.RemoteAddr(), all: s.share()}
	proxied := s.fromProxy(nc.RemoteAddr())
	if why, ok := s.track(c, proxied); !ok {
		_ = nc.Close()
		s.refuse(c, why, nil)
		return
	}
	s.accepted.Add(1)
	go s.serve(c, proxied)
}

// track adds c, or says why it may not stay. A proxy stands for many clients, so it is not
// counted as one.
func (s *Server) track(c *conn, proxied bool) (why Refusal, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.cfg.MaxConns > 0 && len(s.conns) >= s.cfg.MaxConns {
		return TooMany, false
	}
	if !proxied && !s.countClient(c) {
		return TooManyOfClient, false
	}
	s.conns[c] = struct{}{}
	return 0, true
}

// countClient counts c for its client, unless that has too many. The caller holds s.mu.
func (s *Server) countClient(c *conn) bool {
	client := networkOf(c.remote)
	if !client.IsValid() {
		return true
	}
	if s.cfg.MaxConnsPerIP > 0 && s.perIP[client] >= s.cfg.MaxConnsPerIP {
		return false
	}
	s.perIP[client]++
	c.client = client
	return true
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.tellIdle()
	if !c.client.IsValid() {
		return
	}
	if s.perIP[c.client]--; s.perIP[c.client] == 0 {
		delete(s.perIP, c.client)
	}
}

// serve is the life of a connection.
func (s *Server) serve(c *conn, proxied bool) {
	ctx, cancel := context.WithCancel(s.life)
	defer s.ended(c)
	defer s.forget(c)
	defer c.Conn.Close()
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			s.recovered(ctx, c, p)
		}
	}()
	if proxied {
		if why, err := s.readHeader(c); err != nil {
			s.refuse(c, why, err)
			return
		}
	}
	nc := net.Conn(c)
	if s.cfg.TLS != nil {
		secure, err := s.handshake(ctx, c)
		if err != nil {
			s.refuse(c, BadHandshake, err)
			return
		}
		defer secure.Close() // says that nothing was cut off
		nc = secure
	}
	if s.cfg.Admit != nil {
		admitted, err := s.cfg.Admit(ctx, c.tls.Load())
		if err != nil {
			s.refuse(c, NotAdmitted, err)
			return
		}
		ctx = admitted
	}
	s.cfg.Handler(ctx, nc)
}

func (s *Server) handshake(ctx context.Context, c *conn) (*tls.Conn, error) {
	// The deadline is for the connection, the context for callbacks of the configuration.
	// A drain does not break off what has begun: the handler is told.
	_ = c.SetDeadline(time.Now().Add(s.cfg.OpenTimeout))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.OpenTimeout)
	defer cancel()
	secure := tls.Server(c, s.cfg.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	state := secure.ConnectionState()
	c.tls.Store(&state)
	return secure, c.SetDeadline(time.Time{})
}

// ended tells of a connection that was served, or was not let in.
func (s *Server) ended(c *conn) {
	s.cfg.Logger.Debug("connection ended", "service", s.cfg.Name, "peer", c.remote.String(), "duration", time.Since(c.begun),
		"received", c.own.received.Load(), "sent", c.own.sent.Load())
}

// recovered keeps a panic of one connection from the others.
func (s *Server) recovered(ctx context.Context, c *conn, panicked any) {
	s.panics.Add(1)
	if s.cfg.Recovered != nil {
		s.cfg.Recovered(ctx, c.remote, panicked)
		return
	}
	s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "panic", slog.String("service", s.cfg.Name), slog.String("peer", c.remote.String()),
		slog.String("err", clean(fmt.Sprint(panicked))), slog.String("stack", string(debug.Stack())))
}

// networkOf returns what counts as one client: an IPv4 address, or an IPv6 /64 network, which is
// what one customer gets at least. Of what is not IP it returns an invalid one.
func networkOf(addr net.Addr) netip.Prefix {
	ip := ipOf(addr)
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p
}

func ipOf(addr net.Addr) netip.Addr {
	if a, ok := addr.(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
