package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// mode is what happens to a server beside its calls.
type mode struct {
	name                          string
	scraping, changing, reloading bool
}

const (
	undisturbed      = "nothing"
	undisturbedAgain = "nothing again" // how far figures differ by chance
	allTogether      = "all together"
)

// modes are in the order of their turns.
var modes = []mode{
	{name: undisturbed},
	{name: undisturbedAgain},
	{name: "scrapes, 1 a second", scraping: true},
	{name: fmt.Sprintf("changes, %d a second", changesPerSecond), changing: true},
	{name: "overview, reloaded each second", reloading: true},
	{name: allTogether, scraping: true, changing: true, reloading: true},
}

// operated is what a server used of a core, by mode, a value for each turn.
type operated struct {
	PerSecond int // calls
	Callers   int
	CPU       map[string][]float64 // %
	Changes   map[string][]float64 // a second
}

const (
	operationCallers = 1024 // as many as have a row of their own
	operationCalls   = 500  // a second
	operationCrowd   = 1000 // instances of the service that the server is a client of
)

// measureOperation measures what it takes to look after a server.
func measureOperation(s settings, r *report) (err error) {
	if runtime.GOOS != "linux" {
		progress("operation: not here: it needs all of 127.0.0.0/8 to be the loopback interface, as on Linux")
		return nil
	}
	slice := 4 * time.Second
	if s.pairs < quickPairs {
		slice = 2 * time.Second
	}
	r.Operation, err = measureModes(s, operationCallers, []int{0, operationCalls}, slice)
	return err
}

// operationRig is a server and all that comes to it.
type operationRig struct {
	server  *child
	outside *outside
}

func measureModes(s settings, callers int, loads []int, slice time.Duration) (all []*operated, err error) {
	others, port, err := serveCrowd(s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, others.stop()) }()
	g, err := startOperated(s, port, callers)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.server.stop()) }()
	defer g.outside.close()
	for _, calls := range loads {
		o := &operated{PerSecond: calls, Callers: callers, CPU: map[string][]float64{}, Changes: map[string][]float64{}}
		for turn := range s.pairs {
			progress("operation: %d calls a second, turn %d of %d", calls, turn+1, s.pairs)
			for _, at := range placesOf(len(modes), turn) {
				if err := g.turn(modes[at], o, slice); err != nil {
					return nil, fmt.Errorf("%s: %w", modes[at].name, err)
				}
			}
		}
		all = append(all, o)
	}
	return all, nil
}

func startOperated(s settings, port string, callers int) (g *operationRig, err error) {
	spec, tokens, err := writeKeysOf(filepath.Join(s.dir, "operated.json"), append(names(callers), operator)...)
	if err != nil {
		return nil, err
	}
	args := []string{"operate", "-instances", fmt.Sprint(operationCrowd), "-port", port, "-auth", spec, "-registry", filepath.Join(s.dir, "operated")}
	if s.profiles != "" {
		args = append(args, "-profile", filepath.Join(s.profiles, "operation.prof"))
	}
	g = &operationRig{}
	if g.server, err = startChild(s.dir, "operated", args...); err != nil {
		return nil, err
	}
	var addr string
	if err = g.server.read(&addr); err == nil {
		if g.outside, err = newOutside(addr, tokens[callers], tokens[:callers]); err == nil {
			err = g.outside.each()
		}
	}
	if err != nil {
		return nil, errors.Join(err, g.server.stop())
	}
	return g, nil
}

// names are those of callers.
func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("caller-%04d", i))
	}
	return all
}

// turn lets a mode be for a while. What it has begun has ended before the next.
func (g *operationRig) turn(m mode, o *operated, slice time.Duration) error {
	const settle = 250 * time.Millisecond
	if _, err := g.usage(m.changing); err != nil {
		return err
	}
	time.Sleep(settle)
	before, err := g.usage(m.changing)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := g.live(m, o.PerSecond, begin.Add(slice)); err != nil {
		return err
	}
	elapsed := time.Since(begin).Seconds()
	after, err := g.usage(false)
	if err != nil {
		return err
	}
	o.CPU[m.name] = append(o.CPU[m.name], 100*(after.CPU-before.CPU).Seconds()/elapsed)
	o.Changes[m.name] = append(o.Changes[m.name], float64(after.Changes-before.Changes)/elapsed)
	return nil
}

// live has all happen that a mode is of, and the calls.
func (g *operationRig) live(m mode, perSecond int, end time.Time) error {
	var wg sync.WaitGroup
	errs := make([]error, 3)
	if m.scraping {
		wg.Go(func() { errs[0] = every(end, func(int) error { return g.outside.scrape() }) })
	}
	if m.reloading {
		wg.Go(func() { errs[1] = every(end, g.outside.reload) })
	}
	wg.Go(func() { _, errs[2] = g.outside.call(perSecond, end) })
	wg.Wait()
	return errors.Join(errs...)
}

func (g *operationRig) usage(changing bool) (a answered, err error) {
	return a, g.server.ask(orders{changing}, &a)
}
