package easyops

import "sync/atomic"

// class is a kind of call with a bound of its own, so that one kind cannot
// take the room of another: a busy server is not a sick one, those who watch its
// health must not make it busy, and who sends no request keeps nobody out.
type class int8

const (
	unary     class = iota
	waiting         // unary, and the request has not arrived
	streaming       // HTTP requests too: either may last
	ownUnary        // the same for calls of the runtime's own methods
	ownWaiting
	ownStreaming
	classes
)

// own is how far the class of a runtime's own call is from that of a user's.
const own = ownUnary - unary

// firstClass returns the class in which calls of the method begin.
func (m *method) firstClass() class {
	class := waiting
	if m.stream {
		class = streaming
	}
	if m.ours {
		class += own
	}
	return class
}

// arrived returns the class of a waiting call when its request has arrived.
func (k class) arrived() class { return k - (waiting - unary) }

// room is how many more calls of a class may begin. Shards take it in portions,
// so that they seldom meet here.
type room struct {
	left    atomic.Int64
	portion int64
	full    atomic.Bool // nobody had room to spare when last asked, and no call has ended since
}

const maxPortion = 32

// init bounds what shards may have to spare to a quarter of the room.
func (r *room) init(most int64, shards int) {
	r.left.Store(most)
	r.portion = max(1, min(maxPortion, most/int64(12*shards)))
}

// take takes a portion, or what there is.
func (r *room) take() int64 {
	for {
		left := r.left.Load()
		if n := min(left, r.portion); n == 0 || r.left.CompareAndSwap(left, left-n) {
			return n
		}
	}
}

// hasRoom takes a portion for a shard that has nothing to spare. The caller holds
// the shard's lock, as that of enter and leave does.
func (cs *calls) hasRoom(s *shard, k class) bool {
	if s.spare[k] == 0 {
		s.spare[k] = cs.rooms[k].take()
	}
	return s.spare[k] > 0
}

// enter counts a call in a class, unless there is no room.
func (cs *calls) enter(s *shard, k class) bool {
	if !cs.hasRoom(s, k) {
		return false
	}
	s.spare[k]--
	s.n[k]++
	return true
}

// leave takes it back.
func (cs *calls) leave(s *shard, k class) {
	s.n[k]--
	s.spare[k]++
	r := &cs.rooms[k]
	if s.spare[k] > 2*r.portion {
		s.spare[k] -= r.portion
		r.left.Add(r.portion)
	}
	if r.full.Load() {
		r.full.Store(false)
	}
}

// gather takes back what shards have to spare of a class, and tells whether there
// is room now. It makes the bound exact, but for calls that come meanwhile. Where
// calls are refused one after the other, only the first asks the shards.
func (cs *calls) gather(k class) bool {
	r := &cs.rooms[k]
	if r.full.Swap(true) { // before the shards are asked, so that no end of a call is missed
		return false
	}
	for i := range cs.shards {
		s := &cs.shards[i]
		s.mu.Lock()
		r.left.Add(s.spare[k])
		s.spare[k] = 0
		s.mu.Unlock()
	}
	if r.left.Load() == 0 {
		return false
	}
	r.full.Store(false)
	return true
}
