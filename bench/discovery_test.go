package main

import (
	"context"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// Each client answers from a process of its own, with the connections that it
// should have, and takes in changes.
func TestDiscovery(t *testing.T) {
	partNamed(t, "discovery")
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is an address of this machine on Linux alone")
	}
	const more = 4 * few
	s := settings{pairs: 1, dir: t.TempDir(), profiles: t.TempDir()}
	all, err := discoverAll(s, []crowdCase{{ours, few}, {ours, more}, {roundRobin, more}}, 20*time.Second, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for n, conns := range []float64{few, few, more} {
		f := all[n]
		if f.Turns != 1 || len(f.First) != 1 || f.First[0] <= 0 || f.RestCPU[0] < f.FirstCPU[0] || f.Heap[0] <= 0 || f.RSS[0] < f.Heap[0] || f.Unsettled != 0 {
			t.Errorf("%+v", f)
		}
		if f.Conns[0] < conns-1 || f.Conns[0] > 2*conns { // one may be ill; some are left for others
			t.Errorf("%s with %d instances has %v connections, want about %v", f.Client, f.Instances, f.Conns[0], conns)
		}
		if f.Instances == few {
			if len(f.Load) > 0 {
				t.Errorf("the list that others are compared with changes: %+v", f)
			}
		} else if len(f.Load) != 1 || f.Load[0] <= 0 || f.Rate[0] <= 0 {
			t.Errorf("%+v", f)
		}
	}
	if files, _ := os.ReadDir(s.profiles); len(files) != len(all) {
		t.Errorf("there are %d profiles", len(files))
	}
	if len(all[1].MemoryOfEach) != 1 || all[2].MemoryOfEach != nil {
		t.Errorf("each instance has %v and %v, which is for a client with a list to compare with", all[1].MemoryOfEach, all[2].MemoryOfEach)
	}
}

// A client that gets no answer within the limit says so. Where that is easyops,
// nothing was measured.
func TestDiscoveryWithoutAnswer(t *testing.T) {
	f := &crowdFigures{Client: roundRobin, Limit: time.Nanosecond, Turns: 1}
	d, err := (&crowd{port: 1, size: few}).measure(roundRobin, f.Limit, time.Second)
	f.add(d)
	if err != nil || f.Unsettled != 1 || len(f.Load) != 0 || f.first() != "none within 1ns in 1 of 1" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := (&crowd{}).measure("none", time.Second, time.Second); err == nil || !strings.Contains(err.Error(), "no such client: none") {
		t.Errorf("an unknown client: %v", err)
	}
	s := settings{pairs: 1, dir: t.TempDir()}
	if _, err := discoverAll(s, []crowdCase{{ours, few}}, time.Nanosecond, time.Second); err == nil || !strings.Contains(err.Error(), "did not come to rest") {
		t.Errorf("easyops without an answer: %v", err)
	}
}

// The list has the right size and valid entries, of addresses of their own; it
// changes as often as it should, and is told no more often than it should be.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, seconds = 300, 10
		ctx, cancel := context.WithCancel(t.Context())
		c := &crowd{port: 4100, size: size}
		var lists [][]registry.Instance
		done := make(chan error, 1)
		go func() { done <- c.watch(ctx, func(l []registry.Instance) { lists = append(lists, l) }) }()
		time.Sleep(seconds * time.Second)
		synctest.Wait()
		if len(lists) != 1 || c.changes.Load() != 0 {
			t.Errorf("there are %d lists and %d changes before the first is asked for", len(lists), c.changes.Load())
		}
		c.changing.Store(true)
		time.Sleep(seconds * time.Second)
		c.changing.Store(false)
		time.Sleep(seconds * time.Second)
		if n := c.changes.Load(); n > changesPerSecond*seconds+1 { // a look may come with the word
			t.Errorf("there are %d changes after %d s and a pause", n, seconds)
		}
		c.changing.Store(true)
		time.Sleep(seconds * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := len(lists); n < 1+2*4*seconds || n > 2*(2+5*seconds) {
			t.Errorf("there are %d lists in %d s, twice", n, seconds)
		}
		if n := c.changes.Load(); n < 2*(changesPerSecond*seconds-2) || n > 2*(changesPerSecond*seconds+1) {
			t.Errorf("there are %d changes in %d s, twice", n, seconds)
		}
		for _, list := range lists {
			checkCrowd(t, list, size)
		}
		for _, i := range slices.Concat(lists[0], lists[len(lists)-1]) {
			if err := i.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		if first, last := addrsOf(lists[0]), addrsOf(lists[len(lists)-1]); slices.Equal(first, last) {
			t.Error("no instance came or went")
		}
	})
}

func checkCrowd(t *testing.T, list []registry.Instance, size int) {
	t.Helper()
	if len(list) != size && len(list) != size-1 {
		t.Errorf("the list has %d instances", len(list))
	}
	ill := 0
	for _, i := range list {
		if i.Health != registry.Ready {
			ill++
		}
	}
	if ready := len(stateOf(list).Endpoints); ill > 1 || ready != len(list)-ill {
		t.Errorf("%d are ill, %d are given to gRPC", ill, ready)
	}
	if addrs := addrsOf(list); len(slices.Compact(addrs)) != len(list) {
		t.Error("an address is listed twice")
	}
}

// addrsOf returns the sorted addresses.
func addrsOf(list []registry.Instance) (addrs []string) {
	for _, i := range list {
		addrs = append(addrs, i.Addr)
	}
	slices.Sort(addrs)
	return addrs
}

func TestDiscoveryTable(t *testing.T) {
	r := newReport(settings{pairs: 2})
	f := &crowdFigures{Client: ours, Instances: many, Limit: time.Minute, Turns: leastValues}
	base := []float64{20}
	for range f.Turns {
		f.add(discovered{
			Answered: true, First: 1100 * time.Millisecond, FirstCPU: 60 * time.Millisecond, Settled: true, RestCPU: 70 * time.Millisecond,
			Changes: 200, Changing: 2 * time.Second, LoadCPU: 100 * time.Millisecond, Heap: 12 << 20, RSS: 60 << 20, Conns: 16,
		})
	}
	f.MemoryOfEach = ofEach(f.RSS, base, f.Instances)
	stuck := &crowdFigures{Client: roundRobin, Instances: many, Limit: time.Minute, Turns: 1}
	stuck.add(discovered{RestCPU: time.Second, Conns: 7})
	r.Discovery = []*crowdFigures{f, stuck}
	r.Goals = r.goals()
	text := r.markdown()
	for _, want := range []string{
		"| easyops | 10000 | 1100 (1100..1100) | 60 (60..60) | 70 (70..70) | 16 (16..16) | 5 (5..5) | 60 (60..60) | 4.10 (4.10..4.10) | - | 20 |",
		"| round_robin | 10000 | none within 1m0s in 1 of 1 | - | 1000 (1000..1000), not at rest after 1m0s | 7 (7..7) | - |",
		"| first answer with 10000 instances, ms | 1000 | 1100 (1100..1100) | no | - | 20 |",
		"| CPU of the client with 10000 instances and 100 changes a second, cores | 0.10 | 0.05 (0.05..0.05) | yes | - | 20 |",
		"| memory of the client for each of 10000 instances, KiB of RSS | 4 | 4.103 (4.103..4.103) | no | - | 20 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if each := ofEach([]float64{20}, base, many); math.Abs(each[0]) > 0 {
		t.Errorf("what is no more than with few costs %v for each", each)
	}
}
