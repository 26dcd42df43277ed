package flags

import (
	"flag"
	"fmt"
	"reflect"
)

// Dynamic makes a flag changeable that another package has declared on fs, before the
// command line is parsed. parse checks a new value and returns what puts it into
// force for all who read it, safely while they do; it is called as [Setting] says.
// The command line sets the flag as before, and then puts the value into force in
// this way too.
//
//	flags.Dynamic(flag.CommandLine, "v", func(text string) (func(), error) {
//		n, err := strconv.ParseInt(text, 10, 32)
//		return func() { verbosity.Store(int32(n)) }, err
//	})
//
// It is an error where there is no such flag.
func Dynamic(fs *flag.FlagSet, name string, parse func(text string) (apply func(), err error)) error {
	f := fs.Lookup(name)
	switch {
	case f == nil:
		return fmt.Errorf("flag %s: not declared yet: call Dynamic after it is", name)
	case parse == nil:
		return fmt.Errorf("flag %s: the function is nil", name)
	}
	if _, ok := f.Value.(changeable); ok {
		return fmt.Errorf("flag %s: it is changeable as it is: leave out Dynamic", name)
	}
	given := false
	fs.Visit(func(set *flag.Flag) { given = given || set == f })
	e := entryOf(f, given)
	e.parse = applying(parse)
	if e.dynamic() { // its present value must be such that it can be restored
		s, err := e.parse(e.now.text)
		if err != nil && isFunc(f.Value) {
			return fmt.Errorf(`flag %s: String() returns "", as flag.Func does: use flag.Var: %w`, name, err)
		}
		if err != nil {
			return fmt.Errorf("flag %s: its own value is not valid: %w", name, err)
		}
		e.now.store = s.store
	}
	if name, _ := flag.UnquoteUsage(f); name != "" && name != "value" { // package flag asks the type
		f.Usage = withKind(&entry{usage: f.Usage, kind: name})
	}
	f.Value = &dynamicValue{f.Value, e}
	return nil
}

// isFunc tells whether a flag is one of flag.Func or flag.BoolFunc, which keep no
// value.
func isFunc(v flag.Value) bool { return reflect.TypeOf(v).Kind() == reflect.Func && v.String() == "" }

// dynamicValue is a flag of another maker that was made changeable.
type dynamicValue struct {
	flag.Value
	entry *entry
}

func (v *dynamicValue) changeable() *entry { return v.entry }

// String is the value in force, as it is shown.
func (v *dynamicValue) String() string {
	if v.entry == nil {
		return ""
	}
	return v.entry.text()
}

// Set takes what the command line says.
func (v *dynamicValue) Set(text string) error {
	if err := v.Value.Set(text); err != nil {
		return err
	}
	return v.entry.set(text)
}

// Get is the value as its maker has it.
func (v *dynamicValue) Get() any {
	if g, ok := v.Value.(flag.Getter); ok {
		return g.Get()
	}
	return nil
}

// IsBoolFlag says that the name alone means true.
func (v *dynamicValue) IsBoolFlag() bool {
	b, ok := v.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// Type names the kind of the value.
func (v *dynamicValue) Type() string { return v.entry.kind }
