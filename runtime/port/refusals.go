package port

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
)

func (p *Port) logRefusal(c *conn, reason string) {
	if n, ok := p.refusals.take(time.Now()); ok {
		p.cfg.Logger.Warn("connection refused", "peer", c.remote, "reason", reason, "count", n)
	}
}

// logFailed tells of a connection that ended before its first request. Certificates that do not
// fit together are somebody's mistake, who has to know; other faults are mostly port scanners.
func (p *Port) logFailed(c *conn, err error) {
	if !isCertificateFault(err) {
		if n, ok := p.unbegun.take(time.Now()); ok {
			p.cfg.Logger.Debug("connection closed before its first request", "peer", c.remote, "err", clean(err.Error()), "count", n)
		}
		return
	}
	if n, ok := p.certFaults.take(time.Now()); ok {
		p.cfg.Logger.Warn("TLS handshake failed", "peer", c.remote, "err", clean(err.Error()), "count", n)
	}
}

// isCertificateFault tells whether the client's certificate was not taken here, or ours was not
// taken there, which an alert says (RFC 8446, section 6.2).
func isCertificateFault(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	alert, ok := errors.AsType[*net.OpError](err)
	return ok && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate")
}

const maxLogged = 256 // characters of an error

// clean makes text that may come from a client fit for a log: bounded, and without characters
// that steer a terminal or change the direction of writing. Of a longer text the beginning and
// the end are kept.
func clean(s string) string {
	if most := 4 * maxLogged; len(s) > 2*most { // a character has four bytes at most
		s = s[:most] + s[len(s)-most:]
	}
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s))
	if len(runes) <= maxLogged {
		return string(runes)
	}
	return string(runes[:maxLogged/2]) + "…" + string(runes[len(runes)-maxLogged/2+1:])
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
