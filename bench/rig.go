package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// rig is all servers of a group and the load generator.
type rig struct {
	settings
	group
	servers  map[string]*child
	addrs    map[string]string
	load     *child
	children []*child
	foreign  []*child // peers: how they end is their business
	process  int      // how often all were started
}

const (
	turnsPerPair    = 4  // short turns that change often meet the same noise
	turnsPerProcess = 16 // then all are started anew: some processes are luckier than others

	orderSeed = 20261122 // of the order of turns
)

func newRig(s settings, g group) *rig {
	return &rig{settings: s, group: g, servers: map[string]*child{}, addrs: map[string]string{}}
}

// measureTurns gives each workload some turns, with servers of their own.
func (g group) measureTurns(s settings, cells []*cell, from, to int) (err error) {
	r := newRig(s, g)
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.start(cells, from/g.turnsPerProcess+1); err != nil {
		return err
	}
	for i, w := range g.workloads {
		if err := r.measure(w, cells[i], from, to); err != nil {
			return err
		}
	}
	return nil
}

// start starts the load generator, and the servers that some cell has figures of.
func (g *rig) start(cells []*cell, process int) (err error) {
	g.process = process
	if g.load, err = startChild(g.dir, "load", append([]string{"load"}, g.loadArgs...)...); err != nil {
		return err
	}
	g.children = append(g.children, g.load)
	for _, name := range g.contenders {
		if !slices.ContainsFunc(cells, func(c *cell) bool { return c.Figures[name] != nil }) {
			continue
		}
		err := g.startServer(name, process)
		if err == nil {
			continue
		}
		if !g.tolerates(name) {
			return err
		}
		progress("calls: %s, without %s: %v", g.security, name, err)
		for _, c := range cells {
			c.leaveOut(name, err.Error())
		}
	}
	return nil
}

func (g *rig) startServer(name string, process int) error {
	args := append([]string{"-registry", filepath.Join(g.dir, "registry")}, g.argsOf(name)...)
	if g.profiles != "" {
		file := fmt.Sprintf("%s-%s-%d.prof", name, g.security, process)
		args = append(args, "-profile", filepath.Join(g.profiles, strings.ReplaceAll(file, " ", "-")))
	}
	c, err := g.run(name, args)
	if err != nil {
		return err
	}
	g.servers[name] = c
	if g.tolerates(name) {
		g.foreign = append(g.foreign, c)
	} else {
		g.children = append(g.children, c)
	}
	var addr string
	err = c.read(&addr)
	g.addrs[name] = addr
	return err
}

// run runs a variant of this program, or a peer.
func (g *rig) run(name string, args []string) (*child, error) {
	if p, ok := g.peers[name]; ok {
		return startProgram(g.dir, name, p.program, slices.Concat(p.args, args)...)
	}
	return startChild(g.dir, name, slices.Concat([]string{"serve", "-variant", name}, args)...)
}

// stop ends all processes.
func (g *rig) stop() error {
	err := stopAll(g.children)
	if err := stopAll(g.foreign); err != nil {
		progress("calls: %v", err)
	}
	return err
}

// measure gives each variant its turns. Their order changes from round to round.
func (g *rig) measure(w workload, c *cell, from, to int) error {
	warm := func(name string) error { return g.warmUpAtFirst(name, w) }
	for _, name := range g.contenders {
		if err := g.tolerate(c, name, warm); err != nil {
			return err
		}
	}
	turn := func(name string) error { return g.turn(name, w, c.Figures[name]) }
	for round := from; round < to; round++ {
		for _, name := range orderOf(g.contenders, round) {
			if err := g.tolerate(c, name, turn); err != nil {
				return err
			}
		}
	}
	return nil
}

// errLoad is an error of the load generator, without which nothing goes on.
var errLoad = errors.New("the load generator")

// tolerate does something with a variant that has figures. Where that is tolerated,
// who fails is left out and the others go on.
func (g *rig) tolerate(c *cell, name string, do func(name string) error) error {
	if c.Figures[name] == nil {
		return nil
	}
	err := do(name)
	if err == nil || !g.tolerates(name) || errors.Is(err, errLoad) {
		return err
	}
	progress("calls: %s, without %s: %v", c, name, err)
	c.leaveOut(name, err.Error())
	return nil
}

// orderOf is the order of a round. It is by chance, so that what one leaves behind
// does not always meet the same next, and by a seed, so that it can be had again.
// Each second round is the one before backwards: nobody is early more often than
// late.
func orderOf[T any](names []T, round int) []T {
	order := slices.Clone(names)
	chance := rand.New(rand.NewPCG(orderSeed, uint64(round/2)))
	chance.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

func (g *rig) turn(name string, w workload, f *figures) error {
	if err := g.warmUp(name, w, g.slice/10); err != nil {
		return err
	}
	before, err := g.usage(name)
	if err != nil {
		return err
	}
	o, err := g.call(name, w, g.slice, true)
	if err != nil {
		return err
	}
	after, err := g.usage(name)
	if err != nil {
		return err
	}
	f.note(before, after, o)
	f.inProcess(g.process)
	return nil
}

// tooLong is how long after the end of a turn there may be calls in flight to who is
// left out otherwise: turns of who needs longer would take most of the time.
const tooLong = 3 * time.Second

// warmUpAtFirst warms up a process. It is an error to be too slow, unless it was
// the first call alone.
func (g *rig) warmUpAtFirst(name string, w workload) error {
	for again := false; ; again = true {
		o, err := g.call(name, w, g.slice, false)
		switch late := o.Elapsed - g.slice; {
		case err != nil || !g.tolerates(name) || late <= tooLong:
			return err
		case again:
			return fmt.Errorf("too slow: %d calls at a time take %v", w.Concurrency, late.Round(100*time.Millisecond))
		}
	}
}

func (g *rig) warmUp(name string, w workload, d time.Duration) error {
	_, err := g.call(name, w, d, false)
	return err
}

// call has a variant called for some time. Where that is tolerated, it is no error
// that some calls have failed.
func (g *rig) call(name string, w workload, d time.Duration, measured bool) (o outcome, err error) {
	j := job{
		workload: w, Addr: g.addrs[name], Duration: d, Presenting: slices.Contains(g.presenting, name),
		Tolerant: g.tolerates(name), Measured: measured,
	}
	if err := g.load.ask(j, &o); err != nil {
		return o, fmt.Errorf("%w: %w", errLoad, err)
	}
	if o.Err != "" && (!g.tolerates(name) || o.Calls == 0) {
		return o, fmt.Errorf("a call to %s: %s", name, o.Err)
	}
	return o, nil
}

func (g *rig) usage(name string) (u usage, err error) {
	return u, g.servers[name].ask(struct{}{}, &u)
}
