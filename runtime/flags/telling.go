package flags

import (
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// waitMost is for how long who makes a change waits for the functions that are
// told of it.
const waitMost = 5 * time.Second

// call is one of a watcher, for a change.
type call struct {
	f      func()
	entry  *entry
	logger *slog.Logger // gets its panic; nil means slog.Default()
	of     *telling

	// Guarded by the writer lock.
	begun time.Time
	late  bool // somebody has waited for it in vain
}

// telling is the calls for one change, and for those that their watchers make in
// turn. The writer lock guards it.
type telling struct {
	left     int
	over     chan struct{} // closed when none is left; nil where there was none
	panicked []*entry
	first    any // of the panics
}

// stacked is a panic from elsewhere.
type stacked struct {
	value any
	stack []byte
}

// newTelling is where the calls of a change belong that is about to be made. The
// caller has the lock.
func (j *journal) newTelling() *telling {
	if j.running != nil && calledByWatcher() {
		return j.running.of
	}
	return &telling{}
}

// queue adds a call for the change that is being made. The caller has the lock.
func (j *journal) queue(c *call) {
	c.of = j.telling
	if c.of.left++; c.of.over == nil {
		c.of.over = make(chan struct{})
	}
	j.calls = append(j.calls, c)
}

// next starts the next call, unless one is running. The caller has the lock.
func (j *journal) next() {
	if j.running != nil || len(j.calls) == 0 {
		return
	}
	j.running = j.calls[0]
	j.calls = slices.Delete(j.calls, 0, 1)
	j.running.begun = time.Now()
	go j.running.run()
}

// run calls the watcher in a goroutine of its own, which it may end.
func (c *call) run() {
	defer c.end()
	c.f()
}

// end notes a panic, and starts the next call.
func (c *call) end() {
	p := recover()
	if p != nil {
		p = c.logPanic(p)
	}
	writer.Lock()
	defer writer.Unlock()
	if p != nil && !slices.Contains(c.of.panicked, c.entry) {
		c.of.panicked = append(c.of.panicked, c.entry)
	}
	if c.of.first == nil {
		c.of.first = p
	}
	writer.running = nil
	writer.next()
	if c.of.left--; c.of.left == 0 {
		close(c.of.over)
		c.of.over = nil
	}
}

// logPanic logs a panic, whose text may hold the value, and returns it.
func (c *call) logPanic(p any) any {
	stack := debug.Stack()
	if from, ok := p.(stacked); ok {
		p, stack = from.value, from.stack
	}
	loggerOr(c.logger).Error("a function of a flag panicked", "name", c.entry.name, "err", p, "stack", string(stack))
	return p
}

func loggerOr(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.Default()
	}
	return logger
}

// wait waits until the watchers have been called, and not for one that has proven not
// to return. It returns what is to be known about them: "" where all is well. A
// watcher that makes a change does not wait: its calls come after its own.
func (t *telling) wait(logger *slog.Logger) (warning string) {
	if calledByWatcher() {
		return ""
	}
	writer.Lock()
	over, stuck := t.over, writer.stuck()
	writer.Unlock()
	if over != nil && !stuck {
		timer := time.NewTimer(waitMost)
		defer timer.Stop()
		select {
		case <-over:
		case <-timer.C:
			t.late(logger)
		}
	}
	return t.warning()
}

// waitOrPanic is wait for a program that sets a flag itself, whose panic it is.
func (t *telling) waitOrPanic() {
	t.wait(nil)
	writer.Lock()
	p := t.first
	writer.Unlock()
	if p != nil && !calledByWatcher() {
		panic(p)
	}
}

// late notes and logs that the waiting was in vain.
func (t *telling) late(logger *slog.Logger) {
	writer.Lock()
	c := writer.running
	if c == nil || t.left == 0 { // it has ended just now
		writer.Unlock()
		return
	}
	c.late = true
	name, begun := c.entry.name, c.begun
	writer.Unlock()
	loggerOr(logger).Warn("a function of a flag has not returned: those of later changes wait", "name", name, "duration", time.Since(begun))
}

func (t *telling) warning() string {
	writer.Lock()
	defer writer.Unlock()
	var all []string
	for _, e := range t.panicked {
		all = append(all, fmt.Sprintf("the function of %s panicked: the log has its stack", e.name))
	}
	if c := writer.running; c != nil && t.left > 0 {
		all = append(all, fmt.Sprintf("the function of %s has not returned; those of later changes wait", c.entry.name))
	}
	return strings.Join(all, "; ")
}

// stuck tells whether a watcher does not return. The caller has the lock.
func (j *journal) stuck() bool {
	return j.running != nil && (j.running.late || time.Since(j.running.begun) >= waitMost)
}

// Stuck names the flag whose function of [Flag.OnChange] has not returned for 5 s,
// and after it those whose functions wait for it; of all flags of the process, because
// all wait. It is empty where all is well.
func (s *Set) Stuck() (names []string) {
	writer.Lock()
	defer writer.Unlock()
	if !writer.stuck() {
		return nil
	}
	names = []string{writer.running.entry.name}
	for _, c := range writer.calls {
		if !slices.Contains(names, c.entry.name) {
			names = append(names, c.entry.name)
		}
	}
	return names
}

// calledByWatcher tells whether it is a watcher that asks.
func calledByWatcher() bool {
	run := reflect.ValueOf((*call).run).Pointer()
	pcs := make([]uintptr, 64)
	n := runtime.Callers(1, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 2*len(pcs))
		n = runtime.Callers(1, pcs)
	}
	frames := runtime.CallersFrames(pcs[:n])
	for {
		f, more := frames.Next()
		if f.Entry == run {
			return true
		}
		if !more {
			return false
		}
	}
}
