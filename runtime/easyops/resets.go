package easyops

import (
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/runtime/port"
)

const (
	// resetWindow is the time in which a connection's cancelled calls are counted.
	resetWindow = 10 * time.Second
	// hastyDeadline is what a call needs at least to be more than a cancelled one.
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
	close  func(remote string)
	active atomic.Int32 // connections looked at; none in the usual case
	mu     sync.Mutex
	conns  map[string]*resetCount
}

type resetCount struct {
	since time.Time
	of    [cancelled + 1]int
	told  bool // that it is to be closed
}

func newResets(max int, close func(string)) *resets {
	return &resets{max: max, close: close, conns: map[string]*resetCount{}}
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
	remote := peerOf(c)
	if remote == "" || remote == "@" { // a Unix socket: clients cannot be told apart
		return
	}
	if r.count(remote, how, time.Now()) {
		r.close(remote)
	}
}

// unlessGone drops a gRPC call by net/http that was cancelled before its handler has
// begun, as those of a rapid reset are: a transport and its buffers are many times
// what it took until then. It counts as one that was cancelled.
func (r *resets) unlessGone(h http.Handler) http.Handler {
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
		if r.count(req.RemoteAddr, cancelled, time.Now()) {
			r.close(req.RemoteAddr)
		}
	})
}

// isHasty tells whether the call's client gave it no time, and it took longer.
func (c *call) isHasty() bool {
	if c.Err() == nil || c.cancel != nil { // not over, or with a deadline of the method's
		return false
	}
	deadline, ok := c.Deadline()
	return ok && deadline.Sub(c.start()) < hastyDeadline
}

// count tells whether the connection is to be closed, once a window: calls of
// it still end while it is being closed.
func (r *resets) count(remote string, how outcome, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.conns[remote]
	if n == nil {
		if how == done {
			return false
		}
		n = &resetCount{since: now}
		r.conns[remote] = n
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

// forget drops the connections whose window is over. It is called now and then.
func (r *resets) forget(now time.Time) {
	if r.active.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for remote, n := range r.conns {
		if now.Sub(n.since) > resetWindow {
			delete(r.conns, remote)
		}
	}
	r.active.Store(int32(len(r.conns)))
}
