package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// clients are those that are compared.
var clients = []string{ours, roundRobin, roundRobinAgain, pickFirst}

// clientCase is a list of instances, and who is measured with it.
type clientCase struct {
	instances   int
	clients     []string
	concurrency []int
	turns       int
}

// clientCases are in their order. With many instances round_robin needs minutes
// until it is at rest, so where a run hurries it is left out.
func clientCases(pairs int) []clientCase {
	others := []string{ours, pickFirst}
	if pairs >= quickPairs {
		others = []string{ours, roundRobin, pickFirst}
	}
	return []clientCase{
		{10, clients, []int{1, 16, 128}, 2 * pairs},
		{1000, clients, []int{16, 128}, pairs},
		{many, others, []int{16}, min(pairs, turnsPerProcess)},
	}
}

// clientFigures are those of one client with one list, a value for each turn.
type clientFigures struct {
	Client    string
	Instances int
	Calls     map[int]*clientCalls // by how many are in flight
	RSS, Heap []float64            // MiB at rest, of each process
	Settling  []float64            // ms of CPU until it was at rest
	Unsettled int                  // processes that did not come to rest
}

// clientCalls are µs of the client's CPU, allocations and bytes of each call, and
// calls a second.
type clientCalls struct{ CPU, Allocs, Bytes, RPS []float64 }

// pickFigures are those of one picker.
type pickFigures struct {
	Client             string
	Instances          int       // of which there are
	Connected          int       // among which it chooses
	Alone, Together    []float64 // ns of CPU each
	Mallocs, PerSecond []float64 // each; of one processor
}

// measureClient measures what clients need for their calls, with one server behind
// all instances.
func measureClient(s settings, r *report) (err error) {
	if runtime.GOOS != "linux" {
		progress("client: not here: it needs all of 127.0.0.0/8 to be the loopback interface, as on Linux")
		return nil
	}
	if r.Client, err = measureClients(s, clientCases(s.pairs), 4*time.Minute); err != nil {
		return err
	}
	r.Picks, err = measurePicks(s, pickCases(s.pairs), 1_000_000)
	return err
}

func measureClients(s settings, cases []clientCase, limit time.Duration) (all []*clientFigures, err error) {
	server, port, err := serveCrowd(s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	for _, c := range cases {
		figures := c.figures()
		for from := 0; from < c.turns; from += turnsPerProcess {
			progress("client: %d instances, turns from %d of %d", c.instances, from+1, c.turns)
			if err := c.measure(s, port, limit, figures, from); err != nil {
				return nil, err
			}
		}
		all = append(all, figures...)
	}
	return all, nil
}

func (c clientCase) figures() (all []*clientFigures) {
	for _, name := range c.clients {
		f := &clientFigures{Client: name, Instances: c.instances, Calls: map[int]*clientCalls{}}
		for _, n := range c.concurrency {
			f.Calls[n] = &clientCalls{}
		}
		all = append(all, f)
	}
	return all
}

// measure gives each client some turns, in a process of its own.
func (c clientCase) measure(s settings, port string, limit time.Duration, all []*clientFigures, from int) (err error) {
	var children []*child
	defer func() { err = errors.Join(err, stopAll(children)) }()
	for _, f := range all {
		p, err := startChild(s.dir, fmt.Sprintf("client %s %d", f.Client, c.instances), c.args(s, f.Client, port, limit, from)...)
		if err != nil {
			return err
		}
		children = append(children, p)
	}
	for at, f := range all {
		if err := f.stand(children[at]); err != nil {
			return err
		}
	}
	for _, n := range c.concurrency {
		for turn := from; turn < min(c.turns, from+turnsPerProcess); turn++ {
			for _, at := range placesOf(len(all), turn) {
				if err := all[at].turn(children[at], n, s.slice); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c clientCase) args(s settings, variant, port string, limit time.Duration, from int) []string {
	args := []string{"client", "-variant", variant, "-instances", fmt.Sprint(c.instances), "-port", port, "-limit", limit.String()}
	if s.profiles != "" {
		file := fmt.Sprintf("client-%s-%d-%d.prof", strings.ReplaceAll(variant, " ", "-"), c.instances, from/turnsPerProcess+1)
		args = append(args, "-profile", filepath.Join(s.profiles, file))
	}
	return args
}

// placesOf are the places of n in the order of a turn, as orderOf has it.
func placesOf(n, turn int) (order []int) {
	for at := range n {
		if turn%2 == 1 {
			at = n - 1 - at
		}
		order = append(order, (turn/2+at)%n)
	}
	return order
}

func (f *clientFigures) stand(p *child) error {
	var s stood
	if err := p.read(&s); err != nil {
		return err
	}
	if !s.Settled {
		f.Unsettled++
	}
	f.RSS, f.Heap = append(f.RSS, mebi(s.RSS)), append(f.Heap, mebi(s.Heap))
	f.Settling = append(f.Settling, micros(s.CPU)/1000)
	return nil
}

func (f *clientFigures) turn(p *child, concurrency int, slice time.Duration) error {
	var o clientOutcome
	for _, d := range []time.Duration{slice / 10, slice} { // the first warms up
		if err := p.ask(clientJob{concurrency, d}, &o); err != nil {
			return err
		}
	}
	n, c := float64(o.Calls), f.Calls[concurrency]
	c.CPU = append(c.CPU, micros(o.CPU)/n)
	c.Allocs = append(c.Allocs, float64(o.Mallocs)/n)
	c.Bytes = append(c.Bytes, float64(o.Bytes)/n)
	c.RPS = append(c.RPS, n/o.Elapsed.Seconds())
	return nil
}

// pickCase is a picker among some that are connected of all instances.
type pickCase struct {
	client               string
	instances, connected int
	turns                int
}

// pickCases are in the order of their turns. Of long lists easyops connects to a
// few; to be compared with all of them, too, it is told to connect to each. To make
// the picker of many takes grpc-go half a minute.
func pickCases(pairs int) (all []pickCase) {
	turns := min(pairs, 5)
	for _, n := range []int{10, 1000} {
		all = append(all, pickCase{ours, n, min(n, few), turns}, pickCase{roundRobin, n, n, turns}, pickCase{roundRobinAgain, n, n, turns}, pickCase{pickFirst, n, 1, turns})
	}
	all = append(all, pickCase{ours, 1000, 1000, 1}, pickCase{ours, many, few, turns})
	if pairs >= quickPairs {
		all = append(all, pickCase{roundRobin, many, many, 1})
	}
	return all
}

func measurePicks(s settings, cases []pickCase, number int) (all []*pickFigures, err error) {
	for _, c := range cases {
		f := &pickFigures{Client: c.client, Instances: c.instances, Connected: c.connected}
		progress("client: picks of %s, %d instances", c.client, c.instances)
		for range c.turns {
			if err := f.measure(s, number); err != nil {
				return nil, err
			}
		}
		all = append(all, f)
	}
	return all, nil
}

func (f *pickFigures) measure(s settings, number int) error {
	p, err := startChild(s.dir, fmt.Sprintf("picks %s %d", f.Client, f.Connected),
		"picks", "-variant", f.Client, "-instances", fmt.Sprint(f.Connected), "-picks", fmt.Sprint(number))
	if err != nil {
		return err
	}
	var got picked
	if err := errors.Join(p.read(&got), p.stop()); err != nil {
		return err
	}
	f.Alone, f.Together = append(f.Alone, got.Alone), append(f.Together, got.Together)
	f.Mallocs, f.PerSecond = append(f.Mallocs, got.Mallocs), append(f.PerSecond, 1e9/got.Alone)
	return nil
}
