package flags

import (
	"log/slog"
	"runtime/debug"
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
	history []noted // the oldest first
	calls   []call  // what is to be told to watchers
	calling bool    // somebody does so
}

type noted struct {
	entry *entry
	Change
}

// call is one of a watcher. Without a logger its panic is the caller's.
type call struct {
	f      func()
	entry  *entry
	logger *slog.Logger
}

// write runs f under the lock, and calls the watchers afterwards.
func write(f func()) {
	writer.Lock()
	func() {
		defer writer.Unlock()
		f()
	}()
	writer.callWatchers()
}

// store puts an entry's state into force. A panic of its owner must not leave the
// change half done: it comes when the change is complete.
func (j *journal) store(e *entry, logger *slog.Logger) {
	defer func() {
		if p := recover(); p != nil {
			j.calls = append(j.calls, call{func() { panic(p) }, e, logger})
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
	j.history = append(j.history, noted{e, c})
	return c
}

// callWatchers calls what is queued, unless somebody is at it.
func (j *journal) callWatchers() {
	j.Lock()
	if j.calling {
		j.Unlock()
		return
	}
	j.calling = true
	j.Unlock()
	over := false
	defer func() {
		if !over { // a watcher has ended the goroutine
			j.Lock()
			j.calling = false
			j.Unlock()
			go j.callWatchers()
		}
	}()
	for {
		c, ok := j.nextCall()
		if !ok {
			over = true
			return
		}
		c.run()
	}
}

// nextCall takes the next call from the queue, or ends the calling.
func (j *journal) nextCall() (call, bool) {
	j.Lock()
	defer j.Unlock()
	if len(j.calls) == 0 {
		j.calling, j.calls = false, nil
		return call{}, false
	}
	c := j.calls[0]
	j.calls = j.calls[1:]
	return c, true
}

func (c call) run() {
	if c.logger != nil {
		defer c.recovered()
	}
	c.f()
}

// recovered logs a panic, whose text may hold the value.
func (c call) recovered() {
	p := recover()
	if p == nil {
		return
	}
	c.logger.Error("a function of a flag panicked", "name", c.entry.name, "err", p, "stack", string(debug.Stack()))
}

// unfit tells characters that are not for a line.
func unfit(r rune) bool {
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
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
