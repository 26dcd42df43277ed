package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// What calls go through to the same server.
const (
	direct    = "direct"  // nothing
	plain     = "plain"   // nothing, and the service is no server of easyops but a listener of package net
	edge      = "edge"    // easyops edge
	nginxGRPC = "nginx"   // nginx's grpc_pass
	haproxy   = "haproxy" // HAProxy in TCP mode, for bytes
)

// edgeWorkloads are unary calls, few and many at a time, and streams.
var edgeWorkloads = []workload{{unary, 1}, {unary, 16}, {unary, 128}, {serverStream, 16}}

// fronts are the processes through which a server is called, and what is needed
// for that.
type fronts struct {
	settings
	security string
	cert     string // a file with certificate and key, or nothing
	program  string // easyops
	names    []string

	addrs     map[string]string
	processes map[string]*proxy
	tcpAddrs  map[string]string // of the TCP service
	behind    *child            // the server behind
	alone     *child            // the same, called directly
	load      *child
}

// measureEdge measures what it costs to call through the edge, and how fast a TCP
// service is behind it.
func measureEdge(s settings, r *report) error {
	if runtime.GOOS != "linux" {
		progress("edge: not here: the CPU of processes is asked of Linux")
		return nil
	}
	program, err := buildEasyops(s.dir)
	if err != nil {
		return err
	}
	names := []string{edge, direct}
	if path, err := exec.LookPath("nginx"); err != nil {
		progress("edge: without nginx, which is not installed (Debian's package nginx-light)")
	} else {
		progress("edge: beside %s", firstLine(path, "-v"))
		names = []string{edge, nginxGRPC, direct}
	}
	cert := filepath.Join(s.dir, "cert.pem")
	if err := writeCert(cert); err != nil {
		return err
	}
	for _, f := range []fronts{{security: "plaintext"}, {security: "TLS", cert: cert}} {
		f.settings, f.program, f.names = s, program, names
		cells, err := f.measureCalls()
		if err != nil {
			return err
		}
		r.Edge = append(r.Edge, cells...)
	}
	f := fronts{settings: s, program: program, names: []string{edge, direct, plain}}
	if path, err := exec.LookPath(haproxy); err != nil {
		progress("edge: without HAProxy, which is not installed")
	} else {
		progress("edge: beside %s", firstLine(path, "-v"))
		f.names = []string{edge, haproxy, direct, plain}
	}
	r.Transfers, err = f.measureTransfers()
	return err
}

func buildEasyops(dir string) (string, error) {
	path := filepath.Join(dir, "easyops")
	if out, err := exec.Command("go", "build", "-C", "..", "-buildvcs=false", "-o", path, "./cmd/easyops").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/easyops: %w: %s", err, out)
	}
	return path, nil
}

// measureCalls gives each workload its turns. All processes are started anew now
// and then, as for other calls.
func (f *fronts) measureCalls() (cells []*cell, err error) {
	for _, w := range edgeWorkloads {
		c := &cell{workload: w, Security: f.security, Figures: map[string]*figures{}}
		for _, name := range f.names {
			c.Figures[name] = &figures{}
		}
		cells = append(cells, c)
	}
	for from, all := 0, f.pairs*turnsPerPair; from < all; from += turnsPerProcess {
		to := min(all, from+turnsPerProcess)
		progress("edge: calls, %s, turns %d to %d of %d", f.security, from+1, to, all)
		if err := f.measureTurns(cells, from, to); err != nil {
			return nil, err
		}
	}
	return cells, nil
}

