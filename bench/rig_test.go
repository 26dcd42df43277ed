package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// saying is a rig whose load generator gives these answers, whatever it is asked.
func saying(t *testing.T, g group, answers ...outcome) *rig {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	var lines strings.Builder
	for _, o := range answers {
		_ = json.NewEncoder(&lines).Encode(o)
	}
	r := newRig(settings{slice: 250 * time.Millisecond}, g)
	r.load = &child{what: "load", request: json.NewEncoder(io.Discard), out: json.NewDecoder(strings.NewReader(lines.String())), log: log}
	return r
}

// Who is too slow for its turns is left out, but not for a slow start.
func TestTooSlow(t *testing.T) {
	slow, quick := outcome{Calls: 128, Elapsed: 4250 * time.Millisecond}, outcome{Calls: 128, Elapsed: 300 * time.Millisecond}
	w := workload{serverStream, 128}
	for _, c := range []struct {
		name    string
		peers   map[string]peer
		answers []outcome
		want    string
	}{
		{"quick", onlyX, []outcome{quick}, ""},
		{"slow at first", onlyX, []outcome{slow, quick}, ""},
		{"slow", onlyX, []outcome{slow, slow}, "128 calls at a time take 4s"},
		{"slow, of those that must be measured", nil, []outcome{slow}, ""},
		{"slow, beside a peer", map[string]peer{"y": {}}, []outcome{slow}, ""},
	} {
		err := saying(t, group{peers: c.peers}, c.answers...).warmUpAtFirst("x", w)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// onlyX are the peers where x is one, and y is not.
var onlyX = map[string]peer{"x": {}}

// Calls that fail are an error, or of a peer only if all do: it alone is left out
// then. The load generator must not fail.
func TestTolerance(t *testing.T) {
	some, none := outcome{Calls: 3, Errors: 2, Err: "shed"}, outcome{Errors: 2, Err: "shed"}
	for _, c := range []struct {
		name     string
		of       string
		answers  []outcome
		out, end bool // it is left out, or all ends
	}{
		{"some failed", "y", []outcome{some}, false, true},
		{"all failed", "y", []outcome{none}, false, true},
		{"some failed of a peer", "x", []outcome{some}, false, false},
		{"all failed of a peer", "x", []outcome{none}, true, false},
		{"no answer", "x", nil, false, true},
	} {
		r := saying(t, group{peers: onlyX}, c.answers...)
		at := &cell{workload: workload{unary, 1}, Figures: map[string]*figures{"x": {CPU: []float64{1}}, "y": {}}}
		err := r.tolerate(at, c.of, func(name string) error { return r.warmUp(name, at.workload, 1) })
		if (err != nil) != c.end || (at.Figures[c.of] == nil) != c.out || (at.Without[c.of] != "") != c.out || at.Figures["y"] == nil {
			t.Errorf("%s: %v, %+v", c.name, err, at)
		}
		if c.out {
			never := func(string) error { return errors.New("it is called") }
			if err := r.tolerate(at, c.of, never); err != nil {
				t.Errorf("%s: who is left out is %v", c.name, err)
			}
		}
	}
}

// What is no peer ends the run when it does not start.
func TestOursMustStart(t *testing.T) {
	for _, c := range []struct {
		contender string
		wrong     bool
	}{{"no such variant", true}, {"gozero", false}} {
		s := settings{pairs: 1, slice: time.Millisecond, dir: t.TempDir()}
		groups, err := peerGroups(s.dir, somePeers(t))
		if err != nil {
			t.Fatal(err)
		}
		g := groups[0]
		g.workloads, g.contenders = []workload{{unary, 1}}, []string{c.contender, bare}
		r := newReport(s)
		if err := measureGroups(s, []group{g}, &r.Peers); (err != nil) != c.wrong {
			t.Errorf("%s: %v", c.contender, err)
		}
	}
}

// The p99.9 is of a process, not of its turns.
func TestTurnsOfProcesses(t *testing.T) {
	f := &figures{}
	for turn, process := range []int{1, 1, 1, 2, 2} {
		f.note(usage{}, usage{}, outcome{Calls: tailCalls, Elapsed: time.Second, P999: time.Duration(turn) * time.Microsecond})
		f.inProcess(process)
	}
	if want := []float64{2, 4}; !slices.Equal(f.P999, want) || !slices.Equal(ofP999(f), want) || f.processes() != 2 || len(f.CPU) != 5 {
		t.Errorf("%+v, of %d processes, want %v", f, f.processes(), want)
	}
	if f.Calls = 2*tailCalls - 1; ofP999(f) != nil {
		t.Error("there is a p99.9 of too few calls")
	}
}
