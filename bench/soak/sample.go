package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// state is what a process holds.
type state struct {
	RSS         float64 // MiB
	Goroutines  float64
	Descriptors float64
}

// sample is how the processes that live long are at a time.
type sample struct {
	Seconds        float64
	Server, Client state
	Unread         float64 // seconds since the metrics of the server were read, which has the goroutines
	Calls          int     // of the client so far
	Failures       int     // likewise
	Late           int     // likewise
}

// stateOf looks a process up in /proc.
func stateOf(pid int, goroutines int64) (state, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(dir + "/statm")
	if err != nil {
		return state{}, fmt.Errorf("%w: a soak needs Linux's /proc", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return state{}, fmt.Errorf("%s/statm has %q", dir, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return state{}, err
	}
	files, err := os.ReadDir(dir + "/fd")
	rss := float64(pages) * float64(os.Getpagesize()) / (1 << 20)
	return state{rss, float64(goroutines), float64(len(files))}, err
}

// run runs it all for the time of the settings, or until the context ends, which
// is an error. What was found until then is noted all the same.
func (r *result) run(ctx context.Context, s settings) error {
	if err := writeKeys(s.dir); err != nil {
		return err
	}
	o, err := newOperations(s)
	if err != nil {
		return err
	}
	defer o.kill()
	if err := o.start(ctx); err != nil {
		return err
	}
	c, err := startCaller(s, o.steady.url("/hello"))
	if err != nil {
		return err
	}
	defer c.kill()
	limited, cancel := context.WithTimeout(ctx, s.time)
	defer cancel()
	var group sync.WaitGroup
	begin := time.Now()
	group.Go(func() { o.run(limited) })
	err = r.samples(limited, s, o, c)
	cancel()
	group.Wait()
	if err == nil && ctx.Err() != nil {
		err = errInterrupted
	}
	if err != nil {
		r.Time = time.Since(begin).Round(time.Second)
	}
	err = errors.Join(err, c.stop(), o.stop())
	r.Operations, r.Restarts = o.done, o.marks
	for reason, n := range o.faults {
		r.Failures[reason] += n
	}
	return errors.Join(err, errorsIn(s.dir, r.Failures))
}

var errInterrupted = errors.New("it was interrupted")

// errorLevel is how the level of a line is written by default.
const errorLevel = " ERROR "

// errorsIn counts what logs in a directory have of the level ERROR.
func errorsIn(dir string, found counts) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if _, what, ok := strings.Cut(line, errorLevel); ok {
				found.add("log of a process: " + reasonOf(errors.New(what)))
			}
		}
	}
	return nil
}

// samples looks at the processes until the context ends.
func (r *result) samples(ctx context.Context, s settings, o *operations, c *caller) error {
	ticker := time.NewTicker(s.sample)
	defer ticker.Stop()
	for begin := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		h, err := c.ask(patience)
		if err != nil {
			return err
		}
		goroutines, ago := o.lastScrape()
		now := sample{
			Seconds: time.Since(begin).Seconds(), Unread: ago.Seconds(),
			Late: h.Late, Calls: h.Calls.sum(), Failures: h.Failures.sum(),
		}
		if now.Client, err = stateOf(c.cmd.Process.Pid, int64(h.Goroutines)); err != nil {
			return err
		}
		if now.Server, err = stateOf(o.steady.cmd.Process.Pid, goroutines); err != nil {
			return err
		}
		r.Samples, r.Calls, r.Failures = append(r.Samples, now), h.Calls, h.Failures
		if len(r.Samples)%max(1, int(time.Minute/s.sample)) == 0 {
			now.tell()
		}
	}
}

// tell says how far it is.
func (now sample) tell() {
	fmt.Fprintf(os.Stderr, "soak: %v: %d calls, %d failures; server %.1f MiB, %.0f goroutines, %.0f descriptors; client %.1f MiB\n",
		short(time.Duration(now.Seconds*float64(time.Second)).Round(time.Second)), now.Calls, now.Failures,
		now.Server.RSS, now.Server.Goroutines, now.Server.Descriptors, now.Client.RSS)
}

// stop ends the servers.
func (o *operations) stop() error {
	var errs []error
	for _, v := range o.servers() {
		v.end() // all at once
	}
	for _, v := range o.servers() {
		errs = append(errs, v.wait())
	}
	return errors.Join(errs...)
}

// kill ends servers that still run.
func (o *operations) kill() {
	for _, v := range o.servers() {
		if v != nil {
			v.kill()
		}
	}
}
