package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	plaintext "google.golang.org/grpc/credentials/insecure"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// crowdedLittle is enough to see that all is done.
var crowdedLittle = crowding{conns: 20, streams: 40, streamConns: 4, still: lookEvery, most: time.Second}

// Each server is weighed in each way, and who cannot serve is left out.
func TestWeight(t *testing.T) {
	s := settings{pairs: 1, dir: t.TempDir()}
	if err := build(filepath.Join(s.dir, echoDir), "./start/echo/..."); err != nil {
		t.Fatal(err)
	}
	servers := ownServers(s.dir)
	for _, server := range servers {
		info, err := buildinfo.ReadFile(server.program)
		if err != nil {
			t.Fatal(err)
		}
		if got := links(info, ownModule); got != (server.name == ours) {
			t.Errorf("%s is linked with easyops: %v", server.name, got)
		}
	}
	broken := weighable{name: "broken", program: os.Args[0], args: []string{"serve", "-variant=none"}, peer: true}
	half := weighable{name: "half", program: os.Args[0], args: []string{"serve"}, peer: true, clear: true}
	w, err := newWeigher(s, crowdedLittle, append(servers, broken, half))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.round(0); err != nil {
		t.Fatal(err)
	}
	for _, name := range weighed {
		of := w.weights[name]
		for _, security := range []string{inClear, withTLS} {
			if len(of.Idle[security]) != 1 || of.Idle[security][0] < 1 || len(of.Conn[security]) != 1 || of.Conn[security][0] <= 0 {
				t.Errorf("%s, %s: %+v", name, security, of)
			}
		}
		if len(of.Stream) != 1 || len(of.Faults) != 0 {
			t.Errorf("%s: %+v", name, of)
		}
	}
	if of := w.weights[broken.name]; len(of.Stream) != 0 || len(of.Faults) == 0 || !strings.Contains(of.Faults[0], `no variant "none"`) {
		t.Errorf("broken: %+v", of)
	}
	if of := w.weights[half.name]; len(of.Stream) != 1 || len(of.Conn[inClear]) != 1 || len(of.Conn[withTLS]) != 0 || !slices.Equal(of.Faults, []string{"it is not called over TLS"}) {
		t.Errorf("half: %+v", of)
	}
	broken.name, broken.peer = ours, false
	if err := w.tolerate(broken, streams); err == nil {
		t.Error("a server of our own may fail")
	}
}

