package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cell is what was measured of one workload.
type cell struct {
	Workload string
	Security string
	Figures  map[string]*figures // by variant; the same index is the same turn
}

// figures are those of one variant, a value for each turn.
type figures struct {
	CPU, RPS, P50, P99, RSS []float64 // µs a call, calls a second, µs, µs, MiB
}

// callsOf returns the part that measures the calls of groups.
func callsOf(groups func(dir string) ([]group, error), into func(*report) *[]*cell) func(settings, *report) error {
	return func(s settings, r *report) error {
		list, err := groups(s.dir)
		if err != nil {
			return err
		}
		for _, g := range list {
			cells, err := g.measureWorkloads(s)
			if err != nil {
				return err
			}
			*into(r) = append(*into(r), cells...)
		}
		return nil
	}
}

// rig is all servers of a group and the load generator.
type rig struct {
	settings
	group
	servers  map[string]*child
	addrs    map[string]string
	load     *child
	children []*child
}

const (
	turnsPerPair    = 4  // short turns that change often meet the same noise
	turnsPerProcess = 16 // then all are started anew: some processes are luckier than others
)

// measureWorkloads measures all workloads.
func (g group) measureWorkloads(s settings) (cells []*cell, err error) {
	for _, w := range g.workloads {
		cells = append(cells, g.newCell(w))
	}
	for from, all := 0, s.pairs*turnsPerPair; from < all; from += turnsPerProcess {
		to := min(all, from+turnsPerProcess)
		progress("calls: %s, turns %d to %d of %d", g.security, from+1, to, all)
		if err := g.measureTurns(s, cells, from, to); err != nil {
			return nil, err
		}
	}
	return cells, nil
}

// measureTurns gives each workload some turns, with servers of their own.
func (g group) measureTurns(s settings, cells []*cell, from, to int) (err error) {
	r := &rig{settings: s, group: g, servers: map[string]*child{}, addrs: map[string]string{}}
	defer func() { err = errors.Join(err, stopAll(r.children)) }()
	if err := r.start(from/turnsPerProcess + 1); err != nil {
		return err
	}
	for i, w := range g.workloads {
		if err := r.measure(w, cells[i], from, to); err != nil {
			return err
		}
	}
	return nil
}

func (g group) newCell(w workload) *cell {
	c := &cell{Workload: w.String(), Security: g.security, Figures: map[string]*figures{}}
	for _, name := range g.contenders {
		c.Figures[name] = &figures{}
	}
	return c
}

func (g *rig) start(process int) (err error) {
	if g.load, err = g.child("load", "load", g.loadArgs...); err != nil {
		return err
	}
	for _, name := range g.contenders {
		args := append([]string{"-variant", name, "-registry", filepath.Join(g.dir, "registry")}, g.serveArgs...)
		if g.profiles != "" {
			file := fmt.Sprintf("%s-%s-%d.prof", strings.ReplaceAll(name, " ", "-"), g.security, process)
			args = append(args, "-profile", filepath.Join(g.profiles, file))
		}
		if g.servers[name], err = g.child(name, "serve", args...); err != nil {
			return err
		}
		var addr string
		if err := g.servers[name].read(&addr); err != nil {
			return err
		}
		g.addrs[name] = addr
	}
	return nil
}

func (g *rig) child(what, command string, args ...string) (*child, error) {
	c, err := startChild(g.dir, what, append([]string{command}, args...)...)
	if err == nil {
		g.children = append(g.children, c)
	}
	return c, err
}

// measure gives each variant its turns. Their order changes from round to
// round, so that what one leaves behind does not always meet the same next.
func (g *rig) measure(w workload, c *cell, from, to int) error {
	for _, name := range g.contenders {
		if _, err := g.call(name, w, g.slice); err != nil { // warms up
			return err
		}
	}
	for round := from; round < to; round++ {
		for _, name := range orderOf(g.contenders, round) {
			if err := g.turn(name, w, c.Figures[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// orderOf turns the names by one place each second round, and backwards in
// between.
func orderOf(names []string, round int) []string {
	at := round / 2 % len(names)
	order := slices.Concat(names[at:], names[:at])
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

func (g *rig) turn(name string, w workload, f *figures) error {
	if _, err := g.call(name, w, g.slice/10); err != nil {
		return err
	}
	before, err := g.usage(name)
	if err != nil {
		return err
	}
	o, err := g.call(name, w, g.slice)
	if err != nil {
		return err
	}
	after, err := g.usage(name)
	if err != nil {
		return err
	}
	f.CPU = append(f.CPU, micros(after.CPU-before.CPU)/float64(o.Calls))
	f.RPS = append(f.RPS, float64(o.Calls)/o.Elapsed.Seconds())
	f.P50 = append(f.P50, micros(o.P50))
	f.P99 = append(f.P99, micros(o.P99))
	f.RSS = append(f.RSS, mebi(after.RSS))
	return nil
}

func (g *rig) call(name string, w workload, d time.Duration) (o outcome, err error) {
	if err := g.load.ask(job{w, g.addrs[name], d}, &o); err != nil {
		return o, err
	}
	if o.Err != "" {
		return o, fmt.Errorf("a call to %s: %s", name, o.Err)
	}
	return o, nil
}

func (g *rig) usage(name string) (u usage, err error) {
	return u, g.servers[name].ask(struct{}{}, &u)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func mebi(bytes int64) float64 { return float64(bytes) / (1 << 20) }
