package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// weigher weighs servers. They come to rest side by side, but only one is spoken
// to at a time.
type weigher struct {
	settings
	crowding
	cert    string
	servers []weighable
	weights map[string]*weight
	out     map[string]bool // servers, with the way in which they are not weighed any more
	busy    sync.Mutex
}

// sideBySide does the same with all.
func sideBySide[T any](list []T, do func(T) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(list))
	for i, one := range list {
		wg.Go(func() { errs[i] = do(one) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// conns weighs a server with one connection, and then with many more.
func (w *weigher) conns(server weighable, security string) error {
	v, err := w.weigh(server, security, holding{Conns: 1}, holding{Conns: 1 + w.crowding.conns})
	if err != nil {
		return err
	}
	of := w.weights[server.name]
	of.Idle[security] = append(of.Idle[security], mebi(v[0]))
	of.Conn[security] = append(of.Conn[security], kibi(v[1]-v[0])/float64(w.crowding.conns))
	return nil
}

// streams weighs a server with connections, and then with streams by them.
func (w *weigher) streams(server weighable) error {
	v, err := w.weigh(server, inClear, holding{Conns: w.streamConns}, holding{Conns: w.streamConns, Streams: w.crowding.streams})
	if err != nil {
		return err
	}
	of := w.weights[server.name]
	of.Stream = append(of.Stream, kibi(v[1]-v[0])/float64(w.crowding.streams))
	return nil
}

// weigh starts a server and returns what it has in memory with each of what is
// held.
func (w *weigher) weigh(server weighable, security string, each ...holding) (v []int64, err error) {
	if server.clear && security == withTLS {
		return nil, errors.New("it is not called over TLS")
	}
	p := &pair{}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := w.start(p, server, security); err != nil {
		return nil, err
	}
	for _, h := range each {
		h.Addr = p.addr
		if err := w.hold(p, h); err != nil {
			return nil, err
		}
		time.Sleep(time.Until(p.started.Add(w.young)))
		resident, settled, err := restOf(p.server.cmd.Process.Pid, w.still, w.most)
		if err != nil {
			return nil, err
		}
		if !settled {
			w.weights[server.name].Unsettled++
		}
		v = append(v, resident)
	}
	return v, nil
}

// pair is a server and what holds connections to it.
type pair struct {
	server, holder *child
	addr           string
	started        time.Time
}

func (w *weigher) start(p *pair, server weighable, security string) (err error) {
	w.busy.Lock()
	defer w.busy.Unlock()
	serve := append(slices.Clone(server.args), "-registry", filepath.Join(w.dir, "registry"))
	hold := []string{"hold"}
	if security == withTLS {
		serve, hold = append(serve, "-cert", w.cert), append(hold, "-ca", w.cert)
	}
	if p.holder, err = startChild(w.dir, "holder of "+server.name, hold...); err != nil {
		return err
	}
	if p.server, err = startProgram(w.dir, server.name, server.program, serve...); err != nil {
		return err
	}
	p.started = time.Now()
	return p.server.read(&p.addr)
}

func (w *weigher) hold(p *pair, h holding) error {
	w.busy.Lock()
	defer w.busy.Unlock()
	var answer held
	if err := p.holder.ask(h, &answer); err != nil {
		return err
	}
	if answer.Err != "" {
		return fmt.Errorf("%s: %s", p.server.what, answer.Err)
	}
	return nil
}

func (p *pair) stop() error {
	var children []*child
	for _, c := range []*child{p.holder, p.server} {
		if c != nil {
			children = append(children, c)
		}
	}
	return stopAll(children)
}

const lookEvery = 50 * time.Millisecond

// restOf returns what a process has in memory when that has not changed for a
// while, or has not come to rest in time, and which of both it was. It looks from
// outside: to be asked takes memory, too.
func restOf(pid int, still, most time.Duration) (last int64, settled bool, err error) {
	last, err = residentOf(pid)
	begin, since := time.Now(), time.Now()
	for err == nil && time.Since(since) < still {
		if time.Since(begin) >= most {
			return last, false, nil
		}
		time.Sleep(lookEvery)
		var now int64
		if now, err = residentOf(pid); now != last {
			last, since = now, time.Now()
		}
	}
	return last, err == nil, err
}

// residentOf is what a process has in memory, in bytes, where Linux says it.
func residentOf(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("memory of another process: %w", err)
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0, fmt.Errorf("memory of process %d: %q has no second number", pid, statm)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64) // proc(5)
	return pages * int64(os.Getpagesize()), err
}

func kibi(bytes int64) float64 { return float64(bytes) / (1 << 10) }
