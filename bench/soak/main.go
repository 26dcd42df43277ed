// Soak runs servers and a client for long, with all that happens to them in
// production, and tells whether anything grows or fails that should not. It is run
// by make soak.
//
// One server and the client live through it all. Two more servers are restarted in
// turn, the replacement first. Meanwhile the client makes calls of every kind, many
// a second, and an operator scrapes metrics, reads pages, changes flags, clears
// caches and takes a server out of the registry, where other entries come and go.
// All are processes of this program, on loopback:
//
//	soak serve       is a server; run by soak
//	soak call        is the client; run by soak
//
// Where memory, goroutines and file descriptors of a process stay as they were, and
// no call failed that must not, the exit code is 0. The figures are in a chart, too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
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
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

var subcommands = map[string]func(args []string) error{
	"serve": serve,
	"call":  call,
}

// settings are what a run is told.
type settings struct {
	time    time.Duration // in all
	sample  time.Duration // between two looks at the processes
	restart time.Duration // between two restarts
	chat    time.Duration // how long every other long chat lasts at most, so that in short runs, too, some end by themselves
	rate    int           // calls a second
	out     string        // without .json and .svg
	leak    bool          // of the server that lives long
	dir     string        // for logs and keys, and the registry
}

const leastTime = 10 * time.Second

func parseSettings(args []string) (settings, error) {
	s := settings{}
	fs := flag.NewFlagSet("soak", flag.ExitOnError)
	fs.DurationVar(&s.time, "time", time.Hour, "how long")
	fs.DurationVar(&s.sample, "sample", 0, "between two looks at the processes (default 5s, and less in short runs)")
	fs.DurationVar(&s.restart, "restart", 0, "between two restarts (default 20s, and less in short runs)")
	fs.IntVar(&s.rate, "rate", 500, "calls a second")
	fs.StringVar(&s.out, "out", "soak", "the files of the result, without .json and .svg")
	fs.BoolVar(&s.leak, "leak", false, "let a server leak on purpose, to see that it is found")
	_ = fs.Parse(args) // it exits
	switch {
	case fs.NArg() > 0:
		return s, fmt.Errorf("unknown argument %q", fs.Arg(0))
	case s.time < leastTime:
		return s, fmt.Errorf("-time is %v, it must be at least %v", s.time, leastTime)
	case s.rate < 1 || s.sample < 0 || s.restart < 0:
		return s, errors.New("-rate must be at least 1, -sample and -restart not negative")
	}
	if s.sample == 0 {
		s.sample = min(5*time.Second, s.time/60)
	}
	if s.restart == 0 {
		s.restart = min(20*time.Second, s.time/20)
	}
	s.chat = min(longestChat, s.time/10)
	return s, os.MkdirAll(filepath.Dir(s.out), 0o700)
}

func run(args []string) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends us at once
	r, err := soak(ctx, s)
	if err != nil {
		return err
	}
	if err := r.save(s.out); err != nil {
		return err
	}
	fmt.Print(r.text())
	fmt.Print(r.details())
	fmt.Fprintf(os.Stderr, "The figures are in %s.json, the chart is %[1]s.svg.\n", s.out)
	return r.err()
}

// soak runs it all, and returns what came of it. What has ended it early is among
// what is wrong, if it has begun at all.
func soak(ctx context.Context, s settings) (_ *result, err error) {
	if s.dir, err = os.MkdirTemp("", "soak-"); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "soak: servers and a client, for %v, with %d calls a second; Ctrl-C ends it early\n", short(s.time), s.rate)
	r := &result{Began: time.Now().UTC().Truncate(time.Second), Time: s.time, Rate: s.rate, Failures: counts{}}
	early := r.run(ctx, s)
	if early != nil && len(r.Samples) == 0 {
		return nil, errors.Join(fmt.Errorf("%w\nthe logs are in %s", early, s.dir), keepLogs(s.dir))
	}
	r.judge()
	if early != nil {
		r.wrong("it ended early: %v", early)
	}
	if r.err() == nil {
		return r, os.RemoveAll(s.dir)
	}
	r.Logs = s.dir
	return r, keepLogs(s.dir)
}
