package main

import (
	"os"
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

// weighed are the servers of this program that are weighed.
var weighed = []string{ours, bare, bareAgain, tuned, serveHTTP}

const (
	inClear = "plaintext"
	withTLS = "TLS"
)

// measureWeight measures the memory of servers, and the size of their programs.
func measureWeight(s settings, r *report) error {
	peers, err := buildPrograms(s.dir)
	if err != nil {
		return err
	}
	list := startersWith(peers)
	if r.Programs, err = sizesOf(s.dir, list); err != nil {
		return err
	}
	servers, err := ownServers()
	if err != nil {
		return err
	}
	w, err := newWeigher(s, crowded, append(servers, peerServers(able(peers))...))
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

func ownServers() ([]weighable, error) {
	self, err := os.Executable()
	var list []weighable
	for _, name := range weighed {
		list = append(list, weighable{name: name, program: self, args: []string{"serve", "-variant", name}})
	}
	return list, err
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
	w := &weigher{settings: s, crowding: c, cert: filepath.Join(s.dir, "weight.pem"), servers: servers, weights: map[string]*weight{}}
	for _, server := range servers {
		w.weights[server.name] = &weight{Idle: map[string][]float64{}, Conn: map[string][]float64{}}
	}
	return w, writeCert(w.cert)
}

// round weighs each server in each way, in fresh processes.
func (w *weigher) round(n int) error {
	for _, one := range []func(weighable) error{
		func(server weighable) error { return w.conns(server, inClear) },
		func(server weighable) error { return w.conns(server, withTLS) },
		w.streams,
	} {
		if err := sideBySide(orderOf(w.servers, n), func(server weighable) error { return w.tolerate(server, one) }); err != nil {
			return err
		}
	}
	return nil
}

// tolerate weighs a server in one way. What a peer cannot do is noted.
func (w *weigher) tolerate(server weighable, one func(weighable) error) error {
	err := one(server)
	if err == nil || !server.peer {
		return err
	}
	w.busy.Lock()
	defer w.busy.Unlock()
	of := w.weights[server.name]
	if text := cellText(err.Error()); !slices.Contains(of.Faults, text) {
		of.Faults = append(of.Faults, text)
	}
	return nil
}
