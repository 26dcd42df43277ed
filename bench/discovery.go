package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"time"

	"github.com/go-easyops/easyops/runtime/routing"
)

// few is how many instances are on the list that longer ones are compared with:
// as many as easyops connects to.
const few = routing.DefaultSubset

// many is the length of the list that goals are about.
const many = 10_000

// crowdCase is one client and one list.
type crowdCase struct {
	client    string
	instances int
}

// crowdCases are in the order of their turns.
var crowdCases = []crowdCase{
	{ours, few},
	{subsetting, few},
	{pickFirst, few},
	{roundRobin, few},
	{ours, 500},
	{roundRobin, 500},
	{ours, 1000},
	{roundRobin, 1000},
	{ours, 2000},
	{roundRobin, 2000},
	{ours, many},
	{subsetting, many},
	{pickFirst, many},
	{roundRobin, many},
}

// turns are fewer where one takes minutes, or no goal is aimed at.
func (c crowdCase) turns(pairs int) int {
	switch {
	case c.client == roundRobin && c.instances == many:
		return 1
	case c.instances == few || c.instances == many:
		return min(pairs, 5)
	case pairs < quickPairs:
		return 1
	}
	return 3
}

// crowdFigures are what a client needed for a list, a value for each turn.
type crowdFigures struct {
	Client    string
	Instances int
	Limit     time.Duration
	Turns     int

	First, FirstCPU          []float64 // ms, ms; of the turns in which a call was answered
	RestCPU                  []float64 // ms
	Unsettled                int       // turns that did not come to rest within the limit
	Load, Rate               []float64 // cores, at the changes a second that there should be; those that there were
	Heap, RSS                []float64 // MiB
	Conns                    []float64
	HeapOfEach, MemoryOfEach []float64 // KiB for each instance, against a list of few
}

// measureDiscovery measures what clients need for many instances of a service.
func measureDiscovery(s settings, r *report) (err error) {
	if runtime.GOOS != "linux" {
		progress("discovery: not here: it needs all of 127.0.0.0/8 to be the loopback interface, as on Linux")
		return nil
	}
	limit, changing := 4*time.Minute, 5*time.Second
	if s.pairs < quickPairs {
		limit, changing = time.Minute, 2*time.Second
	}
	r.Discovery, err = discoverAll(s, crowdCases, limit, changing)
	return err
}

