package flags

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Where a value comes from.
const (
	sourceDefault  = "default"
	sourceFlag     = "flag"
	sourceOperator = "operator"
	sourceTest     = "test"
)

// entry is a flag of whatever kind and maker.
type entry struct {
	name, usage, kind, standard string
	values                      []string
	secret, static              bool
	parse                       func(text string) (state, error) // checks; nil where nothing can be changed
	notify                      func(from, to any) []func()      // nil where nobody is told

	// Guarded by the writer lock.
	now     state
	pending *pending
	wrong   error // what the command line said of a secret
}

// state is a value that a flag can have.
type state struct {
	text, source string
	value        any    // for notify
	store        func() // puts it into force; must not fail or wait
}

// pending says to what an entry goes back, and by which revert.
type pending struct {
	by   *revert
	base state
}

// shown is a state's text for people.
func (e *entry) shown(s state) string {
	if e.secret && s.text != "" {
		return Redacted
	}
	return Redact(s.text)
}

func (e *entry) text() string {
	writer.Lock()
	defer writer.Unlock()
	return e.shown(e.now)
}

func (e *entry) fault() error {
	writer.Lock()
	defer writer.Unlock()
	return e.wrong
}

// dynamic tells whether an operator may change it.
func (e *entry) dynamic() bool { return e.parse != nil && !e.static && !e.secret }

// set takes a value from the command line. It is not for operators: it asks
// neither whether the flag is static nor whether it is secret.
func (e *entry) set(text string) error {
	s, err := e.parse(text)
	if e.secret {
		var wrong error
		if err != nil {
			wrong = fmt.Errorf("-%s: the value is not valid; it is secret, so neither it nor what is wrong with it is shown", e.name)
		}
		write(func() { e.wrong = wrong })
		if err != nil {
			return nil // with an error package flag would print the value
		}
	}
	if err != nil {
		return err
	}
	s.source = sourceFlag
	write(func() {
		e.cancel()
		e.become(s, nil)
	}).waitOrPanic()
	return nil
}

// become puts a state into force, queues what watchers are to be told, and returns
// the former one. The caller has the writer lock.
func (e *entry) become(s state, logger *slog.Logger) (former state) {
	former, e.now = e.now, s
	if s.store != nil {
		writer.store(e, logger)
	}
	if e.notify != nil && former.text != s.text {
		for _, f := range e.notify(former.value, s.value) {
			writer.queue(&call{f: f, entry: e, logger: logger})
		}
	}
	return former
}

// cancel forgets that the entry is to go back. The caller has the writer lock.
func (e *entry) cancel() {
	if e.pending != nil {
		e.pending.by.leave()
		e.pending = nil
		writer.supersede(e)
	}
}

// prepare checks what an operator wants and returns the state that it makes.
func (e *entry) prepare(text string) (state, error) {
	switch {
	case e.secret:
		return state{}, errors.New("is secret, so it cannot be changed here: restart the program with the new value")
	case !e.dynamic():
		return state{}, errors.New("cannot be changed while the program runs: restart it with the new value")
	case len(text) > MaxValue:
		return state{}, fmt.Errorf("has %d bytes, %d are the most", len(text), MaxValue)
	case strings.ContainsFunc(text, unfit):
		return state{}, errors.New("has a line break or another character that cannot be seen: leave it out")
	}
	s, err := e.parse(e.spelled(text))
	if err != nil {
		return s, fmt.Errorf("%q: %s", shorten(Redact(text)), Redact(err.Error())) // which may have the value in it
	}
	s.source = sourceOperator
	return s, nil
}

// spelled is a value of an enum as it is listed, whatever its case.
func (e *entry) spelled(text string) string {
	if slices.Contains(e.values, text) {
		return text
	}
	if i := slices.IndexFunc(e.values, func(v string) bool { return strings.EqualFold(v, text) }); i >= 0 {
		return e.values[i]
	}
	return text
}

// info is the entry as it is listed. The caller has the writer lock.
func (e *entry) info() Info {
	i := Info{
		Name: e.name, Value: e.shown(e.now), Default: e.standard, Usage: unquoted(e.usage), Type: e.kind, Values: slices.Clone(e.values),
		Dynamic: e.dynamic(), Secret: e.secret, Source: e.now.source,
	}
	i.Withheld = i.Value != e.now.text
	if e.pending != nil {
		i.Reverts, i.RevertsTo = e.pending.by.at, e.shown(e.pending.base)
	}
	return i
}

// unquoted is a usage without the back quotes in which package flag looks for the
// name of the value.
func unquoted(usage string) string {
	if strings.Count(usage, "`") < 2 {
		return usage
	}
	return strings.Replace(usage, "`", "", 2)
}

// revert puts the entries of one change back when their time is over.
type revert struct {
	at      time.Time
	timer   *time.Timer
	entries []*entry
	left    int // of the entries, those that still wait for it
	set     *Set
}

// leave notes that an entry waits no longer. The caller has the writer lock.
func (r *revert) leave() {
	if r.left--; r.left == 0 {
		r.timer.Stop()
	}
}

// run puts back what still waits.
func (r *revert) run() {
	var changes []Change
	told := write(func() {
		for _, e := range r.entries {
			if e.pending == nil || e.pending.by != r {
				continue // a later change has decided
			}
			base := e.pending.base
			e.pending = nil
			former := e.become(base, r.set.log)
			changes = append(changes, writer.note(e, former, Change{Who: RevertedBy}))
		}
	})
	for _, c := range changes {
		r.set.log.Info("parameter reverted", "name", c.Name, "old", shorten(c.Old), "new", shorten(c.New))
	}
	told.wait(r.set.log)
}

// lookup returns the value of a flag that is not this package's, as it is.
func lookup(f *flag.Flag) (text string) {
	defer func() {
		if recover() != nil {
			text = "its String method panics"
		}
	}()
	return f.Value.String()
}
