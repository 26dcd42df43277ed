package tcp

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sort"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
)

// Refusal is why a connection was closed before the handler had it.
type Refusal int

// The reasons of refusals.
const (
	TooMany         Refusal = iota // connections in all, or the server is closed
	TooManyOfClient                // connections of this client
	BadProxyHeader                 // none, or not a right one, from a proxy
	BadHandshake                   // of TLS
	NotAdmitted                    // by Config.Admit
	numRefusals
)

// Refusals are all reasons.
func Refusals() []Refusal {
	return []Refusal{TooMany, TooManyOfClient, BadProxyHeader, BadHandshake, NotAdmitted}
}

// String is the reason in one word, as metrics have it.
func (r Refusal) String() string {
	switch r {
	case TooMany:
		return "limit"
	case TooManyOfClient:
		return "client_limit"
	case BadProxyHeader:
		return "proxy_header"
	case BadHandshake:
		return "tls"
	case NotAdmitted:
		return "identity"
	}
	return fmt.Sprintf("Refusal(%d)", int(r))
}

// text is the reason as the log has it.
func (r Refusal) text() string {
	switch r {
	case TooMany:
		return "too many connections"
	case TooManyOfClient:
		return "too many connections from this client"
	case BadProxyHeader:
		return "no header of the PROXY protocol from a proxy that is to send one"
	case BadHandshake:
		return "TLS handshake failed"
	}
	return "the access rule does not let it in"
}

// refuse counts a connection that is closed, and tells of it.
func (s *Server) refuse(c *conn, why Refusal, err error) {
	s.counts[why].Add(1)
	n, ok := s.refusals[why].take(time.Now())
	if !ok {
		return
	}
	attrs := []any{"service", s.cfg.Name, "peer", c.remote.String(), "reason", why.text(), "count", n}
	if err != nil {
		attrs = append(attrs, slog.String("err", clean(err.Error())))
	}
	s.cfg.Logger.Warn("connection refused", attrs...)
}

// Stats is what a server has counted.
type Stats struct {
	Open           int    // connections now
	Accepted       uint64 // connections, without those above a limit
	Panics         uint64 // of handlers
	Received, Sent uint64 // bytes on the wire
}

// Stats returns what was counted. It takes no longer for many connections.
func (s *Server) Stats() Stats {
	st := Stats{Open: s.Open(), Accepted: s.accepted.Load(), Panics: s.panics.Load()}
	for i := range s.traffic {
		st.Received += s.traffic[i].received.Load()
		st.Sent += s.traffic[i].sent.Load()
	}
	return st
}

// share returns where the traffic of a new connection is added up. There are several, because
// processors that count at the same place wait for each other.
func (s *Server) share() *traffic {
	return &s.traffic[s.accepted.Load()%uint64(len(s.traffic))]
}

// Refused returns how many connections were refused for a reason.
func (s *Server) Refused(why Refusal) uint64 { return s.counts[why].Load() }

// Open returns how many connections are open.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Connection is an open connection, as it was when it was listed.
type Connection struct {
	Peer  string    // the client
	Proxy string    // that has named the client, by the PROXY protocol; "" for none
	Since time.Time // it was accepted
	// Received and Sent are bytes on the wire, with those of TLS. What the kernel copies
	// counts later, up to a megabyte at a time.
	Received, Sent uint64
	TLS            *tls.ConnectionState // nil without TLS, or before its handshake is done; must not be changed
}

// Connections returns the open connections, the oldest first and not more than most, and how
// many there are. It holds up new ones no longer than it takes to note which there are.
func (s *Server) Connections(most int) (oldest []Connection, total int) {
	open := s.snapshot()
	sort.Slice(open, func(i, j int) bool { return open[i].begun.Before(open[j].begun) })
	oldest = make([]Connection, min(most, len(open)))
	for i := range oldest {
		c := open[i]
		oldest[i] = Connection{
			Peer: c.remote.String(), Proxy: c.proxy, Since: c.begun,
			Received: c.own.received.Load(), Sent: c.own.sent.Load(), TLS: c.tls.Load(),
		}
	}
	return oldest, len(open)
}

// noted is a connection, with what may be read under the lock of the server alone.
type noted struct {
	*conn
	remote net.Addr
	proxy  string
}

func (s *Server) snapshot() []noted {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]noted, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, noted{c, c.remote, c.proxy})
	}
	return all
}

const maxLogged = 256 // characters of an error

// clean makes text that may come from a client fit for a log: bounded, and without characters
// that steer a terminal or change the direction of writing.
func clean(s string) string {
	if len(s) > 4*maxLogged { // a character has four bytes at most
		s = s[:4*maxLogged]
	}
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s))
	return string(runes[:min(len(runes), maxLogged)])
}

// sampler lets one event a second through and counts the others.
type sampler struct {
	last    atomic.Int64 // unix nanoseconds
	skipped atomic.Int64
}

// take reports whether to log now, and for how many events.
func (s *sampler) take(now time.Time) (count int64, ok bool) {
	n := s.skipped.Add(1)
	last := s.last.Load()
	if now.UnixNano()-last < int64(time.Second) || !s.last.CompareAndSwap(last, now.UnixNano()) {
		return 0, false
	}
	s.skipped.Add(-n)
	return n, true
}