// discoverAll gives each case its turns.
func discoverAll(s settings, cases []crowdCase, limit, changing time.Duration) (all []*crowdFigures, err error) {
	server, port, err := serveCrowd(s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	base := map[string]*crowdFigures{}
	for _, c := range cases {
		f := &crowdFigures{Client: c.client, Instances: c.instances, Limit: limit, Turns: c.turns(s.pairs)}
		progress("discovery: %s, %d instances, %d times", c.client, c.instances, f.Turns)
		for turn := range f.Turns {
			d, err := c.discover(s, turn, port, limit, changing)
			if err != nil {
				return nil, err
			}
			f.add(d)
		}
		if c.client == ours && f.Unsettled > 0 {
			return nil, fmt.Errorf("%s with %d instances did not come to rest within %v", ours, c.instances, limit)
		}
		if c.instances == few {
			base[c.client] = f
		} else if by := base[c.client]; by != nil {
			f.HeapOfEach, f.MemoryOfEach = ofEach(f.Heap, by.Heap, f.Instances), ofEach(f.RSS, by.RSS, f.Instances)
		}
		all = append(all, f)
	}
	return all, nil
}

// serveCrowd starts the server of all instances. Where all of 127.0.0.0/8 is the
// loopback interface, one that listens on all addresses is as many endpoints as
// there are instances. It allows the pings of easyops.
func serveCrowd(s settings) (server *child, port string, err error) {
	if server, err = startChild(s.dir, "crowd", "serve", "-variant="+tuned, "-listen=0.0.0.0:0"); err != nil {
		return nil, "", err
	}
	var addr string
	if err := server.read(&addr); err != nil {
		return nil, "", errors.Join(err, server.stop())
	}
	_, port, err = net.SplitHostPort(addr)
	return server, port, err
}

// discover runs a client in a process of its own.
func (c crowdCase) discover(s settings, turn int, port string, limit, changing time.Duration) (d discovered, err error) {
	if c.instances == few {
		changing = 0 // it is for comparison, with the same connections throughout
	}
	args := []string{
		"discover", "-variant", c.client, "-instances", fmt.Sprint(c.instances), "-port", port,
		"-limit", limit.String(), "-changing", changing.String(),
	}
	name := fmt.Sprintf("discover-%s-%d", c.client, c.instances)
	if s.profiles != "" {
		args = append(args, "-profile", filepath.Join(s.profiles, fmt.Sprintf("%s-%d.prof", name, turn+1)))
	}
	p, err := startChild(s.dir, name, args...)
	if err != nil {
		return d, err
	}
	err = p.read(&d)
	return d, errors.Join(err, p.stop())
}

func (f *crowdFigures) add(d discovered) {
	if d.Answered {
		f.First, f.FirstCPU = append(f.First, micros(d.First)/1000), append(f.FirstCPU, micros(d.FirstCPU)/1000)
	}
	f.RestCPU = append(f.RestCPU, micros(d.RestCPU)/1000)
	if !d.Settled {
		f.Unsettled++
	}
	if d.Changes > 0 {
		f.Load = append(f.Load, d.LoadCPU.Seconds()/float64(d.Changes)*changesPerSecond)
		f.Rate = append(f.Rate, float64(d.Changes)/d.Changing.Seconds())
	}
	f.Heap, f.RSS = append(f.Heap, mebi(d.Heap)), append(f.RSS, mebi(d.RSS))
	f.Conns = append(f.Conns, float64(d.Conns))
}

// ofEach returns the KiB for each instance more than few.
func ofEach(of, by []float64, instances int) []float64 {
	base := spreadOf(by).Median
	each := make([]float64, len(of))
	for n, v := range of {
		each[n] = (v - base) * 1024 / float64(instances-few)
	}
	return each
}

func (r *report) discoveryTable() *table {
	t := &table{
		title: fmt.Sprintf("Clients of many instances, and %d changes a second", changesPerSecond),
		columns: []string{
			"client", "instances", "first answer ms", "CPU ms to it", "CPU ms until at rest", "connections",
			"CPU with changes, % of a core", "RSS MiB", "RSS KiB for each", "heap KiB for each", "runs",
		},
	}
	for _, f := range r.Discovery {
		t.add(
			f.Client, f.Instances, f.first(), spreadOf(f.FirstCPU), f.rest(), spreadOf(f.Conns),
			spreadOf(times(f.Load, 100)), spreadOf(f.RSS), spreadOf(f.MemoryOfEach), spreadOf(f.HeapOfEach), f.Turns,
		)
	}
	return t
}

func (f *crowdFigures) first() string {
	if len(f.First) < f.Turns {
		return fmt.Sprintf("none within %v in %d of %d", f.Limit, f.Turns-len(f.First), f.Turns)
	}
	return spreadOf(f.First).String()
}

func (f *crowdFigures) rest() string {
	if f.Unsettled > 0 {
		return fmt.Sprintf("%v, not at rest after %v", spreadOf(f.RestCPU), f.Limit)
	}
	return spreadOf(f.RestCPU).String()
}

func times(list []float64, by float64) []float64 {
	product := make([]float64, len(list))
	for n, v := range list {
		product[n] = v * by
	}
	return product
}

// discoveryGoals are those of easyops with many instances.
func (r *report) discoveryGoals() (list []goal) {
	for _, f := range r.Discovery {
		if f.Client != ours || f.Instances != many {
			continue
		}
		list = append(
			list,
			goal{What: fmt.Sprintf("first answer with %d instances, ms", many), Figure: spreadOf(f.First), AtMost: 1000},
			goal{What: fmt.Sprintf("CPU of the client with %d instances and %d changes a second, cores", many, changesPerSecond), Figure: spreadOf(f.Load), AtMost: 0.1},
			goal{What: fmt.Sprintf("memory of the client for each of %d instances, KiB of RSS", many), Figure: spreadOf(f.MemoryOfEach), AtMost: 4},
		)
	}
	return list
}
