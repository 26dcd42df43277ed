package flags

import (
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	historyKept = 100 // changes, of the process
	maxShown    = 256 // characters of a reason, and of a value in an error or a change
)

// writer is the one writer of flags in the process: flags on the command line are
// the process's, however many servers it has.
var writer journal

// journal changes flags, one change after the other, and remembers the last ones.
type journal struct {
	sync.Mutex
	history []*noted // the oldest first
	calls   []*call  // what is to be told to watchers
	running *call    // what is being told
	telling *telling // the calls of the change that is being made
}

type noted struct {
	entry *entry
	Change
}

// write runs f under the lock, and has the watchers called afterwards, which it does
// not wait for.
func write(f func()) *telling {
	writer.Lock()
	defer writer.Unlock()
	writer.telling = writer.newTelling()
	f()
	writer.next()
	return writer.telling
}

// store puts an entry's state into force. A panic of its owner must not leave the
// change half done: it is told of when the change is complete.
func (j *journal) store(e *entry, logger *slog.Logger) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			j.queue(&call{entry: e, logger: logger, f: func() { panic(stacked{p, stack}) }})
		}
	}()
	e.now.store()
}

// note keeps a change for the history, and completes it.
func (j *journal) note(e *entry, former state, c Change) Change {
	c.Time, c.Name, c.Old, c.New = time.Now(), e.name, shorten(e.shown(former)), shorten(e.shown(e.now))
	if len(j.history) == historyKept {
		j.history = append(j.history[:0], j.history[1:]...)
	}
	j.history = append(j.history, &noted{e, c})
	return c
}

// supersede marks the last change that was to go back.
func (j *journal) supersede(e *entry) {
	for _, n := range slices.Backward(j.history) {
		if n.entry == e && !n.Reverts.IsZero() {
			n.Superseded = true
			return
		}
	}
}

// unfit tells characters that are not for a line.
func unfit(r rune) bool {
	return r == utf8.RuneError || r == '\u3164' || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// shorten cuts a text and spells out what is not for a line.
func shorten(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxShown {
			s = s[:i] + "…"
			break
		}
	}
	return strings.Map(func(r rune) rune {
		if unfit(r) {
			return '?'
		}
		return r
	}, s)
}
