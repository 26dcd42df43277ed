package tcp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Drain ends the contexts of all handlers, once nothing new is accepted any more (see
// [Server.StopAccepting]). It does not wait for them.
func (s *Server) Drain() {
	s.StopAccepting()
	s.endLife(errDraining)
}

// Shutdown drains and waits until every handler has returned. When ctx ends first, the
// connections that are left are cut, and each is named in the log and in the error, which later
// calls return as well. A handler that goes on without its connection is named in the log, and
// not waited for.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	select {
	case <-s.quiet():
	case <-ctx.Done():
		s.cutOff()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

// quiet returns a channel that is closed when no connection is open.
func (s *Server) quiet() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.tellIdle()
	return idle
}

// tellIdle tells who waits that nothing is open, if that is so. The caller holds s.mu.
func (s *Server) tellIdle() {
	if s.idle != nil && len(s.conns) == 0 {
		close(s.idle)
		s.idle = nil
	}
}

const (
	// lastMoment is how long handlers may take to notice that their connection is cut.
	lastMoment = 25 * time.Millisecond
	// maxNamed bounds how many connections are named.
	maxNamed = 100
)

// cutOff closes what is open and names it, once.
func (s *Server) cutOff() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	left := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		left = append(left, c)
	}
	slices.SortFunc(left, func(a, b *conn) int { return a.begun.Compare(b.begun) })
	names := named(left)
	if first && len(left) > 0 {
		s.cut = fmt.Errorf("TCP connections of %s were cut off (%d): %s", s.cfg.Name, len(left), strings.Join(names, "; "))
	}
	s.mu.Unlock()
	if !first {
		return
	}
	for _, c := range left {
		_ = c.SetLinger(0) // a half is not to look like the whole
		_ = c.Conn.Close() // below TLS, which would want to write
	}
	for _, name := range names {
		s.cfg.Logger.Warn("connection cut off", "service", s.cfg.Name, "connection", name)
	}
	select {
	case <-s.quiet():
	case <-time.After(lastMoment):
		s.nameDeaf()
	}
}

// nameDeaf names the handlers that go on without their connection.
func (s *Server) nameDeaf() {
	deaf, _ := s.Connections(maxNamed)
	for _, c := range deaf {
		s.cfg.Logger.Warn("handler ignores the end of its connection", "service", s.cfg.Name, "peer", c.Peer)
	}
}

// named describes connections, the first of them.
func named(all []*conn) (names []string) {
	for n, c := range all {
		if n == maxNamed {
			return append(names, fmt.Sprintf("and %d more", len(all)-n))
		}
		names = append(names, fmt.Sprintf("%s, %v old", c.RemoteAddr(), time.Since(c.begun).Round(time.Millisecond)))
	}
	return names
}
