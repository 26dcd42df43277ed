package edge

import (
	"cmp"
	"errors"
	"sync"
	"time"
)

// linger is how long connections to a service stay that no route needs any more, for
// requests that have found their route just before.
const linger = 5 * time.Second

// holder is something to be closed when nobody needs it: neither the table nor a
// request. Its methods may be called concurrently.
type holder struct {
	close func() error
	all   *sync.WaitGroup // of all that are not closed yet; nil for none

	mu     sync.Mutex
	linger time.Duration // in place of linger; 0 is that
	users  int           // requests
	gone   bool
	timer  *time.Timer // of one that is gone and has no users
	closed bool
}

var errEnded = errors.New("the edge has closed its connections to the service")

// take is called when a request begins, drop when it ends.
func (h *holder) take() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errEnded
	}
	h.users++
	if h.timer != nil {
		h.timer.Stop()
	}
	return nil
}

func (h *holder) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users--
	h.leaveLocked()
}

// keep says whether the table needs it. One that was closed cannot be kept.
func (h *holder) keep(needed bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = !needed
	h.leaveLocked()
	return !h.closed
}

// stay makes it linger for longer: it is of use.
func (h *holder) stay(linger time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.linger = linger
}

func (h *holder) leaveLocked() {
	if h.timer != nil {
		h.timer.Stop()
	}
	if h.gone && h.users == 0 && !h.closed {
		h.timer = time.AfterFunc(cmp.Or(h.linger, linger), func() { _ = h.end(false) })
	}
}

// end closes it: at once, or only if nobody needs it.
func (h *holder) end(atOnce bool) error {
	h.mu.Lock()
	if h.closed || !atOnce && (!h.gone || h.users > 0) {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	if h.timer != nil {
		h.timer.Stop()
	}
	h.mu.Unlock()
	if h.all != nil {
		defer h.all.Done()
	}
	return h.close()
}

func (h *holder) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

func (h *holder) inUse() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.users
}

// stays tells whether it was of use.
func (h *holder) stays() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.linger != 0
}
