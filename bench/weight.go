package main

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/go-easyops/easyops/bench/serving"
)

// weight is what one server has in memory while nobody calls it, a value for
// each round.
type weight struct {
	Idle   map[string][]float64 `json:",omitempty"` // MiB with one connection, by security
	Conn   map[string][]float64 `json:",omitempty"` // KiB for each connection more, by security
	Stream []float64            `json:",omitempty"` // KiB for each stream
	Faults []string             `json:",omitempty"` // why a peer has less

	Unsettled int `json:",omitempty"` // figures that were taken before it had come to rest
}

// crowding is how much is held open, and when memory has come to rest.
type crowding struct {
	conns       int           // that have made a call and are idle
	streams     int           // that have had a message each way
	streamConns int           // by which they go
	young       time.Duration // what servers make later than at once is there then
	still       time.Duration // that the figure has not changed
	most        time.Duration // after which it is taken as it is
}

// crowded is measured. Easyops allows 250 streams a connection, and makes its
// heap reserve a second after its start.
var crowded = crowding{
	conns: 1000, streams: 10_000, streamConns: 100,
	young: 2 * time.Second, still: time.Second, most: 10 * time.Second,
}

// weighed are our servers that are weighed, each as a program that links nothing
// but what it is.
var weighed = []string{ours, bare, bareAgain, tuned, serveHTTP}

const (
	inClear = "plaintext"
	withTLS = "TLS"
	streams = "streams"
)

// measureWeight measures the memory of servers, and the size of their programs.
func measureWeight(s settings, r *report) error {
	peers, err := buildPrograms(s)
	if err != nil {
		return err
	}
	list := startersWith(peers)
	if r.Programs, err = sizesOf(s.dir, list); err != nil {
		return err
	}
	w, err := newWeigher(s, crowded, append(ownServers(s.dir), peerServers(able(peers))...))
	if err != nil {
		return err
	}
	r.Weight = w.weights
	for _, p := range peers {
		if p.fault != nil {
			r.Weight[p.Name] = &weight{Faults: []string{cellText(p.fault.Error())}}
		}
	}
	for round := range s.pairs {
		progress("weight: round %d of %d", round+1, s.pairs)
		if err := w.round(round); err != nil {
			return err
		}
		if err := w.programs(round, list, r.Programs); err != nil {
			return err
		}
	}
	return nil
}

// weighable is a server that can be weighed.
type weighable struct {
	name    string
	program string
	args    []string
	peer    bool // what it cannot do is noted, and the others go on
	clear   bool // it cannot be called over TLS
}

func ownServers(dir string) (list []weighable) {
	for _, name := range weighed {
		program := name
		if name == bareAgain {
			program = bare
		}
		list = append(list, weighable{name: name, program: filepath.Join(dir, echoDir, program)})
	}
	return list
}

func peerServers(peers []peer) (list []weighable) {
	for _, p := range peers {
		list = append(list, weighable{
			name: p.Name, program: p.program, args: p.args, peer: true,
			clear: !slices.Contains(p.Security, serving.TLS),
		})
	}
	return list
}

// newWeigher prepares to weigh servers.
func newWeigher(s settings, c crowding, servers []weighable) (*weigher, error) {
	w := &weigher{settings: s, crowding: c, cert: filepath.Join(s.dir, "weight.pem"), servers: servers, weights: map[string]*weight{}, out: map[string]bool{}}
	for _, server := range servers {
		w.weights[server.name] = &weight{Idle: map[string][]float64{}, Conn: map[string][]float64{}}
	}
	return w, writeCert(w.cert)
}

// round weighs each server in each way, in fresh processes.
func (w *weigher) round(n int) error {
	for _, how := range []string{inClear, withTLS, streams} {
		if err := sideBySide(orderOf(w.servers, n), func(server weighable) error { return w.tolerate(server, how) }); err != nil {
			return err
		}
	}
	return nil
}

// tolerate weighs a server in one way. A peer that cannot be weighed is left out
// from then on.
func (w *weigher) tolerate(server weighable, how string) error {
	if w.isOut(server, how) {
		return nil
	}
	one := func() error { return w.conns(server, how) }
	if how == streams {
		one = func() error { return w.streams(server) }
	}
	err := one()
	if err == nil || !server.peer {
		return err
	}
	w.leaveOut(server, how, err)
	return nil
}

func (w *weigher) isOut(server weighable, how string) bool {
	w.busy.Lock()
	defer w.busy.Unlock()
	return w.out[server.name+" "+how]
}

// leaveOut notes why a server is not weighed in some way any more. What was weighed
// before is gone too: it would not be of the same rounds as that of others.
func (w *weigher) leaveOut(server weighable, how string, err error) {
	w.busy.Lock()
	defer w.busy.Unlock()
	w.out[server.name+" "+how] = true
	of := w.weights[server.name]
	delete(of.Idle, how)
	delete(of.Conn, how)
	if how == streams {
		of.Stream = nil
	}
	if text := cellText(err.Error()); !slices.Contains(of.Faults, text) {
		of.Faults = append(of.Faults, text)
	}
}
