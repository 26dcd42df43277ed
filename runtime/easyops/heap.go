package easyops

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
)

// heapReserve is how much of the heap a server holds and never touches, in bytes.
//
// Go collects garbage whenever the heap has doubled, and a server with little in
// it doubles with every few hundred calls: a third of what such a server executes
// is collection. What is held counts for the doubling, and takes no memory: the
// system gives pages when they are touched. What may come instead is that much
// more garbage. See https://go.dev/doc/gc-guide#GOGC.
const heapReserve = 4 << 20

// holdReserve holds the reserve from its first call on. To take it is a collection
// by itself, which is not for the start.
func (s *Server) holdReserve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserve == nil {
		s.reserve = reserveHeap()
	}
}

// reserveHeap returns the reserve, which counts for as long as it is kept.
func reserveHeap() []byte {
	return make([]byte, reserveFor(os.Getenv("GOGC"), gcPercent(), debug.SetMemoryLimit(-1)))
}

// reserveFor returns how large the reserve is. There is none where somebody has
// said when to collect, nor where memory is short.
func reserveFor(gogc string, percent uint64, memoryLimit int64) int {
	if gogc != "" || percent != 100 || memoryLimit < 8*heapReserve {
		return 0
	}
	return heapReserve
}

// gcPercent is what GOGC or [debug.SetGCPercent] has set. It cannot be asked of
// the latter without a change.
func gcPercent() uint64 {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
