package edge

import (
	"errors"
	"math"
	"sync/atomic"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
)

// room is that for the connections of all TCP routes together: they are to leave
// descriptors for HTTPS, gRPC and the status pages, whoever opens them.
type room struct {
	most  int
	taken atomic.Int64
}

// filesPerConnection bounds those of a connection that is passed on: 2 of its own, 4
// of the kernel's pipes, and as many again for all that is not TCP routes.
const filesPerConnection = 8

// newRoom makes one within the limit of open files of the process, 0 for none.
func newRoom(openFiles uint64) *room {
	if openFiles == 0 {
		openFiles = math.MaxInt32
	}
	return &room{most: int(max(1, min(openFiles, math.MaxInt32)/filesPerConnection))}
}

var errNoRoom = errors.New("the TCP routes have as many connections together as the limit of open files (ulimit -n) is enough for: raise it")

// enter takes a place, if there is one, which leave gives back.
func (r *room) enter() bool {
	if r.taken.Add(1) <= int64(r.most) {
		return true
	}
	r.leave()
	return false
}

func (r *room) leave() { r.taken.Add(-1) }

// enough tells whether all routes can have as many connections as they may, which is
// the other result.
func (r *room) enough(all []routes.TCPRoute) (most int, ok bool) {
	for _, route := range all {
		n, _ := route.Bounds(math.MaxInt32)
		most += n
	}
	return most, most <= r.most
}
