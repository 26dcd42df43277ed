package flags

import (
	"cmp"
	"errors"
	"flag"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

const (
	// MaxValue is how long a value may be that an operator sets, in bytes.
	MaxValue = 4 << 10
	// MinTTL is the shortest time for which a change may hold.
	MinTTL = time.Second
	// MaxTTL is the longest time for which a change may hold that is taken back.
	MaxTTL = 24 * time.Hour
	// RevertedBy is who has made a change where its time to live has ended.
	RevertedBy = "revert"
)

// Set lists and changes the flags of a FlagSet, and what a program has beside
// them. Its methods may be called concurrently.
//
// Several Sets may have the same flags: they belong to the process, and so do the
// one lock under which they change and the last 100 changes.
type Set struct {
	log     *slog.Logger
	entries []*entry // by name
	byName  map[string]*entry
	own     []*entry
}

// Setting is what a program keeps itself and lets operators see and change like a
// flag.
type Setting struct {
	Name, Usage    string
	Value, Default string
	Type           string // such as bool, int or duration; string where it is empty
	Values         []string
	Source         string // such as default, flag, environment or option
	Secret         bool
	// Parse checks a new value and returns what puts it into force, which must
	// not wait or fail, and must neither change flags nor read their texts: no
	// flag of the process can change meanwhile. Parse may be called
	// concurrently, and what it returns several times, or never. Nil means that the value cannot be
	// changed.
	Parse func(text string) (apply func(), err error)
	// Restore puts Value into force again. Nil means what Parse returns for it.
	Restore func()
}

// NewSet returns a Set of the flags of fs, which may be nil, and of the
// settings, which have precedence over flags of the same name. It is to be called after
// the command line was parsed. Flags that are neither this package's nor made
// changeable by [Dynamic] are read now and never again, because nobody knows
// whether the program changes them meanwhile.
//
// The logger, nil for none, gets what nobody asked for: values that go back when
// their time is over, and functions of [Flag.OnChange] that panic or do not return.
func NewSet(fs *flag.FlagSet, log *slog.Logger, own ...Setting) *Set {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Set{log: log, byName: map[string]*entry{}}
	for _, o := range own {
		e := o.entry()
		s.byName[o.Name] = e
		s.own = append(s.own, e)
	}
	if fs != nil {
		s.add(fs)
	}
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		s.entries = append(s.entries, s.byName[name])
	}
	return s
}

// add adds the flags that are no settings.
func (s *Set) add(fs *flag.FlagSet) {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	fs.VisitAll(func(f *flag.Flag) {
		if s.byName[f.Name] == nil {
			s.byName[f.Name] = entryOf(f, given[f.Name])
		}
	})
}

// entryOf is the entry of a flag: its own, or what there is to be seen of one of
// another maker.
func entryOf(f *flag.Flag, given bool) *entry {
	if v, ok := f.Value.(changeable); ok {
		return v.changeable()
	}
	e := &entry{name: f.Name, usage: f.Usage, kind: foreignKind(f.Value)}
	e.secret = e.kind != "bool" && e.kind != "duration" && soundsSecret(f.Name)
	e.now = state{text: lookup(f), source: sourceDefault}
	if given {
		e.now.source = sourceFlag
	}
	e.standard = e.shown(state{text: f.DefValue})
	return e
}

// foreignKind is the kind of another maker's flag, as far as it says so.
func foreignKind(v flag.Value) string {
	if t := reflect.TypeOf(v); t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "flag" {
		return strings.TrimSuffix(t.Elem().Name(), "Value")
	}
	if t, ok := v.(interface{ Type() string }); ok {
		return t.Type()
	}
	if b, ok := v.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
		return "bool"
	}
	return "value"
}

func (o Setting) entry() *entry {
	e := &entry{name: o.Name, usage: o.Usage, kind: cmp.Or(o.Type, "string"), values: o.Values, secret: o.Secret}
	e.now = state{text: o.Value, source: o.Source, store: o.Restore}
	e.standard = e.shown(state{text: o.Default})
	if o.Parse == nil {
		return e
	}
	e.parse = applying(o.Parse)
	if o.Restore == nil {
		if apply, err := o.Parse(o.Value); err == nil {
			e.now.store = apply
		}
	}
	return e
}

// applying makes states of what an owner parses.
func applying(parse func(string) (func(), error)) func(string) (state, error) {
	return func(text string) (s state, err error) {
		defer func() {
			if recover() != nil {
				err = errors.New("its check panicked")
			}
		}()
		apply, err := parse(text)
		return state{text: text, store: apply}, err
	}
}

// Info is a flag as it is now. Values of secret flags are [Redacted], and so is
// what looks like a password in others (see [Redact]).
type Info struct {
	Name, Value, Default, Usage string
	Type                        string   // bool, int, float, string, duration, list, enum, or what another maker calls it
	Values                      []string // of an enum
	Dynamic                     bool     // an operator may change it
	Secret                      bool
	Withheld                    bool      // the value is not what is shown
	Source                      string    // default, flag, operator, test (see [Flag.SetForTest]), or what its [Setting] says
	Reverts                     time.Time // when the value goes back; zero where it does not
	RevertsTo                   string    // to what
}

// List returns all flags by name.
func (s *Set) List() []Info {
	list := make([]Info, len(s.entries))
	writer.Lock()
	defer writer.Unlock()
	for i, e := range s.entries {
		list[i] = e.info()
	}
	return list
}

// Lookup returns one flag.
func (s *Set) Lookup(name string) (Info, bool) {
	e := s.byName[name]
	if e == nil {
		return Info{}, false
	}
	writer.Lock()
	defer writer.Unlock()
	return e.info(), true
}

// History returns the last changes of the Set's flags, the latest first. It is of
// the last 100 changes in the process.
func (s *Set) History() []Change {
	writer.Lock()
	defer writer.Unlock()
	var changes []Change
	for _, n := range slices.Backward(writer.history) {
		if s.byName[n.entry.name] == n.entry {
			changes = append(changes, n.Change)
		}
	}
	return changes
}

// Close forgets which of the Set's own settings are to go back. Flags of the
// process still do.
func (s *Set) Close() {
	writer.Lock()
	defer writer.Unlock()
	for _, e := range s.own {
		e.cancel()
	}
}
