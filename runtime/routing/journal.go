package routing

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"
)

const (
	// maxQueued is how many records wait for a log that is slow.
	maxQueued = 64
	// logPatience is how long Close waits for the log to take them.
	logPatience = time.Second
)

// journal hands records to the log, one after the other, by a goroutine that holds
// no lock: who has something to log is called by gRPC with locks of its own, and
// nobody knows what a log does. It may make calls over the Conn. The goroutine is
// there only while records wait. A nil journal has no log.
type journal struct {
	log slog.Handler

	mu      sync.Mutex // nothing else is locked while it is
	queue   []slog.Record
	dropped int
	drained chan struct{} // closed when the goroutine ends; nil while there is none
	closed  bool
}

func newJournal(log *slog.Logger) *journal { return &journal{log: log.Handler()} }

func (j *journal) warn(text string, args ...any) { j.add(slog.LevelWarn, text, args) }
func (j *journal) info(text string, args ...any) { j.add(slog.LevelInfo, text, args) }

// add queues a record of now, or drops it where too many wait.
func (j *journal) add(level slog.Level, text string, args []any) {
	if j == nil {
		return
	}
	var caller [1]uintptr
	runtime.Callers(3, caller[:])
	r := slog.NewRecord(time.Now(), level, text, caller[0])
	r.Add(args...)
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return
	case len(j.queue) >= maxQueued:
		j.dropped++
		return
	}
	j.queue = append(j.queue, r)
	if j.drained == nil {
		j.drained = make(chan struct{})
		go j.drain(j.drained)
	}
}

func (j *journal) drain(done chan struct{}) {
	defer close(done)
	for r, ok := j.next(); ok; r, ok = j.next() {
		if ctx := context.Background(); j.log.Enabled(ctx, r.Level) {
			_ = j.log.Handle(ctx, r) // as slog does
		}
	}
}

// next returns the next record, or false where there is none and the goroutine ends.
func (j *journal) next() (r slog.Record, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case len(j.queue) > 0:
		r, j.queue = j.queue[0], j.queue[1:]
	case j.dropped > 0:
		r = slog.NewRecord(time.Now(), slog.LevelWarn, "the log is too slow, records of a client are left out", 0)
		r.Add("count", j.dropped)
		j.dropped = 0
	default:
		j.drained = nil
		return r, false
	}
	return r, true
}

// close waits until the log has what is queued, but not for ever: the log may be
// what closes the Conn.
func (j *journal) close() {
	j.mu.Lock()
	j.closed = true
	drained := j.drained
	j.mu.Unlock()
	if drained == nil {
		return
	}
	patience := time.NewTimer(logPatience)
	defer patience.Stop()
	select {
	case <-drained:
	case <-patience.C:
	}
}
