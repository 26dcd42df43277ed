package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/bench/serving"
)

// peer is a program of bench/peers. What else it says of itself is in its
// description.
type peer struct {
	serving.Description
	program string
	args    []string // before its options
	options []string // of a server, but for those that all have
	fault   error    // why it cannot be measured
}

// peerNames are those of their programs.
var peerNames = []string{"middleware", "connect", "kratos", "gozero", "kitex", "gomicro"}

// quiet is behind the names of those that are measured without their access log, too.
const quiet = " quiet"

// ofPeers compares easyops with them. What is aimed at is set for everything on, and
// everything on are calls with a token. How they compare without identity, and
// without the log of each call, is reported beside it.
var ofPeers = comparison{
	of: ours, control: bareAgain,
	against: []bound{
		{by: bare},
		{by: tuned},
		{by: serveHTTP},
		{by: "middleware", cpu: 0.5, only: mutual, on: "recovery, metrics, each call logged", caller: verified},
		{by: "middleware" + quiet, aim: 0.5, on: "recovery, metrics", caller: verified},
		{by: "connect", cpu: 0.5, only: mutual, on: "recovery, metrics", caller: verified},
		{by: "kratos", cpu: 0.5, only: mutual, on: "recovery, metrics, each call logged", caller: verified},
		{by: "kratos" + quiet, aim: 0.5, on: "recovery, metrics", caller: verified},
		{by: "gozero", cpu: 0.5, only: mutual, on: "recovery, metrics, each call logged"},
		{by: "kitex", aim: 1, on: "its defaults"},
		{by: "gomicro", aim: 1, on: "its defaults"},
	},
	contenders: slices.Concat([]string{serveHTTP, ours, bare, bareAgain, tuned}, peerNames, []string{"middleware" + quiet, "kratos" + quiet}),
}

const verified = "a token that is verified for each call"

const (
	peerTurnsPerProcess = 4         // there is a turn for each pair
	peersAtMost         = time.Hour // all together: otherwise turns are shorter
	leastSlice          = 50 * time.Millisecond
)

// measurePeers measures the calls of all kinds, of all peers.
func measurePeers(s settings, r *report) error {
	list, err := s.builtPeers()
	if err != nil {
		return err
	}
	list = withQuiet(list)
	groups, err := peerGroups(s.dir, list)
	if err != nil {
		return err
	}
	s.slice = sliceWithin(s, groups, peersAtMost)
	r.PeerSlice = s.slice
	for _, p := range list {
		r.Descriptions = append(r.Descriptions, p.Description)
	}
	return measureGroups(s, groups, &r.Peers)
}

// buildPeers builds the programs of bench/peers, and asks each what it is. It is
// no error that one of them has a fault: the others are measured.
func buildPeers(dir string) (list []peer, err error) {
	dir = filepath.Join(dir, "peers")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, name := range peerNames {
		progress("peers: builds %s", name)
		p := peer{program: filepath.Join(dir, name)}
		p.fault = p.build("./" + name)
		p.Name = name
		list = append(list, p)
	}
	return list, nil
}

// withQuiet adds those without their access log, of the peers that can leave it out.
func withQuiet(list []peer) []peer {
	for _, p := range list {
		if p.fault != nil || !p.Quiet {
			continue
		}
		p.Name += quiet
		p.Features = maps.Clone(p.Features)
		delete(p.Features, serving.AccessLog)
		p.args = append(slices.Clip(p.args), "-quiet")
		list = append(list, p)
	}
	return list
}

// build builds the program from its package.
func (p *peer) build(pkg string) error {
	cmd := exec.Command("go", "build", "-C", "peers", "-buildvcs=false", "-o", p.program, pkg)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	out, err := exec.Command(p.program, "-describe").Output()
	if err != nil {
		return fmt.Errorf("-describe: %w", err)
	}
	if err := json.Unmarshal(out, &p.Description); err != nil {
		return fmt.Errorf("-describe: %w", err)
	}
	return nil
}

// peerWorkloads are all that there are.
func peerWorkloads() (list []workload) {
	for _, k := range []kind{unary, unaryLarge, serverStream, pingPong} {
		for _, n := range []int{1, 16, 128, 1000} {
			list = append(list, workload{k, n})
		}
	}
	return list
}

// peerGroups are a group for each way in which servers are called. Nobody knows who
// calls where there is no token in the way's name. Where there is one, callers
// present it, and a certificate, to whoever looks at it, as in other groups: a peer
// that does not is called as bare grpc-go is.
func peerGroups(dir string, list []peer) ([]group, error) {
	m, err := writeMaterial(dir)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, w := range m.ways() {
		g := group{
			security: w.name, serveArgs: append(w.serveArgs(true, false), "-auth", nobody), loadArgs: w.loadArgs(),
			comparison: ofPeers, workloads: peerWorkloads(),
			turnsPerPair: 1, turnsPerProcess: peerTurnsPerProcess,
			peers: map[string]peer{}, without: map[string]string{},
		}
		if w.asked {
			g.serveArgs, g.presenting = w.serveArgs(true, true), []string{ours}
		}
		for _, p := range list {
			g.add(p, w)
		}
		g.leaveOutMissing()
		groups = append(groups, g)
	}
	return groups, nil
}

// add has a peer take part, if it can be called in that way.
func (g *group) add(p peer, w way) {
	can := func(security string) bool { return slices.Contains(p.Security, security) }
	switch {
	case p.fault != nil:
		g.without[p.Name] = p.fault.Error()
		return
	case w.encrypted && !can(serving.TLS):
		g.without[p.Name] = "it is not called over TLS"
		return
	case !w.encrypted && !can(serving.Plaintext):
		g.without[p.Name] = "it is not called over plaintext"
		return
	}
	verifies := w.asked && can(serving.Token)
	p.options = w.serveArgs(can(serving.Mutual), verifies)
	if verifies {
		g.presenting = append(g.presenting, p.Name)
	}
	g.peers[p.Name] = p
}

// leaveOutMissing leaves out who was to be measured without its log, and has said nothing
// of such a log, as it was not built.
func (g *group) leaveOutMissing() {
	for _, name := range g.contenders {
		if _, there := g.peers[name]; strings.HasSuffix(name, quiet) && !there && g.without[name] == "" {
			g.without[name] = "it is not there"
		}
	}
}

// sliceWithin is how long a turn may be, so that all turns take no longer than
// that.
func sliceWithin(s settings, groups []group, most time.Duration) time.Duration {
	var slices float64
	for _, g := range groups {
		slices += g.slices(s)
		most -= g.lag(s)
	}
	slice := min(s.slice, max(leastSlice, time.Duration(float64(most)/slices)))
	if slice < s.slice {
		progress("peers: turns take %v instead of %v, or all would take longer than an hour", slice.Round(time.Millisecond), s.slice.Round(time.Millisecond))
	}
	return slice
}
