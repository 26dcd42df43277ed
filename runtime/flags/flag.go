package flags

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// Flag is a flag of the kind T. Its methods may be called concurrently.
type Flag[T Kind] struct {
	entry *entry
	value atomic.Pointer[T]
	check func(T) error
	// watchers are guarded by the writer lock.
	watchers []*func(old, new T)
}

// New declares a flag, as package flag does: in a variable of the package, or at
// least before the command line is parsed. It panics where the name is taken or is
// none for a flag, on an option for another kind, and where the default does not pass
// its own checks.
func New[T Kind](name string, value T, usage string, opts ...Option) *Flag[T] {
	o := options{fs: flag.CommandLine}
	for _, opt := range opts {
		opt(&o)
	}
	f := &Flag[T]{entry: &entry{
		name: name, usage: usage, kind: kindOf(value), values: o.values, static: o.static,
		secret: o.secret || !o.public && textual(value) && soundsSecret(name),
	}}
	checks := checksOf[T](name, o)
	if len(o.values) > 0 && f.entry.kind == "string" {
		f.entry.kind = "enum"
	}
	f.check = func(v T) error {
		for _, check := range checks {
			if err := guarded(check, v); err != nil {
				return err
			}
		}
		return nil
	}
	f.entry.parse = func(text string) (state, error) {
		v, err := parse[T](text)
		if err == nil {
			err = f.check(v)
		}
		return f.state(v), err
	}
	f.checkDefault(value)
	f.entry.notify = f.notify
	f.entry.now = f.state(value)
	f.entry.now.source = sourceDefault
	f.entry.standard = f.entry.shown(f.entry.now)
	f.entry.now.store()
	o.fs.Var(&lineValue[T]{f.entry}, name, withKind(f.entry))
	return f
}

// checkDefault finds a mistake in the program at its start. What is wrong with a
// secret may have the secret in it.
func (f *Flag[T]) checkDefault(value T) {
	err := f.check(value)
	switch {
	case err == nil:
	case f.entry.secret:
		panic(fmt.Sprintf("flag %s: its default is not valid; it is secret, so neither it nor what is wrong with it is shown", f.entry.name))
	default:
		panic(fmt.Sprintf("flag %s: its default is not valid: %v", f.entry.name, err))
	}
}

// withKind is the usage of a flag for package flag, which takes what is in back quotes
// for the name of the value, and knows the kinds of its own flags only.
func withKind(e *entry) string {
	kind, of := e.kind, strings.Join(e.values, ", ")
	switch {
	case kind == "bool":
		return e.usage
	case kind == "enum":
		kind, of = strings.Join(e.values, "|"), ""
	case of != "":
		of = " of " + of
	}
	if strings.Count(e.usage, "`") < 2 {
		kind = "`" + kind + "`"
	} else if e.kind != "enum" {
		return e.usage
	}
	return strings.TrimLeft(e.usage+" ("+kind+of+")", " ")
}

// textual tells whether a value can be a secret that only its name gives away.
func textual(v any) bool {
	switch v.(type) {
	case string, []string:
		return true
	}
	return false
}

func (f *Flag[T]) state(v T) state {
	if list, ok := any(v).([]string); ok {
		v = any(slices.Clip(slices.Clone(list))).(T)
	}
	return state{text: format(v), value: v, store: func() { f.value.Store(&v) }}
}

// Get returns the value in force. It takes no lock. A list belongs to all who
// read it and must not be written.
func (f *Flag[T]) Get() T { return *f.value.Load() }

// Name is the name of the flag.
func (f *Flag[T]) Name() string { return f.entry.name }

// OnChange has watch called after each change of the value: by the command line,
// by an operator, and when a time to live ends. A flag that is set to what it is
// already has not changed. Get returns the new value by then, or a newer one.
//
// Watchers are called one at a time and in the order of the changes, for all flags
// of the process, each in a goroutine of its own. So they must return soon: the
// others wait. Who makes a change waits for them too, but 5 s at most: the change is in
// force by then, and [Change].Warning and [Set.Stuck] say which function has not
// returned. Watchers may change flags, and do not wait for what that sets off.
//
// A panic in one is recovered, and logged by the server whose operator made the
// change; on the command line it goes on in the program.
//
// stop ends it, for who lives shorter than the process: watch is not called for
// changes that come later. One who acts on the value calls OnChange first and then
// Get, so that no change is missed between the two.
func (f *Flag[T]) OnChange(watch func(old, new T)) (stop func()) {
	writer.Lock()
	defer writer.Unlock()
	w := &watch
	f.watchers = append(slices.Clip(f.watchers), w)
	return func() {
		writer.Lock()
		defer writer.Unlock()
		f.watchers = slices.DeleteFunc(slices.Clone(f.watchers), func(other *func(old, new T)) bool { return other == w })
	}
}

