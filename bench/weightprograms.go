package main

import (
	"debug/buildinfo"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// program is that of a server.
type program struct {
	Stripped, Plain int64     // bytes
	Modules         int       // that it is linked of, without that of its main package and what measures
	Idle            []float64 // MiB after one call, a value for each round
	Unsettled       int       `json:",omitempty"` // of these, before it had come to rest
	Fault           string    `json:",omitempty"` // why it cannot be compared
	out             bool      // it is not weighed any more
}

const (
	peersDir    = "peers"    // of the peers' module, and of what is built of it
	strippedDir = "stripped" // of the same programs again, in the directory of what is built
	ownModule   = "github.com/go-easyops/easyops"
	benchModule = ownModule + "/bench" // is in no module of users
)

// stripped are the options for a program that is as small as can be.
var stripped = []string{"-trimpath", "-ldflags=-s -w"}

// buildPrograms builds the minimal servers and the peers, as go build does by
// default and stripped.
func buildPrograms(s settings) ([]peer, error) {
	progress("weight: builds the servers twice")
	var peers []peer
	var err error
	if s.startsPeers() {
		if peers, err = s.builtPeers(); err != nil {
			return nil, err
		}
	}
	small := filepath.Join(s.dir, strippedDir)
	ofPeers := slices.Clone(stripped)
	for _, p := range able(peers) {
		ofPeers = append(ofPeers, "./"+p.Name)
	}
	err = errors.Join(
		buildStarters(s.dir, "./start/echo/..."),
		buildStarters(small, "./start/echo/bare", stripped...),
	)
	if err == nil && len(ofPeers) > len(stripped) {
		err = buildIn(peersDir, filepath.Join(small, peersDir), ofPeers...)
	}
	return peers, err
}

// able are the peers of which there is a program.
func able(peers []peer) []peer {
	return slices.DeleteFunc(slices.Clone(peers), func(p peer) bool { return p.fault != nil })
}

// sizesOf looks at the files that were built.
func sizesOf(dir string, list []starter) (map[string]*program, error) {
	programs := map[string]*program{}
	for _, st := range list {
		p := &program{}
		for path, size := range map[string]*int64{dir: &p.Plain, filepath.Join(dir, strippedDir): &p.Stripped} {
			file, err := os.Stat(filepath.Join(path, st.program))
			if err != nil {
				return nil, err
			}
			*size = file.Size()
		}
		info, err := buildinfo.ReadFile(filepath.Join(dir, st.program))
		if err != nil {
			return nil, err
		}
		p.Modules = modulesOf(info)
		if st.name != ours && links(info, ownModule) {
			p.Fault = "it is linked with " + ownModule + ", so it is larger than it would be"
		}
		programs[st.name] = p
	}
	return programs, nil
}

// modulesOf counts the modules that a program is linked of, beside its own and
// those of the measuring.
func modulesOf(info *buildinfo.BuildInfo) (n int) {
	for _, m := range info.Deps {
		if !strings.HasPrefix(m.Path, benchModule) {
			n++
		}
	}
	return n
}

func links(info *buildinfo.BuildInfo, module string) bool {
	return slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == module })
}

// programs weighs programs after one call, whose connection is closed. A peer that
// fails has no figures of any round.
func (w *weigher) programs(round int, starters []starter, into map[string]*program) error {
	return sideBySide(orderOf(starters, round), func(st starter) error {
		p := into[st.name]
		if p.out {
			return nil
		}
		resident, settled, err := w.program(st)
		switch {
		case err != nil && st.peer:
			p.Fault, p.Idle, p.out = cellText(err.Error()), nil, true
			return nil
		case err != nil:
			return err
		case !settled:
			p.Unsettled++
		}
		p.Idle = append(p.Idle, mebi(resident))
		return nil
	})
}

func (w *weigher) program(st starter) (resident int64, settled bool, err error) {
	w.busy.Lock()
	started, err := launch(w.settings, st)
	w.busy.Unlock()
	if err != nil {
		return 0, false, err
	}
	defer started.kill()
	time.Sleep(w.young)
	return restOf(started.cmd.Process.Pid, w.still, w.most)
}
