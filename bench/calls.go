package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// contenders are in the order of their turns: those that are compared closest
// are neighbours.
var contenders = []string{tuned, ours, bare, bareAgain, serveHTTP}

var workloads = []workload{{false, 1}, {false, 16}, {false, 128}, {true, 16}}

// cell is what was measured of one workload.
type cell struct {
	Workload string
	TLS      bool
	Figures  map[string]*figures // by variant; the same index is the same turn
}

// figures are those of one variant, a value for each turn.
type figures struct {
	CPU, RPS, P50, P99, RSS []float64 // µs a call, calls a second, µs, µs, MiB
}

func measureCalls(s settings, r *report) error {
	cert := filepath.Join(s.dir, "cert.pem")
	if err := writeCert(cert); err != nil {
		return err
	}
	for _, cert := range []string{"", cert} {
		if err := measureSecurity(s, r, cert); err != nil {
			return err
		}
	}
	return nil
}

// rig is all servers and the load generator.
type rig struct {
	settings
	servers  map[string]*child
	addrs    map[string]string
	load     *child
	children []*child
}

const (
	turnsPerPair    = 4  // short turns that change often meet the same noise
	turnsPerProcess = 16 // then all are started anew: some processes are luckier than others
)

// measureSecurity measures all workloads over TLS, or without where there is no
// certificate.
func measureSecurity(s settings, r *report, cert string) error {
	var cells []*cell
	for _, w := range workloads {
		cells = append(cells, newCell(w, cert != ""))
	}
	for from, all := 0, s.pairs*turnsPerPair; from < all; from += turnsPerProcess {
		to := min(all, from+turnsPerProcess)
		progress("calls: %s, turns %d to %d of %d", security(cert != ""), from+1, to, all)
		if err := measureTurns(s, cells, cert, from, to); err != nil {
			return err
		}
	}
	r.Calls = append(r.Calls, cells...)
	return nil
}

// measureTurns gives each workload some turns, with servers of their own.
func measureTurns(s settings, cells []*cell, cert string, from, to int) (err error) {
	g := &rig{settings: s, servers: map[string]*child{}, addrs: map[string]string{}}
	defer func() { err = errors.Join(err, stopAll(g.children)) }()
	if err := g.start(cert, from/turnsPerProcess+1); err != nil {
		return err
	}
	for i, w := range workloads {
		if err := g.measure(w, cells[i], from, to); err != nil {
			return err
		}
	}
	return nil
}

func newCell(w workload, tls bool) *cell {
	c := &cell{Workload: w.String(), TLS: tls, Figures: map[string]*figures{}}
	for _, name := range contenders {
		c.Figures[name] = &figures{}
	}
	return c
}

func security(tls bool) string {
	if tls {
		return "TLS"
	}
	return "plaintext"
}

func (g *rig) start(cert string, process int) (err error) {
	if g.load, err = g.child("load", "load", "-ca", cert); err != nil {
		return err
	}
	for _, name := range contenders {
		args := []string{"serve", "-variant", name, "-cert", cert, "-registry", filepath.Join(g.dir, "registry")}
		if g.profiles != "" {
			file := fmt.Sprintf("%s-%s-%d.prof", strings.ReplaceAll(name, " ", "-"), security(cert != ""), process)
			args = append(args, "-profile", filepath.Join(g.profiles, file))
		}
		if g.servers[name], err = g.child(name, args...); err != nil {
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

func (g *rig) child(what string, args ...string) (*child, error) {
	c, err := startChild(g.dir, what, args...)
	if err == nil {
		g.children = append(g.children, c)
	}
	return c, err
}

// measure gives each variant its turns. Their order changes from round to
// round, so that what one leaves behind does not always meet the same next.
func (g *rig) measure(w workload, c *cell, from, to int) error {
	for _, name := range contenders {
		if _, err := g.call(name, w, g.slice); err != nil { // warms up
			return err
		}
	}
	for round := from; round < to; round++ {
		for _, name := range orderOf(contenders, round) {
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
