package easyops

import (
	"sync"
	"sync/atomic"
	"time"
)

// resetWindow is the time in which a connection's cancelled calls are counted.
const resetWindow = 10 * time.Second

// resets finds connections that begin calls only to cancel them, as in a rapid
// reset attack (CVE-2023-44487). A connection is one when it has cancelled many
// calls in a window, and more than it has let end.
type resets struct {
	max    int
	close  func(remote string)
	active atomic.Int32 // connections looked at; none in the usual case
	mu     sync.Mutex
	conns  map[string]*resetCount
}

type resetCount struct {
	since           time.Time
	cancelled, done int
	told            bool // that it is to be closed
}

func newResets(max int, close func(string)) *resets {
	return &resets{max: max, close: close, conns: map[string]*resetCount{}}
}

// ended counts a call that has ended.
func (r *resets) ended(c *call, cancelled bool) {
	if !cancelled && r.active.Load() == 0 {
		return
	}
	remote := peerOf(c)
	if remote == "" || remote == "@" { // a Unix socket: clients cannot be told apart
		return
	}
	if r.count(remote, cancelled, time.Now()) {
		r.close(remote)
	}
}

// count tells whether the connection is to be closed, once a window: calls of
// it still end while it is being closed.
func (r *resets) count(remote string, cancelled bool, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.conns[remote]
	if n == nil {
		if !cancelled {
			return false
		}
		n = &resetCount{since: now}
		r.conns[remote] = n
		r.active.Store(int32(len(r.conns)))
	}
	if now.Sub(n.since) > resetWindow {
		*n = resetCount{since: now}
	}
	if cancelled {
		n.cancelled++
	} else {
		n.done++
	}
	if n.told || n.cancelled <= r.max || n.cancelled <= n.done {
		return false
	}
	n.told = true
	return true
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