func (f *fronts) measureTurns(cells []*cell, from, to int) (err error) {
	if err := f.start(); err != nil {
		return errors.Join(err, f.stop())
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	for i, w := range edgeWorkloads {
		for _, name := range f.names {
			if _, err := f.call(name, w, f.slice); err != nil { // warms up
				return err
			}
		}
		for round := from; round < to; round++ {
			for _, name := range orderOf(f.names, round) {
				if err := f.turn(name, w, cells[i].Figures[name]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// start starts the servers, what is in front of one, and the load generator.
func (f *fronts) start() (err error) {
	f.addrs, f.processes, f.tcpAddrs = map[string]string{}, map[string]*proxy{}, map[string]string{}
	free, err := freeAddrs(7)
	if err != nil {
		return err
	}
	registry, where, alone := filepath.Join(f.dir, "registry"), "", ""
	if f.behind, err = startServer(f.dir, behind, &where, "-registry", registry, "-tcp", free[0], "-plain", free[6]); err != nil {
		return err
	}
	aloneArgs, loadArgs := []string{"-registry", registry + "-alone"}, []string{"load"}
	if f.cert != "" {
		aloneArgs, loadArgs = append(aloneArgs, "-cert", f.cert), append(loadArgs, "-ca", f.cert)
	}
	if f.alone, err = startServer(f.dir, ours, &alone, aloneArgs...); err != nil {
		return err
	}
	if f.load, err = startChild(f.dir, "load", loadArgs...); err != nil {
		return err
	}
	f.addrs[direct], f.tcpAddrs[direct], f.tcpAddrs[plain] = alone, free[0], free[6]
	if f.processes[edge], err = f.startEdge(free[1], free[2], free[3], registry); err != nil {
		return err
	}
	f.addrs[edge], f.tcpAddrs[edge] = free[1], free[3]
	if slices.Contains(f.names, nginxGRPC) {
		f.addrs[nginxGRPC] = free[4]
		if f.processes[nginxGRPC], err = f.startNginx(free[4], where); err != nil {
			return err
		}
	}
	if slices.Contains(f.names, haproxy) {
		f.tcpAddrs[haproxy] = free[5]
		f.processes[haproxy], err = f.startHAProxy(free[5], free[0])
	}
	return err
}

// startServer starts a server and reads its address.
func startServer(dir, variant string, addr *string, args ...string) (*child, error) {
	c, err := startChild(dir, variant, append([]string{"serve", "-variant", variant}, args...)...)
	if err != nil {
		return nil, err
	}
	return c, c.read(addr)
}

// freeAddrs returns addresses of loopback that nobody listens on.
func freeAddrs(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until the last is there
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// startEdge starts an edge with a route to each service of the server.
func (f *fronts) startEdge(listen, admin, tcp, registry string) (*proxy, error) {
	routes := filepath.Join(f.dir, "routes.yaml")
	text := fmt.Sprintf("listen: %q\nadmin: %q\ngrpc: [{service: echo.v1.EchoService}]\ntcp: [{listen: %q, service: bytes}]\n", listen, admin, tcp)
	if f.cert != "" {
		text += fmt.Sprintf("tls: [{cert: %q, key: %q}]\n", f.cert, f.cert)
	}
	if err := os.WriteFile(routes, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return startProxy(f.dir, edge, listen, f.program, "edge", routes, "-easyops.registry=local:"+registry)
}

// stop ends all that was started, the load generator first.
func (f *fronts) stop() (err error) {
	if f.load != nil {
		err = f.load.stop()
	}
	for _, p := range f.processes {
		if p != nil {
			err = errors.Join(err, p.stop())
		}
	}
	for _, c := range []*child{f.behind, f.alone} {
		if c != nil {
			err = errors.Join(err, c.stop())
		}
	}
	f.load, f.behind, f.alone, f.processes = nil, nil, nil, nil
	return err
}

func (f *fronts) turn(name string, w workload, to *figures) error {
	if _, err := f.call(name, w, f.slice/10); err != nil {
		return err
	}
	before, err := f.usage(name)
	if err != nil {
		return err
	}
	o, err := f.call(name, w, f.slice)
	if err != nil {
		return err
	}
	after, err := f.usage(name)
	if err != nil {
		return err
	}
	to.note(before, after, o)
	return nil
}

func (f *fronts) call(name string, w workload, d time.Duration) (o outcome, err error) {
	if err := f.load.ask(job{workload: w, Addr: f.addrs[name], Duration: d}, &o); err != nil {
		return o, err
	}
	if o.Err != "" {
		return o, fmt.Errorf("a call by %s: %s", name, o.Err)
	}
	return o, nil
}

// usage is that of what is in between. Where that is nothing, it is that of the
// server.
func (f *fronts) usage(name string) (u usage, err error) {
	if p := f.processes[name]; p != nil {
		return p.usage()
	}
	return u, f.alone.ask(struct{}{}, &u)
}
