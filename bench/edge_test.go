package main

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Calls go by all that there are, and bytes arrive.
func TestEdge(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the CPU of processes is asked of Linux")
	}
	s := settings{pairs: 1, slice: time.Millisecond, dir: t.TempDir()}
	r := newReport(s)
	if err := partNamed(t, "edge").measure(s, r); err != nil {
		t.Fatal(err)
	}
	names, movers := []string{edge, direct}, []string{edge, direct, plain}
	if _, err := exec.LookPath(nginxGRPC); err == nil {
		names = append(names, nginxGRPC)
	}
	if _, err := exec.LookPath(haproxy); err == nil {
		movers = append(movers, haproxy)
	}
	if len(r.Edge) != 2*len(edgeWorkloads) {
		t.Errorf("there are %d workloads", len(r.Edge))
	}
	for _, c := range r.Edge {
		checkFigures(t, c, names, turnsPerPair)
	}
	for _, direction := range directions {
		for _, name := range movers {
			if m := r.Transfers[direction]; len(m.Rate[name]) != s.pairs || m.Rate[name][0] <= 0 {
				t.Errorf("%s, %s: %+v", direction, name, m)
			}
		}
	}
	r.Goals = r.goals()
	for _, want := range []string{"by the edge against nginx's grpc_pass", "| up | edge |", "a TCP service against a plain listener"} {
		if !strings.Contains(r.markdown(), want) {
			t.Errorf("%q is not in the report", want)
		}
	}
}

// What does not arrive as it was sent is no transfer.
func TestMoveNotices(t *testing.T) {
	for _, direction := range directions {
		want := sumOf(1000, direction[0])
		if other := sumOf(999, direction[0]); string(want) == string(other) {
			t.Errorf("%s: the checksums of different bytes are the same", direction)
		}
	}
	closed, err := freeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := move(closed[0], up, 1); err == nil {
		t.Error("nobody listens, and the bytes have arrived")
	}
}