// notify returns what is to be called for a change. The caller has the writer lock.
func (f *Flag[T]) notify(from, to any) []func() {
	var calls []func()
	for _, watch := range f.watchers {
		calls = append(calls, func() { (*watch)(from.(T), to.(T)) })
	}
	return calls
}

// An Option is a property of a flag.
type Option func(*options)

type options struct {
	fs                     *flag.FlagSet
	secret, public, static bool
	values                 []string
	checks                 []any
}

// In declares the flag on another FlagSet than [flag.CommandLine].
func In(fs *flag.FlagSet) Option { return func(o *options) { o.fs = fs } }

// Secret says that the value is never to be shown, neither on pages nor in help
// texts or errors, and not to be changed by operators, because the change would show
// it. A flag of text whose name has token, key, secret, password, passphrase or
// credential in it is secret too, unless the name ends in file, path or dir after
// it: then the value only says where the secret is.
//
// A secret that the command line gives wrongly does not stop its parsing, because
// package flag would print it: see [Faults].
func Secret() Option { return func(o *options) { o.secret = true } }

// Public says that the value is no secret although the name sounds like that of
// one.
func Public() Option { return func(o *options) { o.public = true } }

// Static says that the value cannot be changed while the program runs.
func Static() Option { return func(o *options) { o.static = true } }

// Validate checks each new value. Its error says what is wrong with it and what
// to do, in lower case. The function may be called concurrently, also for values
// that then are not stored. Where several flags are changed together it sees the old
// values of the others.
func Validate[T Kind](check func(T) error) Option {
	return func(o *options) { o.checks = append(o.checks, check) }
}

// OneOf makes an enum of a flag of the kind string, and bounds the elements of a
// list.
func OneOf(values ...string) Option {
	values = slices.Clone(values)
	return func(o *options) {
		o.values = values
		known := func(v string) error {
			if !slices.Contains(values, v) {
				return fmt.Errorf("not one of %s", strings.Join(values, ", "))
			}
			return nil
		}
		o.checks = append(o.checks, either{known, func(list []string) error {
			for _, v := range list {
				if err := known(v); err != nil {
					return err
				}
			}
			return nil
		}})
	}
}

// either checks one of two kinds.
type either struct {
	one  func(string) error
	list func([]string) error
}

// checksOf are the checks of an option list that are for the kind. A wrong kind
// is a mistake in the program, which is found at its start.
func checksOf[T Kind](name string, o options) []func(T) error {
	var checks []func(T) error
	for _, c := range o.checks {
		e, oneOf := c.(either)
		if oneOf {
			c = e.one
			if _, is := c.(func(T) error); !is {
				c = e.list
			}
		}
		check, ok := c.(func(T) error)
		switch {
		case ok:
		case oneOf:
			panic(fmt.Sprintf("flag %s: OneOf is for string and []string", name))
		default:
			panic(fmt.Sprintf("flag %s: an option has a check of the kind %T, and the flag another: both must be the same", name, c))
		}
		checks = append(checks, check)
	}
	return checks
}

// guarded turns a panic of a check into an error.
func guarded[T any](check func(T) error, v T) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("its check panicked")
		}
	}()
	return check(v)
}

// Faults returns what was wrong with secrets on the command line: package flag would
// print them with the error. They have their former values. Start and Dial of
// package easyops report it; other programs call it after [flag.Parse].
func Faults(fs *flag.FlagSet) error {
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		if v, ok := f.Value.(changeable); ok {
			errs = append(errs, v.changeable().fault())
		}
	})
	return errors.Join(errs...)
}

// changeable is a flag.Value that is an entry.
type changeable interface{ changeable() *entry }

// lineValue is a flag as package flag sees it. That makes zero ones, and compares
// their texts with that of the default.
type lineValue[T Kind] struct{ entry *entry }

func (v *lineValue[T]) changeable() *entry { return v.entry }

// String is the value as it is shown.
func (v *lineValue[T]) String() string {
	if v.entry == nil {
		var zero T
		return format(zero)
	}
	return v.entry.text()
}

// Set takes what the command line says.
func (v *lineValue[T]) Set(text string) error { return v.entry.set(text) }

// Get implements [flag.Getter].
func (v *lineValue[T]) Get() any {
	writer.Lock()
	defer writer.Unlock()
	return v.entry.now.value
}

// IsBoolFlag says that the name alone means true.
func (v *lineValue[T]) IsBoolFlag() bool {
	var zero T
	return kindOf(zero) == "bool"
}

// Type names the kind of the value for packages that ask, such as pflag.
func (v *lineValue[T]) Type() string {
	var zero T
	return kindOf(zero)
}
