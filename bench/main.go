// Bench compares easyops with bare grpc-go and with protoc-gen-go-grpc: what a
// call costs, how soon a server answers, what a call allocates, what the plugin
// needs, and what many instances cost a client. It compares easyops that knows
// who calls with easyops that does not, too, and with servers of other frameworks,
// measures what it notes of each call, and what it costs to call by way of the
// edge. It is run by make bench, in this directory.
//
// Whatever is compared runs in turns, in processes of its own, so that what
// else the machine does meets all alike. What measures has a process group, an
// environment and a temporary directory of its own: who interrupts it leaves nothing
// behind. The program is also its own server and load generator:
//
//	bench serve      serves one variant; run by bench
//	bench load       calls servers; run by bench
//	bench hold       keeps connections and streams open; run by bench
//	bench discover   finds one of many instances; run by bench
//	bench client     calls by one of several kinds of clients; run by bench
//	bench picks      chooses instances, and calls none; run by bench
//	bench operate    serves what is looked after; run by bench
//	bench request    writes a request for plugins; run by bench
//	bench response   checks the answer of a plugin; run by bench
//
// What one run has found is kept for later ones to be compared with:
//
//	bench check      measures anew, and tells which ratios have moved
//	bench store      keeps the ratios of a result
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		if !errors.Is(err, errTold) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

// dispatch does what the first argument names. What measures has a process of its
// own, so that it can be ended with all that it has started.
func dispatch(args []string) error {
	if len(args) > 0 && args[0] == measuring {
		go endWithInput()
		return command(args[1:])
	}
	if len(args) == 0 || args[0] == "check" || subcommands[args[0]] == nil {
		return supervised(args)
	}
	return command(args)
}

func command(args []string) error {
	if len(args) > 0 {
		if c, ok := subcommands[args[0]]; ok {
			return c(args[1:])
		}
	}
	return run(args)
}

var subcommands = map[string]func(args []string) error{
	"serve":    serve,
	"load":     load,
	"hold":     hold,
	"discover": discover,
	"client":   clientProcess,
	"picks":    picks,
	"operate":  operate,
	"request":  writeRequest,
	"response": checkResponse,
	"check":    check,
	"store":    store,
}

// settings are what a run is told.
type settings struct {
	pairs    int           // of measurements; calls have more turns
	slice    time.Duration // of calls
	out      string        // without .md and .json
	profiles string        // a directory for CPU profiles of the servers, or nothing
	only     []string      // the parts that are measured
	dir      string        // for what is built and written on the way
	short    bool          // without peers, and what takes long has few pairs

	built func() ([]peer, error) // builds the peers, once; nil: each time
}

// builtPeers builds the programs of peers, unless they are.
func (s settings) builtPeers() ([]peer, error) {
	if s.built == nil {
		return buildPeers(s.dir)
	}
	return s.built()
}

// quickPairs is below how many pairs a run hurries.
const quickPairs = 10

func run(args []string) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	r, err := measureAll(s)
	if r == nil {
		return err
	}
	fmt.Print(r.markdown())
	progress("The same is in %s.md, each value in %[1]s.json, and charts are %[1]s-*.svg.", s.out)
	return err
}

// measureAll measures what the settings name, and saves it.
func measureAll(s settings) (*report, error) { return s.measureParts(parts) }

// measureParts measures those parts that the settings name. Where one fails the
// others are measured: they may take hours.
func (s settings) measureParts(parts []part) (_ *report, err error) {
	parts = slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return !s.measures(p.name) })
	if s.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.dir)
	s.built = sync.OnceValues(func() ([]peer, error) { return buildPeers(s.dir) })
	if err := tellEstimate(s, parts); err != nil {
		return nil, err
	}
	r := newReport(s)
	var faults []error
	for _, p := range parts {
		progress("%s: begins at %s", p.name, time.Now().Format(time.TimeOnly))
		if err := p.measure(s.of(p.name), r); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.name, err))
			r.Faults = append(r.Faults, fault{p.name, cellText(err.Error())})
			progress("%s: ended early: %v", p.name, err)
		}
		if err := r.save(s.out); err != nil { // the next may take long
			return nil, err
		}
	}
	return r, errors.Join(faults...)
}

// measures tells whether a part is to be measured.
func (s settings) measures(part string) bool { return slices.Contains(s.only, part) }

func parseSettings(args []string) (settings, error) {
	s := settings{}
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	fs.IntVar(&s.pairs, "pairs", 20, "how often each variant has its turns")
	fs.DurationVar(&s.slice, "slice", 0, "how long a turn of calls takes (default 250ms, with less than 10 pairs 100ms)")
	fs.StringVar(&s.out, "out", "bench", "the files of the result, without .md and .json")
	only := fs.String("only", strings.Join(partNames(), ","), "the parts to measure")
	fs.StringVar(&s.profiles, "profiles", "", "a directory for CPU profiles of the servers")
	_ = fs.Parse(args) // it exits
	s.only = strings.Split(*only, ",")
	for _, name := range s.only {
		if !slices.Contains(partNames(), name) {
			return s, fmt.Errorf("-only: there is no %q, there are %s", name, strings.Join(partNames(), ","))
		}
	}
	switch {
	case fs.NArg() > 0:
		return s, fmt.Errorf("unknown argument %q", fs.Arg(0))
	case s.pairs < 1:
		return s, fmt.Errorf("-pairs is %d, it must be at least 1", s.pairs)
	case s.slice < 0:
		return s, fmt.Errorf("-slice is %v, it must not be negative", s.slice)
	case s.slice == 0 && s.pairs < quickPairs:
		s.slice = 100 * time.Millisecond
	case s.slice == 0:
		s.slice = 250 * time.Millisecond
	}
	if s.profiles != "" {
		return s, os.MkdirAll(s.profiles, 0o700)
	}
	return s, os.MkdirAll(filepath.Dir(s.out), 0o700)
}

// progress tells whoever waits how far it is.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
