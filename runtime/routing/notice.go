package routing

import (
	"sync"
	"time"
)

// notice is news for the log: that an instance is ejected, or is back.
type notice struct {
	instance, peer string
	class          class
	err            error         // nil when it is back
	duration       time.Duration // of the ejection
}

// maxNotices bounds what the log is told in a minute.
const maxNotices = 20

// notices tells the log of ejections: of the first one until the instance is
// back, and of that.
type notices struct {
	journal *journal
	service string
	minute  budget
}

// budget is the lines that the log gets in a minute. The zero value is one of
// maxNotices.
type budget struct {
	mu    sync.Mutex
	since time.Time
	taken int
}

// take reports whether there may be another line.
func (b *budget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.since) > time.Minute {
		b.since, b.taken = now, 0
	}
	b.taken++
	return b.taken <= maxNotices
}

func (l *notices) tell(news ...notice) {
	for _, n := range news {
		if l == nil || !l.minute.take(time.Now()) {
			continue
		}
		who := []any{"service", l.service, "instance", n.instance, "peer", n.peer, "class", n.class.String()}
		if n.err != nil {
			l.journal.warn("an instance fails, it gets no calls for a while", append(who, "duration", n.duration, "err", causeOf(n.err))...)
		} else {
			l.journal.info("an instance that failed gets calls again", who...)
		}
	}
}
