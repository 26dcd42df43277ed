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

// measureSecurity measures all workloads over TLS, or without where there is no
// certificate.
func measureSecurity(s settings, r *report, cert string) (err error) {
	g := &rig{settings: s, servers: map[string]*child{}, addrs: map[string]string{}}
	defer func() { err = errors.Join(err, stopAll(g.children)) }()
	if err := g.start(cert); err != nil {
		return err
	}
	for _, w := range workloads {
		progress("calls: %s, %s", w, security(cert != ""))
		c, err := g.measure(w)
		if err != nil {
			return err
		}
		c.TLS = cert != ""
		r.Calls = append(r.Calls, c)
	}
	return nil
}

func security(tls bool) string {
	if tls {
		return "TLS"
	}
	return "plaintext"
}

func (g *rig) start(cert string) (err error) {
	if g.load, err = g.child("load", "load", "-ca", cert); err != nil {
		return err
	}
	for _, name := range contenders {
		args := []string{"serve", "-variant", name, "-cert", cert, "-registry", filepath.Join(g.dir, "registry")}
		if g.profiles != "" {
			file := strings.ReplaceAll(name, " ", "-") + "-" + security(cert != "") + ".prof"
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
func (g *rig) measure(w workload) (*cell, error) {
	c := &cell{Workload: w.String(), Figures: map[string]*figures{}}
	for _, name := range contenders {
		c.Figures[name] = &figures{}
		if _, err := g.call(name, w, g.slice); err != nil { // warms up
			return nil, err
		}
	}
	for round := range g.pairs {
		for _, name := range orderOf(contenders, round) {
			if err := g.turn(name, w, c.Figures[name]); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
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
