package flags_test

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/runtime/flags"
)

// Programs declare flags in variables of a package, on flag.CommandLine. The
// examples have FlagSets of their own.
func Example() {
	fs := flag.NewFlagSet("echo", flag.ContinueOnError)
	limit := flags.New("echo.limit", 100, "most items in an answer", flags.In(fs), flags.Validate(func(n int) error {
		if n < 1 {
			return errors.New("below 1: use 1 or more")
		}
		return nil
	}))
	_ = fs.Parse([]string{"-echo.limit=200"})
	fmt.Println(limit.Get())
	// Output: 200
}

func ExampleFlag_OnChange() {
	fs := flag.NewFlagSet("echo", flag.ContinueOnError)
	every := flags.New("echo.every", time.Minute, "time between two looks", flags.In(fs))
	every.OnChange(func(old, now time.Duration) { fmt.Println(old, "->", now) })
	_ = fs.Parse([]string{"-echo.every=30s"})
	// Output: 1m0s -> 30s
}

func ExampleOneOf() {
	fs := flag.NewFlagSet("echo", flag.ContinueOnError)
	mode := flags.New("echo.mode", "fast", "how to answer: fast or safe", flags.In(fs), flags.OneOf("fast", "safe"))
	_, err := flags.NewSet(fs, nil).Change(flags.Changes{Values: map[string]string{"echo.mode": "slow"}})
	fmt.Println(mode.Get())
	fmt.Println(err)
	// Output:
	// fast
	// echo.mode: "slow": not one of fast, safe
}

func ExampleSet_Change() {
	fs := flag.NewFlagSet("echo", flag.ContinueOnError)
	limit := flags.New("echo.limit", 100, "most items in an answer", flags.In(fs))
	set := flags.NewSet(fs, nil)
	_, err := set.Change(flags.Changes{Values: map[string]string{"echo.limit": "50", "echo.limt": "50"}})
	fmt.Println(limit.Get(), err)
	_, err = set.Change(flags.Changes{Values: map[string]string{"echo.limit": "50"}, TTL: time.Hour, Who: "alice"})
	fmt.Println(limit.Get(), err)
	now, _ := set.Lookup("echo.limit")
	fmt.Println("goes back to", now.RevertsTo)
	// Output:
	// 100 echo.limt: there is no such flag: /internal/parameters lists them
	// 50 <nil>
	// goes back to 100
}

// A library has declared -verbosity, and reads it by a function of its own that may
// be called at any time.
func ExampleDynamic() {
	fs := flag.NewFlagSet("echo", flag.ContinueOnError)
	fs.Int("verbosity", 0, "how much to say")
	var verbosity atomic.Int64

	err := flags.Dynamic(fs, "verbosity", func(text string) (func(), error) {
		n, err := strconv.ParseInt(text, 10, 64)
		return func() { verbosity.Store(n) }, err
	})
	_ = fs.Parse([]string{"-verbosity=1"})
	_, _ = flags.NewSet(fs, nil).Change(flags.Changes{Values: map[string]string{"verbosity": "3"}})
	fmt.Println(verbosity.Load(), err)
	// Output: 3 <nil>
}
