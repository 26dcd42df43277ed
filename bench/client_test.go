package main

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
)

// Each client calls from a process of its own, with what users of it have.
func TestClient(t *testing.T) {
	partNamed(t, "client")
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is an address of this machine on Linux alone")
	}
	s := settings{pairs: 1, slice: 5 * time.Millisecond, dir: t.TempDir(), profiles: t.TempDir()}
	r := newReport(s)
	var err error
	if r.Client, err = measureClients(s, []clientCase{{10, clients, []int{1, 4}, 2}}, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Client {
		if len(f.RSS) != 1 || f.RSS[0] < f.Heap[0] || f.Heap[0] <= 0 || f.Settling[0] <= 0 || f.Unsettled != 0 {
			t.Errorf("%+v", f)
		}
		for _, n := range []int{1, 4} {
			c := f.Calls[n]
			if len(c.CPU) != 2 || slices.Min(c.CPU) < 0 || slices.Min(c.RPS) <= 0 || slices.Min(c.Allocs) < 50 || slices.Min(c.Bytes) < 1000 {
				t.Errorf("%s, %d: %+v", f.Client, n, c)
			}
		}
	}
	if files, _ := os.ReadDir(s.profiles); len(files) != len(clients) {
		t.Errorf("there are %d profiles", len(files))
	}
	if goals := r.clientGoals(); len(goals) != 2 || goals[0].Figure.N != 2 || goals[0].Control.N != 2 {
		t.Errorf("%+v", goals)
	}
}

func TestClientFails(t *testing.T) {
	c := &crowd{port: 1, size: few}
	if _, err := c.dialAsUsers("none"); err == nil || !strings.Contains(err.Error(), "no such client: none") {
		t.Errorf("an unknown client: %v", err)
	}
	for _, args := range [][]string{
		{"client", "-variant", roundRobin, "-port", "1", "-limit", "10ms"},
		{"picks", "-variant", "none"},
	} {
		p, err := startChild(t.TempDir(), "fails", args...)
		if err != nil {
			t.Fatal(err)
		}
		var s stood
		if err := p.read(&s); err == nil {
			t.Errorf("%v: it has %+v", args, s)
		}
		if err := p.stop(); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

// Pickers choose among all that are connected, as with gRPC: pick_first has one.
func TestPickers(t *testing.T) {
	for name, want := range map[string]int{ours: 20, roundRobin: 20, pickFirst: 1} {
		p, err := pickerOf(balancers[name], 20)
		if err != nil {
			t.Fatal(err)
		}
		chosen := map[balancer.SubConn]bool{}
		for range 1000 {
			r, err := p.Pick(balancer.PickInfo{Ctx: context.Background()})
			if err != nil {
				t.Fatal(err)
			}
			chosen[r.SubConn] = true
			if r.Done != nil {
				r.Done(balancer.DoneInfo{BytesSent: true, BytesReceived: true})
			}
		}
		if len(chosen) != want {
			t.Errorf("%s chooses among %d, want %d", name, len(chosen), want)
		}
	}
	if _, err := pickerOf("none", 1); err == nil || !strings.Contains(err.Error(), `no balancer "none"`) {
		t.Errorf("an unknown balancer: %v", err)
	}
	if _, err := pickerOf(roundRobin, 0); err == nil {
		t.Error("there is a picker without instances")
	}
}

func TestPicks(t *testing.T) {
	s := settings{pairs: 1, dir: t.TempDir()}
	all, err := measurePicks(s, []pickCase{{ours, 1000, few, 2}, {roundRobin, 20, 20, 1}}, 20_000)
	if err != nil {
		t.Fatal(err)
	}
	for n, turns := range []int{2, 1} {
		if f := all[n]; len(f.Alone) != turns || f.Alone[0] <= 0 || f.Together[0] <= 0 || f.PerSecond[0] <= 0 || f.Mallocs[0] >= 1 {
			t.Errorf("%+v", f)
		}
	}
	for _, pairs := range []int{1, quickPairs} {
		all := slices.ContainsFunc(pickCases(pairs), func(c pickCase) bool { return c.client == roundRobin && c.instances == many })
		if all != (pairs == quickPairs) {
			t.Errorf("with %d pairs the picker of %d is measured: %v", pairs, many, all)
		}
		cases := clientCases(pairs)
		if at := cases[len(cases)-1]; at.instances != many || slices.Contains(at.clients, roundRobin) != (pairs == quickPairs) {
			t.Errorf("with %d pairs: %+v", pairs, at)
		}
	}
}

// The places are those of orderOf.
func TestPlaces(t *testing.T) {
	names := []string{"a", "b", "c"}
	for turn := range 2 * len(names) {
		var got []string
		for _, at := range placesOf(len(names), turn) {
			got = append(got, names[at])
		}
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("turn %d has %v", turn, got)
		}
	}
	sum := make([]int, len(names))
	for turn := range 2 * len(names) {
		for place, at := range placesOf(len(names), turn) {
			sum[at] += place
		}
	}
	if sum[0] != sum[1] || sum[1] != sum[2] {
		t.Errorf("the sums of places are %v", sum)
	}
}

func TestClientTables(t *testing.T) {
	calls := func(cpu, allocs float64) map[int]*clientCalls {
		f := func(v float64) []float64 { return slices.Repeat([]float64{v}, leastValues) }
		return map[int]*clientCalls{16: {f(cpu), f(allocs), f(5500), f(1000)}}
	}
	r := newReport(settings{pairs: 2})
	r.Client = []*clientFigures{
		{Client: ours, Instances: 10, Calls: calls(11, 87), RSS: []float64{20}, Heap: []float64{1}, Settling: []float64{8}},
		{Client: roundRobin, Instances: 10, Calls: calls(10, 87), RSS: []float64{16}, Heap: []float64{1}, Settling: []float64{8}, Unsettled: 1},
		{Client: ours, Instances: many, Calls: calls(11, 87)},
	}
	r.Picks = []*pickFigures{{ours, 1000, 16, []float64{200}, []float64{210}, []float64{0}, []float64{5e6}}}
	r.Goals = r.goals()
	text := r.markdown()
	for _, want := range []string{
		"| easyops | 10 | 16 | 11 (11..11) | 1.10 (1.10..1.10) | 87 (87..87) | 5500 (5500..5500) | 1000 (1000..1000) |",
		"| easyops | 10000 | 16 | 11 (11..11) | - |",
		"| round_robin | 10 | 16 (16..16) | 1 (1..1) | 8 (8..8), not at rest in 1 of 1 | 1 |",
		"| easyops | 1000 | 16 | 200 (200..200) | 210 (210..210) | 5000000 (5000000..5000000) | 0 (0..0) | 1 |",
		"client CPU per call against round_robin: unary 100 B, concurrency 16, 10 instances | 1.10 | 1.1 (1.1..1.1) | yes | - | 20 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	got := r.clientRatios()
	if got["client/cpu/unary 100 B/16/10/easyops:round_robin"].Median != 1.1 || got["client/RSS/10/easyops:round_robin"].Median != 1.25 {
		t.Errorf("%+v", got)
	}
	if s, ok := got["client/cpu/unary 100 B/16/10000/easyops:round_robin"]; ok && s.N > 0 {
		t.Error("there is a ratio where nothing was measured")
	}
}
