package edge

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// tally is what is known of the requests or calls of a route. It outlives changes of
// the table.
type tally struct {
	open     atomic.Int64
	all      atomic.Uint64
	failures atomic.Uint64 // those that the edge could not pass on

	mu     sync.Mutex
	last   error // why, the last time
	lastAt time.Time
	told   map[string]time.Time // when the log was last told, by the message
	silent map[string]int       // how often it was not since
}

func (t *tally) begin() { t.open.Add(1); t.all.Add(1) }
func (t *tally) end()   { t.open.Add(-1) }

// fail notes that something could not be passed on, and says so in the log: once a
// minute for each message, of which there are few.
func (t *tally) fail(log *slog.Logger, message string, err error, attrs ...any) {
	t.failures.Add(1)
	now := time.Now()
	t.mu.Lock()
	t.last, t.lastAt = err, now
	if t.told == nil {
		t.told, t.silent = map[string]time.Time{}, map[string]int{}
	}
	at, before := t.told[message]
	if before && now.Sub(at) < quiet {
		t.silent[message]++
		t.mu.Unlock()
		return
	}
	more := t.silent[message]
	t.told[message], t.silent[message] = now, 0
	t.mu.Unlock()
	if more > 0 {
		attrs = append(attrs, "more", more)
	}
	log.Warn(message, append(attrs, "err", err)...) //nolint:sloglint // those of its callers are constants
}

// lastFailure returns the error of the last failure, nil for none.
func (t *tally) lastFailure() (at time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lastAt, t.last
}
