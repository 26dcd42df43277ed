package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/bench/serving"
)

// somePeers are programs that are none: this one plays them.
func somePeers(t *testing.T) []peer {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plays := func(name, variant string, d serving.Description) peer {
		d.Name = name
		return peer{Description: d, program: self, args: []string{"serve", "-variant", variant}}
	}
	all := []string{serving.Plaintext, serving.TLS, serving.Token, serving.Mutual}
	return []peer{
		plays("middleware", ours, serving.Description{Security: all, Features: map[string]string{serving.Identity: "jwks"}, Version: "v1"}),
		plays("kratos", bare, serving.Description{Quiet: true, Security: []string{serving.Plaintext, serving.TLS}, Features: map[string]string{serving.AccessLog: "all"}}),
		plays("connect", bare, serving.Description{Security: []string{serving.Plaintext}}),
		plays("gozero", "none", serving.Description{Security: all}),
		{Description: serving.Description{Name: "kitex"}, fault: errors.New("it does not build")},
		plays("gomicro", bare, serving.Description{Security: []string{serving.TLS}}),
	}
}

// Peers are called in each way that they can be called, and who cannot or does not
// start leaves the others alone.
func TestPeers(t *testing.T) {
	s := settings{pairs: 2, slice: time.Millisecond, dir: t.TempDir()}
	groups, err := peerGroups(s.dir, somePeers(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range groups {
		groups[i].workloads = []workload{{unaryLarge, 2}, {pingPong, 20}}
		groups[i].turnsPerProcess = 1
	}
	r := newReport(s)
	if err := measureGroups(s, groups, &r.Peers); err != nil {
		t.Fatal(err)
	}
	if len(r.Peers) != 3*2 {
		t.Fatalf("there are %d workloads", len(r.Peers))
	}
	for _, c := range r.Peers {
		want := []string{ours, bare, bareAgain, tuned, serveHTTP, "middleware", "kratos"}
		if c.Security == "plaintext" {
			want = append(want, "connect")
			if !strings.Contains(c.Without["gomicro"], "plaintext") {
				t.Errorf("%s: without gomicro: %q", c, c.Without["gomicro"])
			}
		} else if want = append(want, "gomicro"); !strings.Contains(c.Without["connect"], "TLS") {
			t.Errorf("%s: without connect: %q", c, c.Without["connect"])
		}
		checkFigures(t, c, want, s.pairs)
		if !strings.Contains(c.Without["gozero"], `no variant "none"`) || c.Figures["gozero"] != nil {
			t.Errorf("%s: without gozero: %q", c, c.Without["gozero"])
		}
		if !strings.Contains(c.Without["kitex"], "does not build") {
			t.Errorf("%s: without kitex: %q", c, c.Without["kitex"])
		}
	}
}

// What callers present goes to those that look at it. Where a peer cannot be asked
// for that, it is told of no certificate and no token.
func TestWhoIsPresentedTo(t *testing.T) {
	groups, err := peerGroups(t.TempDir(), somePeers(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		var presenting []string
		if g.security == mutual {
			presenting = []string{ours, "middleware", "gozero"}
		}
		if !slices.Equal(g.presenting, presenting) {
			t.Errorf("%s: to %v, want %v", g.security, g.presenting, presenting)
		}
		if known := !slices.Contains(g.argsOf(ours), nobody); known != (g.security == mutual) {
			t.Errorf("%s: it is wanted to know who calls: %v", g.security, known)
		}
		flags := func(name string) (list []string) {
			for _, o := range g.argsOf(name) {
				if strings.HasPrefix(o, "-") {
					list = append(list, o)
				}
			}
			return list
		}
		tls := []string{"-cert"}
		all, own := tls, []string{"-cert", "-auth"}
		switch g.security {
		case "plaintext":
			tls, all, own = nil, nil, []string{"-auth"}
		case mutual:
			all = []string{"-cert", "-ca", "-auth"}
			own = all
		}
		for name, want := range map[string][]string{ours: own, "middleware": all, "kratos": tls} {
			if got := flags(name); !slices.Equal(got, want) {
				t.Errorf("%s, %s: %v, want %v", g.security, name, got, want)
			}
		}
	}
}

// Who can leave out its access log is measured twice.
func TestQuietPeers(t *testing.T) {
	list := withQuiet(somePeers(t))
	if n := len(list); n != len(somePeers(t))+1 {
		t.Fatalf("there are %d peers", n)
	}
	loud, silent := list[1], list[len(list)-1]
	if loud.Name != "kratos" || silent.Name != "kratos quiet" || loud.Features[serving.AccessLog] == "" || silent.Features[serving.AccessLog] != "" {
		t.Errorf("%+v\n%+v", loud, silent)
	}
	if slices.Contains(loud.args, "-quiet") || !slices.Equal(silent.args, append(slices.Clone(loud.args), "-quiet")) {
		t.Errorf("options are %q and %q", loud.args, silent.args)
	}
	for _, b := range ofPeers.against {
		if !slices.Contains(ofPeers.contenders, b.by) {
			t.Errorf("%s is compared and not measured", b.by)
		}
	}
}

// All takes an hour, however many pairs there are, and few pairs take less.
func TestPeersTakeTheirTime(t *testing.T) {
	groups, err := peerGroups(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := settings{pairs: 10, slice: 250 * time.Millisecond}
	if got := sliceWithin(s, groups, peersAtMost); got != s.slice {
		t.Errorf("with %d pairs turns take %v", s.pairs, got)
	}
	for _, s.pairs = range []int{20, 40} {
		s.slice = sliceWithin(s, groups, peersAtMost)
		if all := estimate(s, groups); all > peersAtMost || all < peersAtMost-time.Minute {
			t.Errorf("with %d pairs turns take %v, all together %v", s.pairs, s.slice, all)
		}
	}
	s.pairs = 1000
	if got := sliceWithin(s, groups, peersAtMost); got != leastSlice {
		t.Errorf("with %d pairs turns take %v, want %v at least", s.pairs, got, leastSlice)
	}
}

func TestPeerTables(t *testing.T) {
	f := func(v float64) *figures {
		list := slices.Repeat([]float64{v}, leastValues)
		return &figures{CPU: list, RPS: list, P50: list, P99: list, P999: list, RSS: list}
	}
	failing := f(30)
	failing.Errors, failing.Err = 7, "overloaded"
	r := newReport(settings{pairs: 2, slice: time.Second})
	r.Descriptions = []serving.Description{{Name: "kratos", Module: "m", Version: "v2", Features: map[string]string{serving.Metrics: "otel"}}}
	r.Peers = []*cell{
		{workload{unary, 16}, "TLS", map[string]*figures{ours: f(8), bare: f(10), bareAgain: f(11), "kratos": f(20), "gozero": failing, "middleware": f(10)}, map[string]string{"connect": "no\n| TLS"}},
		{workload{unaryLarge, 16}, "TLS", map[string]*figures{ours: f(8), bare: f(10), "kratos": f(20)}, map[string]string{"connect": "no\n| TLS"}},
		{workload{unary, 1000}, "TLS", map[string]*figures{ours: f(8), bare: f(10), "kratos": f(20)}, map[string]string{"kitex": "away"}},
		{workload{unary, 16}, "plaintext", map[string]*figures{}, map[string]string{"kitex": "away"}},
		{workload{unary, 16}, mutual, map[string]*figures{ours: f(8), bare: f(10), bareAgain: f(10.5), "kratos": f(20), "middleware": f(10)}, nil},
	}
	r.Goals = r.goals()
	text := r.markdown()
	for _, want := range []string{
		"| kratos | m | v2 | - | otel | - | - | - | - | - |",
		"| unary 100 B, concurrency 16, TLS | - | 0.80 (0.80..0.80) | 1.10 (1.10..1.10) | - | 1 (1..1) | - | 2 (2..2) | - | - | - | - | - |",
		"| unary 100 B, concurrency 16, TLS | 0.80 (0.80..0.80) | - | - | 0.80 (0.80..0.80) | - | - | 0.40 (0.40..0.40) | - | - | - | - | 1.10 (1.10..1.10) |",
		"| connect | TLS | unary 100 B, concurrency 16; unary 4 KiB, concurrency 16 | not measured: no / TLS |",
		"| kitex | plaintext | all | not measured: away |",
		"| kitex | TLS | unary 100 B, concurrency 1000 | not measured: away |",
		"| gozero | TLS | unary 100 B, concurrency 16 | 100 % of the calls to gozero failed: 7 calls failed, as with: overloaded |",
		": unary 100 B, concurrency 16, mTLS, token | 0.50 | 0.4 (0.4..0.4) | yes | 1.05 (1.05..1.05) | 20 |",
		": unary 100 B, concurrency 16, mTLS, token | 0.50 | 0.8 (0.8..0.8) | no | 1.05 (1.05..1.05) | 20 |",
		": unary 100 B, concurrency 16, mTLS, token | 0.50 | - | not measured | 1.05 (1.05..1.05) | 0 |",
		": unary 100 B, concurrency 16, TLS | -, aimed at 0.50 | 0.8 (0.8..0.8) | reported, above the aim |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	for _, no := range []string{"logged): unary 4 KiB", "logged): unary 100 B, concurrency 1000"} {
		if strings.Contains(text, no) {
			t.Errorf("%q is a goal in\n%s", no, text)
		}
	}
	checkKey(t, r, "peers/cpu/unary 100 B/16/TLS/easyops:kratos", 0.4)
	checkKey(t, r, "peers/cpu/unary 100 B/16/TLS/easyops:connect", 0)
}
