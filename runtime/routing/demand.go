package routing

import (
	"maps"
	"sync"
	"time"
)

const (
	// unasked is how long a class stays connected without a call.
	unasked = 5 * time.Minute
	// maxAsked is how many classes are connected at once, besides the plain one.
	maxAsked = 64
	// minAsked is how long a class stays connected although there are others
	// that wait for their turn.
	minAsked = 10 * time.Second
)

// demand is which classes calls have asked for of late, other than the plain one,
// which is always connected.
type demand struct {
	kick chan struct{} // takes one when there is something new

	mu    sync.Mutex
	asked map[class]time.Time // when last
	down  map[class]bool      // none of its chosen instances can be reached
}

func newDemand() *demand {
	return &demand{kick: make(chan struct{}, 1), asked: map[class]time.Time{}, down: map[class]bool{}}
}

// reached notes whether one of the chosen instances of a class can be reached.
func (d *demand) reached(c class, one bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down[c] != one {
		return
	}
	if one {
		delete(d.down, c)
	} else {
		d.down[c] = true
	}
	d.news()
}

// news has the finder look again.
func (d *demand) news() {
	select {
	case d.kick <- struct{}{}:
	default: // it knows
	}
}

// ask notes that a call wants to go to a class. It reports false where too many
// others are in use.
func (d *demand) ask(c class, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.asked[c]
	if !known && len(d.asked) >= maxAsked && !d.dropOldestLocked(now) {
		return false
	}
	d.asked[c] = now
	if !known {
		d.news()
	}
	return true
}

// dropOldestLocked makes room for another class.
func (d *demand) dropOldestLocked(now time.Time) bool {
	oldest, at := plain, now.Add(-minAsked)
	for c, t := range d.asked {
		if !t.After(at) {
			oldest, at = c, t
		}
	}
	delete(d.asked, oldest)
	delete(d.down, oldest)
	return oldest != plain
}

// unreached returns the classes that are down.
func (d *demand) unreached() map[class]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.down)
}

// current returns the classes to be connected, and when to ask again because
// one of them will have been without a call for too long; zero for never.
func (d *demand) current(now time.Time) (asked map[class]bool, next time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked = make(map[class]bool, len(d.asked))
	for c, t := range d.asked {
		left := t.Add(unasked).Sub(now)
		if left <= 0 {
			delete(d.asked, c)
			delete(d.down, c)
			continue
		}
		asked[c] = true
		if next == 0 || left < next {
			next = left
		}
	}
	return asked, next
}
