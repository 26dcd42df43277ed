package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
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
		name     string
		tolerant bool
		answers  []outcome
		want     string
	}{
		{"quick", true, []outcome{quick}, ""},
		{"slow at first", true, []outcome{slow, quick}, ""},
		{"slow", true, []outcome{slow, slow}, "128 calls at a time take 4s"},
		{"slow, of those that must be measured", false, []outcome{slow}, ""},
	} {
		err := saying(t, group{tolerant: c.tolerant}, c.answers...).warmUpAtFirst("x", w)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Calls that fail are an error, or where that is tolerated only if all do. The
// load generator must not fail.
func TestTolerance(t *testing.T) {
	some, none := outcome{Calls: 3, Errors: 2, Err: "shed"}, outcome{Errors: 2, Err: "shed"}
	for _, c := range []struct {
		name     string
		tolerant bool
		answers  []outcome
		out, end bool // it is left out, or all ends
	}{
		{"some failed", false, []outcome{some}, false, true},
		{"some failed, tolerated", true, []outcome{some}, false, false},
		{"all failed, tolerated", true, []outcome{none}, true, false},
		{"no answer, tolerated", true, nil, false, true},
	} {
		r := saying(t, group{tolerant: c.tolerant}, c.answers...)
		at := &cell{workload: workload{unary, 1}, Figures: map[string]*figures{"x": {CPU: []float64{1}}, "y": {}}}
		err := r.tolerate(at, "x", func(name string) error { return r.warmUp(name, at.workload, 1) })
		if (err != nil) != c.end || (at.Figures["x"] == nil) != c.out || (at.Without["x"] != "") != c.out || at.Figures["y"] == nil {
			t.Errorf("%s: %v, %+v", c.name, err, at)
		}
		if c.out {
			never := func(string) error { return errors.New("it is called") }
			if err := r.tolerate(at, "x", never); err != nil {
				t.Errorf("%s: who is left out is %v", c.name, err)
			}
		}
	}
}
