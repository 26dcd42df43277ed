package flags

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Changes is what an operator wants.
type Changes struct {
	Values map[string]string // by the names of the flags
	// TTL is for how long it holds, from [MinTTL] to [MaxTTL]; 0 means for good.
	TTL time.Duration
	// DryRun says only to check it.
	DryRun bool
	// Who and Reason are for the history, which keeps 256 characters of each.
	Who, Reason string
}

// Change is a flag that has changed. Values are shown as [Info] shows them, of longer
// ones the first 256 characters.
type Change struct {
	Time     time.Time
	Name     string
	Old, New string
	Who      string // [RevertedBy] where a time to live has ended
	Reason   string
	Reverts  time.Time // zero where it holds for good
	// Superseded says, in the history, that it did not go back, or will not: a
	// later change has decided.
	Superseded bool
	// Warning says, where it was made just now, which function of [Flag.OnChange] has
	// panicked or not returned. All that were changed together have the same.
	Warning string
}

// Change changes flags: all of them, or none and the error has a line for each that
// cannot be. All are checked before the first is stored; who reads several without
// the lock may see some new and some old for a moment.
//
// A change with a time to live goes back when that is over: to the value that was
// last set for good, not to one that was itself to be taken back. The latest change of
// a flag alone decides, so one for good cancels what was to happen, and one with a
// time to live sets that anew. The timer belongs to the process: it runs on when a server
// has stopped, for flags that are not its own.
//
// It returns when the functions of [Flag.OnChange] have, or after 5 s. The change is
// made then, whatever has become of them.
func (s *Set) Change(c Changes) ([]Change, error) {
	states, err := s.prepare(c)
	if err != nil {
		return nil, err
	}
	note := Change{Who: shorten(c.Who), Reason: shorten(c.Reason)}
	names := slices.Sorted(maps.Keys(states))
	if c.DryRun {
		return s.wouldChange(names, states, note, c.TTL), nil
	}
	var changes []Change
	told := write(func() {
		r := s.newRevert(c.TTL)
		if r != nil {
			note.Reverts = r.at
		}
		for _, name := range names {
			changes = append(changes, s.apply(s.byName[name], states[name], r, note))
		}
	})
	warning := told.wait(s.log)
	for i := range changes {
		changes[i].Warning = warning
	}
	return changes, nil
}

// prepare checks all of what is wanted.
func (s *Set) prepare(c Changes) (map[string]state, error) {
	var errs []error
	if c.TTL != 0 && (c.TTL < MinTTL || c.TTL > MaxTTL) {
		errs = append(errs, fmt.Errorf("ttl: %v is not from %v to %v", c.TTL, MinTTL, MaxTTL))
	}
	if len(c.Values) == 0 {
		errs = append(errs, errors.New("no flag is named: name one with its new value"))
	}
	states := make(map[string]state, len(c.Values))
	named := map[*entry]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Values)) {
		e := s.byName[name]
		if e == nil { // the value stays out of the error: the name may be a secret's, misspelled
			errs = append(errs, fmt.Errorf("%s: there is no such flag: /internal/parameters lists them", shorten(name)))
			continue
		}
		if other, twice := named[e]; twice { // two names may stand for one flag.Value
			errs = append(errs, fmt.Errorf("%s: is the same flag as %s: name one of them", name, other))
			continue
		}
		named[e] = name
		state, err := e.prepare(c.Values[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		states[name] = state
	}
	return states, errors.Join(errs...)
}

// newRevert prepares going back, where that is wanted. The caller has the writer lock.
func (s *Set) newRevert(ttl time.Duration) *revert {
	if ttl == 0 {
		return nil
	}
	r := &revert{at: time.Now().Add(ttl), set: s}
	r.timer = time.AfterFunc(ttl, r.run) // which waits for the lock
	return r
}

// apply changes one flag. The caller has the writer lock.
func (s *Set) apply(e *entry, to state, r *revert, note Change) Change {
	base := e.now
	if e.pending != nil {
		base = e.pending.base
	}
	e.cancel()
	if r != nil {
		e.pending = &pending{r, base}
		r.entries = append(r.entries, e)
		r.left++
	}
	return writer.note(e, e.become(to, s.log), note)
}

// wouldChange is what a change would do.
func (s *Set) wouldChange(names []string, states map[string]state, note Change, ttl time.Duration) []Change {
	note.Time = time.Now()
	if ttl > 0 {
		note.Reverts = note.Time.Add(ttl)
	}
	var changes []Change
	writer.Lock()
	defer writer.Unlock()
	for _, name := range names {
		e := s.byName[name]
		note.Name, note.Old, note.New = name, shorten(e.shown(e.now)), shorten(e.shown(states[name]))
		changes = append(changes, note)
	}
	return changes
}
