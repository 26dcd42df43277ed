package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Each mode is what its name says, and nothing else. It takes 5 s, as what is done
// once a second is in each turn.
func TestOperation(t *testing.T) {
	partNamed(t, "operation")
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is an address of this machine on Linux alone")
	}
	s := settings{pairs: 1, dir: t.TempDir(), profiles: t.TempDir()}
	all, err := measureModes(s, 20, []int{200}, 600*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("%d loads", len(all))
	}
	for _, m := range modes {
		cpu, changes := all[0].CPU[m.name], all[0].Changes[m.name]
		if len(cpu) != 1 || cpu[0] <= 0 || len(changes) != 1 || (changes[0] > changesPerSecond/2) != m.changing || (changes[0] > 0) != m.changing {
			t.Errorf("%s: %v, %v", m.name, cpu, changes)
		}
	}
	if info, err := os.Stat(filepath.Join(s.profiles, "operation.prof")); err != nil || info.Size() == 0 {
		t.Errorf("no profile: %v", err)
	}
}

// What comes from outside is answered to the operator, and to no one else; the server
// knows all callers.
func TestOutside(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is an address of this machine on Linux alone")
	}
	s := settings{pairs: 1, dir: t.TempDir()}
	others, port, err := serveCrowd(s)
	if err != nil {
		t.Fatal(err)
	}
	g, err := startOperated(s, port, 20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		g.outside.close()
		if err := errors.Join(g.server.stop(), others.stop()); err != nil {
			t.Error(err)
		}
	}()
	for path, least := range map[string]int64{"/metrics": 1000, "/internal/": 5000, "/internal/live.js": 1000} {
		if n, err := g.outside.get(path, browserAccepts, ""); err != nil || n < least {
			t.Errorf("%s has %d bytes: %v", path, n, err)
		}
	}
	few, _ := g.outside.get("/internal/service-info/grpc-callers?limit=1&format=json", "", "")
	if n, err := g.outside.get("/internal/service-info/grpc-callers?format=json", "", ""); err != nil || n < 10*few {
		t.Errorf("one caller takes %d bytes, all of them %d: %v", few, n, err)
	}
	if n, err := g.outside.call(1000, time.Now().Add(100*time.Millisecond)); err != nil || n < 1 || n > 100 {
		t.Errorf("%d calls: %v", n, err)
	}
	if err := errors.Join(g.outside.scrape(), g.outside.reload(0), g.outside.reload(1)); err != nil {
		t.Error(err)
	}
	g.outside.operator = "none"
	if err := g.outside.scrape(); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("nobody reads the metrics: %v", err)
	}
	if err := g.outside.reload(1); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("nobody sees the overview: %v", err)
	}
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seconds := range 4 {
			n := 0
			count := func(at int) error {
				if at != n {
					t.Errorf("the %d. is told that it is the %d.", n, at)
				}
				n++
				return nil
			}
			if err := every(time.Now().Add(time.Duration(seconds)*time.Second), count); err != nil || n != seconds {
				t.Errorf("%d in %d s: %v", n, seconds, err)
			}
		}
		if err := every(time.Now().Add(time.Hour), func(int) error { return os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
}

func TestOperationTable(t *testing.T) {
	o := &operated{PerSecond: 500, Callers: 1024, CPU: map[string][]float64{}, Changes: map[string][]float64{}}
	for _, m := range modes {
		o.CPU[m.name] = slices.Repeat([]float64{3, 4, 3}, 10)
		if m.name == allTogether {
			o.CPU[m.name] = slices.Repeat([]float64{6, 6, 5.5}, 10)
		}
	}
	r := newReport(settings{pairs: 3})
	r.Operation = []*operated{o, {CPU: map[string][]float64{allTogether: {1}, undisturbed: {0.5}}}}
	r.Goals = r.goals()
	text := r.markdown()
	for _, want := range []string{
		"| 500 calls a second | all together | 6 (5.50..6) | 2.50 (2..3) | - | 30 |",
		"| 500 calls a second | nothing again | 3 (3..4) | 0 (0..0) | - | 30 |",
		"together, % of a core: 500 calls a second | 2 | 2.5 (2..3) | no |",
		"together, % of a core: no calls | 2 | 0.5 (0.5..0.5) | too few: 1 values of 20 | - | 1 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	got := r.operationRatios()
	if len(got) != 1 || got["operation/cpu/500 calls a second/all together:nothing"].N != 30 {
		t.Errorf("%+v", got)
	}
}