// Who fails later has no figures at all: they would not be of the same rounds.
func TestWeightLeavesOut(t *testing.T) {
	peer := weighable{name: "peer", program: os.Args[0], args: []string{"serve"}, peer: true}
	w, err := newWeigher(settings{dir: t.TempDir()}, crowdedLittle, []weighable{peer})
	if err != nil {
		t.Fatal(err)
	}
	of := w.weights[peer.name]
	for _, program := range []string{peer.program, "/no such", peer.program} {
		peer.program = program
		for _, how := range []string{inClear, streams} {
			if err := w.tolerate(peer, how); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(of.Idle[inClear]) != 0 || len(of.Conn[inClear]) != 0 || len(of.Stream) != 0 || len(of.Faults) != 1 {
		t.Errorf("after a fault: %+v", of)
	}
	if err := w.tolerate(peer, withTLS); err != nil || len(of.Idle[withTLS]) != 1 {
		t.Errorf("in another way: %+v, %v", of, err)
	}
}

// A peer that starts only at first has no figures, and the others have all.
func TestStartLeavesOut(t *testing.T) {
	s := settings{pairs: 1, dir: t.TempDir()}
	if err := build(s.dir, "./start/bare"); err != nil {
		t.Fatal(err)
	}
	calls := 0
	brief := starter{"brief", "bare", toldAddr, func(ctx context.Context, conn grpcConn) error {
		if calls++; calls > 2 {
			return errors.New("no answer")
		}
		return callEmpty(ctx, conn)
	}, true}
	r := newReport(s)
	if err := measureStarts(s, r, []starter{{bare, "bare", toldAddr, callEmpty, false}, brief}); err != nil {
		t.Fatal(err)
	}
	if _, any := r.Start[brief.name]; any || len(r.Start[bare]) != startsPerPair || calls != 3 {
		t.Errorf("%v after %d calls", r.Start, calls)
	}
	if len(r.Faults) != 1 || !strings.Contains(r.missingTable().rows[0][1], "no answer") {
		t.Errorf("faults: %+v", r.Faults)
	}
	brief.peer = false
	if err := measureStarts(s, r, []starter{brief}); err == nil {
		t.Error("a server of our own may fail")
	}
}

// Minimal servers end with what has started them.
func TestStartersEndWithTheirInput(t *testing.T) {
	s := settings{dir: t.TempDir()}
	if err := buildStarters(s.dir, "./start/echo/bare"); err != nil {
		t.Fatal(err)
	}
	for _, st := range starters {
		server, err := launch(s, st)
		if err != nil {
			t.Fatal(err)
		}
		server.in.Close()
		kill := time.AfterFunc(20*time.Second, server.kill)
		if err := server.cmd.Wait(); err != nil || !kill.Stop() {
			t.Errorf("%s: %v", st.name, err)
		}
	}
}

// What is held stays open, and more of it is opened when more is asked for.
func TestHold(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveBare(t, lis)
	k := &keeper{creds: plaintext.NewCredentials()}
	for _, h := range []holding{{Conns: 1}, {Conns: 3}, {Conns: 3, Streams: 7}, {Conns: 2, Streams: 5}} {
		h.Addr = lis.Addr().String()
		if err := k.hold(h); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.conns) != 3 || len(k.streams) != 7 {
		t.Errorf("%d connections, %d streams", len(k.conns), len(k.streams))
	}
	for i, s := range k.streams {
		if err := s.Send(&echov1.ChatRequest{Message: "again"}); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Recv(); err != nil || m.GetMessage() != "again" {
			t.Errorf("stream %d: %v, %v", i, m, err)
		}
	}
	if err := (&keeper{creds: plaintext.NewCredentials()}).hold(holding{Addr: "127.0.0.1:1", Conns: 1}); err == nil {
		t.Error("a connection to nobody is held")
	}
}

func TestMore(t *testing.T) {
	var opened atomic.Int64
	open := func(i int) (int, error) {
		opened.Add(1)
		return i, nil
	}
	list, err := more([]int{0}, 30, open)
	if err != nil || len(list) != 30 || opened.Load() != 29 || !slices.IsSorted(list) || list[29] != 29 {
		t.Errorf("%v, %v, opened %d", list, err, opened.Load())
	}
	if list, err = more(list, 10, open); err != nil || len(list) != 30 || opened.Load() != 29 {
		t.Errorf("less: %v, %v, opened %d", list, err, opened.Load())
	}
	want := errors.New("no")
	if _, err := more(list, 40, func(int) (int, error) { return 0, want }); !errors.Is(err, want) {
		t.Errorf("error %v", err)
	}
}

func TestRest(t *testing.T) {
	begin := time.Now()
	resident, settled, err := restOf(os.Getpid(), time.Hour, 3*lookEvery)
	if took := time.Since(begin); err != nil || settled || resident < 1<<20 || took < 3*lookEvery || took > 10*time.Second {
		t.Errorf("%d, %v, after %v", resident, err, took)
	}
	if _, settled, err := restOf(os.Getpid(), 0, time.Hour); err != nil || !settled {
		t.Errorf("at rest: %v, %v", settled, err)
	}
	if _, settled, err := restOf(-1, time.Hour, time.Hour); err == nil || settled {
		t.Error("no process has memory")
	}
}

// Minimal servers are built, started and weighed.
func TestPrograms(t *testing.T) {
	s := settings{pairs: 1, dir: t.TempDir()}
	for to, flags := range map[string][]string{s.dir: nil, filepath.Join(s.dir, strippedDir): {stripped[1]}} {
		if err := buildStarters(to, "./start/echo/bare", flags...); err != nil {
			t.Fatal(err)
		}
	}
	list := slices.Clone(starters)
	programs, err := sizesOf(s.dir, list)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWeigher(s, crowdedLittle, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.programs(0, list, programs); err != nil {
		t.Fatal(err)
	}
	for _, st := range list {
		p := programs[st.name]
		if p.Stripped < 1<<20 || p.Plain <= p.Stripped || p.Modules < 1 || len(p.Idle) != 1 || p.Idle[0] < 1 {
			t.Errorf("%s: %+v", st.name, p)
		}
	}
	if least, by := programs[bare], programs[measured]; least.Plain >= by.Plain || least.Modules != by.Modules {
		t.Errorf("bare has %+v, what can be measured %+v", least, by)
	}
	gone := starter{measured, "no such", toldBoth, callEcho, true}
	for _, program := range []string{"no such", filepath.Join(echoDir, "bare")} {
		gone.program = program
		if err := w.programs(1, []starter{gone}, programs); err != nil || len(programs[measured].Idle) != 0 || programs[measured].Fault == "" {
			t.Errorf("a peer that failed: %+v, %v", programs[measured], err)
		}
	}
	mute := starter{"mute", "bare", toldAddr, func(context.Context, grpcConn) error { return errors.New("no answer") }, false}
	if _, err := launch(s, mute); err == nil || !strings.HasPrefix(err.Error(), "mute: no answer") {
		t.Errorf("mute: %v", err)
	}
}

func TestModulesOf(t *testing.T) {
	info := &buildinfo.BuildInfo{Deps: []*debug.Module{
		{Path: "github.com/go-easyops/easyops"}, {Path: benchModule}, {Path: benchModule + "/peers"}, {Path: "google.golang.org/grpc"},
	}}
	if n := modulesOf(info); n != 2 {
		t.Errorf("%d modules, want 2", n)
	}
	if !links(info, ownModule) || links(info, "example.com") {
		t.Error("what it is linked with is not told")
	}
}

func TestWeightTables(t *testing.T) {
	all := func(v ...float64) []float64 { return slices.Repeat(v, leastValues/len(v)) }
	of := func(v float64) *weight {
		both := map[string][]float64{inClear: all(v), withTLS: all(2 * v)}
		return &weight{Idle: both, Conn: both, Stream: all(v)}
	}
	r := newReport(settings{pairs: leastValues})
	r.Weight = map[string]*weight{ours: of(22), bare: of(20), bareAgain: of(20), "peer": {Faults: []string{"no more"}, Unsettled: 3}}
	r.Programs = map[string]*program{
		ours:      {Stripped: 15 << 20, Plain: 30 << 20, Modules: 21, Idle: all(25, 26)},
		bare:      {Stripped: 10 << 20, Plain: 20 << 20, Modules: 6, Idle: all(20)},
		bareAgain: {Stripped: 10 << 20, Plain: 20 << 20, Modules: 6, Idle: all(20)},
	}
	r.Programs["linked"] = &program{Fault: "it is too large"}
	r.Start = map[string][]float64{ours: all(6), bare: all(5), bareAgain: all(5)}
	r.Plugin = map[string]*effort{}
	for i, p := range plugins {
		v := all(float64(4 - i))
		r.Plugin[p.name] = &effort{v, v, v}
	}
	r.Goals = r.goals()
	text := r.markdown()
	for _, want := range []string{
		"| easyops | 22 (22..22) / 1.10 | 44 (44..44) / 1.10 | 22 (22..22) / 1.10 | 44 (44..44) / 1.10 | 22 (22..22) / 1.10 | 20 |",
		"| peer | - | - | - | - | - | 0 |",
		"| peer | no more |",
		"| peer | 3 figures were taken before its memory had come to rest, after 10s |",
		"| linked | it is too large |",
		"| easyops | 15 | 1.50 | 30 | 1.50 | 21 | 25.5 (25..26) | 5.50 (5..6) |",
		"| easyops | 6 (6..6) | 6 | 6 | 1.20 (1.20..1.20) | 20 |",
		"| protoc-gen-easyops | 4 (4..4) | 4 (4..4) | 4 (4..4) | 1.33 (1.33..1.33) | 1.33 (1.33..1.33) | 4 (4..4) | 20 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	for what, want := range map[string]string{
		"RSS per idle connection against bare, TLS":          "no",
		"RSS of the idle server, MiB more than bare, TLS":    "yes",
		"RSS per idle stream against bare":                   "yes",
		"RSS of the idle minimal server, MiB more than bare": "yes, not in each quarter",
		"minimal binary against bare, stripped":              "no",
		"linked modules of the minimal server":               "no",
		"start to first answer against bare":                 "yes",
		"plugin's wall time against protoc-gen-go-grpc":      "no",
	} {
		i := slices.IndexFunc(r.Goals, func(g goal) bool { return g.What == what })
		if i < 0 || r.Goals[i].holds() != want {
			t.Errorf("%s: %+v", what, r.Goals)
		}
	}
	for name, want := range map[string]float64{"rss/connection/TLS": 1.1, "rss/stream/plaintext": 1.1, "size/stripped": 1.5, "modules": 3.5, "start": 1.2} {
		if got := r.keyRatios()[name+"/easyops:bare"]; got.Median != want {
			t.Errorf("the ratio %s is %v, want %v", name, got.Median, want)
		}
	}
	if none := newReport(settings{}); len(none.goals()) != 0 || len(none.keyRatios()) != 0 {
		t.Errorf("goals of nothing: %v", none.goals())
	}
}
