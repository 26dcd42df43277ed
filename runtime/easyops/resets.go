package easyops

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/port"
)

const (
	// resetWindow is the time in which a connection's cancelled calls are counted.
	resetWindow = 10 * time.Second
	// hastyDeadline is what a call needs at least to be more than a cancelled one,
	// and by how much a client's deadline may pass before ours.
	hastyDeadline = 5 * time.Millisecond
	// hastyShare is how many hasty calls count as one cancelled: a client may be
	// in a hurry, and the server slow.
	hastyShare = 10
)

// outcome is how a call has ended.
type outcome int

const (
	done      outcome = iota
	hasty             // its client gave it no time, and it took longer
	cancelled         // by its client
)

// resets finds connections that begin calls only to cancel them, as in a rapid
// reset attack (CVE-2023-44487), or give them no time, which does the same. A
// connection is one when many of its calls in a window ended so, and most of them.
type resets struct {
	max    int
	close  func(*port.Use)
	active atomic.Int32 // connections looked at; none in the usual case
	mu     sync.Mutex
	conns  map[*port.Use]*resetCount
}

type resetCount struct {
	since time.Time
	of    [cancelled + 1]int
	told  bool // that it is to be closed
}

func newResets(max int, close func(*port.Use)) *resets {
	return &resets{max: max, close: close, conns: map[*port.Use]*resetCount{}}
}

// ended counts a call that has ended.
func (r *resets) ended(c *call, byClient bool) {
	how := done
	switch {
	case byClient:
		how = cancelled
	case c.isHasty():
		how = hasty
	}
	if how == done && r.active.Load() == 0 {
		return
	}
	r.note(c.use, how)
}

// note counts a call by a connection, which is closed if it is one too many.
func (r *resets) note(u *port.Use, how outcome) {
	if u == nil || u.Closed() { // not known any more
		return
	}
	if r.count(u, how, time.Now()) {
		r.close(u)
	}
}

// unlessGone drops a gRPC call by net/http that was cancelled before its handler has
// begun, as those of a rapid reset are: a transport and its buffers are many times
// what it took until then. It counts as one that was cancelled.
//
// That is most of those that come here. About half of a storm does not: net/http
// drops what is cancelled while it waits for others of its connection to end.
func (s *Server) unlessGone(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !port.IsGRPC(req) {
			h.ServeHTTP(w, req)
			return
		}
		runtime.Gosched() // a cancellation that has come with the call is read first
		if req.Context().Err() == nil {
			h.ServeHTTP(w, req)
			return
		}
		s.countGone(req)
	})
}

// countGone counts a call that nobody has looked at: who made it is not known.
func (s *Server) countGone(req *http.Request) {
	m := s.methods[strings.TrimPrefix(req.URL.Path, "/")]
	if m == nil {
		m = s.unknown
	}
	m.metrics.Started(0)
	m.metrics.Done(0, codes.Canceled, 0)
	s.callers.ended(&call{method: m, flight: &flight{begun: s.uptime(), dice: 1}}, codes.Canceled, 0)
	u := s.port.UseOf(req.Context())
	u.Begin()
	u.End()
	how := cancelled
	if isHasty(req.Header.Get("Grpc-Timeout")) {
		how = hasty
	}
	s.resets.note(u, how)
}

// isHasty tells whether a timeout such as "2m", which is 2 ms, is no time at all.
func isHasty(timeout string) bool {
	last := max(len(timeout)-1, 0)
	n, err := strconv.ParseUint(timeout[:last], 10, 32)
	if err != nil {
		return false
	}
	switch d := time.Duration(n); timeout[last] {
	case 'n':
		return d < hastyDeadline
	case 'u':
		return d*time.Microsecond < hastyDeadline
	case 'm':
		return d*time.Millisecond < hastyDeadline
	}
	return false // whole seconds or more
}

// isHasty tells whether the call's client gave it no time, and it took longer.
func (c *call) isHasty() bool {
	if c.Err() == nil || c.isLimited() { // not over, or with a deadline of the method's
		return false
	}
	deadline, ok := c.Deadline()
	return ok && deadline.Sub(c.start()) < hastyDeadline
}

// count tells whether the connection is to be closed, once a window: calls of
// it still end while it is being closed.
func (r *resets) count(u *port.Use, how outcome, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.conns[u]
	if n == nil {
		if how == done {
			return false
		}
		n = &resetCount{since: now}
		r.conns[u] = n
		r.active.Store(int32(len(r.conns)))
	}
	if now.Sub(n.since) > resetWindow {
		*n = resetCount{since: now}
	}
	n.of[how]++
	if n.told || !n.isReset(r.max) {
		return false
	}
	n.told = true
	return true
}

func (n *resetCount) isReset(max int) bool {
	many := n.of[cancelled]+n.of[hasty]/hastyShare > max
	return many && n.of[cancelled]+n.of[hasty] > n.of[done]
}

// forget drops the connections whose window is over, and those that are closed. It is
// called now and then.
func (r *resets) forget(now time.Time) {
	if r.active.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for u, n := range r.conns {
		if now.Sub(n.since) > resetWindow || u.Closed() {
			delete(r.conns, u)
		}
	}
	r.active.Store(int32(len(r.conns)))
}
