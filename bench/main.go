// Bench compares easyops with bare grpc-go and with protoc-gen-go-grpc: what a
// call costs, how soon a server answers, what a call allocates, what the plugin
// needs, and what many instances cost a client. It compares easyops that knows
// who calls with easyops that does not, too, and with servers of other frameworks,
// measures what it notes of each call, and what it costs to call by way of the
// edge. It is run by make bench, in this directory.
//
// Whatever is compared runs in turns, in processes of its own, so that what
// else the machine does meets all alike. The program is also its own server and
// load generator:
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
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	command, args := run, os.Args[1:]
	if len(args) > 0 {
		if c, ok := subcommands[args[0]]; ok {
			command, args = c, args[1:]
		}
	}
	if err := command(args); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
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
}

// quickPairs is below how many pairs a run hurries.
const quickPairs = 10

// part is something that is measured. It notes its figures in the report.
type part struct {
	name    string
	measure func(s settings, r *report) error
}

const partNames = "start,weight,allocations,tables,plugin,discovery,calls,identity,peers,edge,client,operation"

var parts = []part{
	{"start", measureStart},
	{"weight", measureWeight},
	{"allocations", measureAllocations},
	{"tables", measureTables},
	{"plugin", measurePlugin},
	{"discovery", measureDiscovery},
	{"calls", callsOf(callGroups, func(r *report) *[]*cell { return &r.Calls })},
	{"identity", callsOf(identityGroups, func(r *report) *[]*cell { return &r.Identity })},
	{"peers", measurePeers},
	{"edge", measureEdge},
	{"client", measureClient},
	{"operation", measureOperation},
}

func run(args []string) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	r, err := measureAll(s)
	if err != nil {
		return err
	}
	_, err = fmt.Print(r.markdown())
	progress("The same is in %s.md, each value in %[1]s.json, and charts are %[1]s-*.svg.", s.out)
	return err
}

// measureAll measures what the settings name, and saves it.
func measureAll(s settings) (_ *report, err error) {
	if s.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.dir)
	r := newReport(s)
	for _, p := range parts {
		if !slices.Contains(s.only, p.name) {
			continue
		}
		if err := p.measure(s, r); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if err := r.save(s.out); err != nil { // the next may take long
			return nil, err
		}
	}
	return r, nil
}

func parseSettings(args []string) (settings, error) {
	s := settings{}
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	fs.IntVar(&s.pairs, "pairs", 20, "how often each variant has its turns")
	fs.DurationVar(&s.slice, "slice", 0, "how long a turn of calls takes (default 250ms, with less than 10 pairs 100ms)")
	fs.StringVar(&s.out, "out", "bench", "the files of the result, without .md and .json")
	only := fs.String("only", partNames, "the parts to measure")
	fs.StringVar(&s.profiles, "profiles", "", "a directory for CPU profiles of the servers")
	_ = fs.Parse(args) // it exits
	s.only = strings.Split(*only, ",")
	for _, name := range s.only {
		if !slices.Contains(strings.Split(partNames, ","), name) {
			return s, fmt.Errorf("-only: there is no %q, there are %s", name, partNames)
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
