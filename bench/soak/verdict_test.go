package main

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// samplesOf has the server as a function of the time says, in a run of 100 s.
func samplesOf(n int, server func(at float64) state) (list []sample) {
	for i := range n {
		at := 100 * float64(i+1) / float64(n)
		list = append(list, sample{Seconds: at, Server: server(at), Client: state{30, 100, 20}, Calls: i * 100})
	}
	return list
}

// goodRun is one with which nothing is wrong.
func goodRun(samples []sample) *result {
	r := &result{Time: 100 * time.Second, Rate: 500, Calls: counts{}, Failures: counts{}, Restarts: []float64{50}, Samples: samples}
	for _, kind := range kindNames() {
		r.Calls[kind] = 5_000
	}
	return r
}

func TestJudge(t *testing.T) {
	noise := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		name   string
		server func(at float64) state
		grew   []string // beginnings of quantities
	}{
		{"flat", func(float64) state { return state{40, 100, 20} }, nil},
		{"noise", func(float64) state {
			return state{40 + 3*noise.NormFloat64(), 100 + 10*noise.NormFloat64(), 20 + 3*noise.NormFloat64()}
		}, nil},
		{"waves", func(at float64) state { s := math.Sin(at); return state{40 + 10*s, 100 + 30*s, 20 + 9*s} }, nil},
		{"fills in the warm-up", func(at float64) state { f := min(at, 20); return state{20 + 3*f, 10 * f, 5 * f} }, nil},
		{"shrinks", func(at float64) state { return state{140 - at, 200 - at, 120 - at} }, nil},
		{"little", func(at float64) state { return state{40 + at/20, 100 + at/10, 20 + at/15} }, nil},
		{"memory", func(at float64) state { return state{40 + at/5, 100, 20} }, []string{"RSS"}},
		{"goroutines", func(at float64) state { return state{40, 100 + at/2, 20} }, []string{"goroutines"}},
		{"descriptors", func(at float64) state { return state{40, 100, 20 + at/4} }, []string{"file descriptors"}},
		{"late", func(at float64) state { return state{40 + max(0, at-70)*2, 100, 20} }, []string{"RSS"}},
	} {
		r := goodRun(samplesOf(60, c.server))
		r.judge()
		if len(r.Wrong) != len(c.grew) || (r.err() == nil) != (c.grew == nil) {
			t.Errorf("%s: %q", c.name, r.Wrong)
			continue
		}
		for i, quantity := range c.grew {
			if !strings.HasPrefix(r.Wrong[i], "grew: server, "+quantity) {
				t.Errorf("%s: %q, want %s", c.name, r.Wrong[i], quantity)
			}
		}
	}
}

// What is not flat is not all that can be wrong.
func TestJudgeRest(t *testing.T) {
	flat := samplesOf(60, func(float64) state { return state{40, 100, 20} })
	for want, spoil := range map[string]func(*result){
		"failed 2 times: unary: reason":      func(r *result) { r.Failures["unary: reason"] = 2 },
		`no call of the kind "client stream`: func(r *result) { delete(r.Calls, "client stream") },
		"less than half of 500000":           func(r *result) { r.Rate = 5_000 },
		"no server was restarted":            func(r *result) { r.Restarts = nil },
		"less than 15":                       func(r *result) { r.Samples = flat[:14] },
		"there are 0 samples":                func(r *result) { r.Samples = nil },
	} {
		r := goodRun(flat)
		spoil(r)
		r.judge()
		if len(r.Wrong) != 1 || !strings.Contains(r.Wrong[0], want) || !strings.Contains(r.err().Error(), want) {
			t.Errorf("%q, want %q", r.Wrong, want)
		}
	}
}

func TestSave(t *testing.T) {
	r := goodRun(samplesOf(60, func(at float64) state { return state{40, 100 + at, 20} }))
	r.judge()
	name := filepath.Join(t.TempDir(), "soak")
	if err := r.save(name); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{".json": `"Wrong": [`, ".svg": "<desc"} {
		text, _ := os.ReadFile(name + file)
		if !strings.Contains(string(text), want) || !strings.Contains(string(text), "grew: server, goroutines") {
			t.Errorf("%s does not say what is wrong", file)
		}
	}
	if !strings.Contains(r.text(), "| client | RSS, MiB | 30 | 30 | 37 |") {
		t.Errorf("the text is %s", r.text())
	}
}

func TestErrorsIn(t *testing.T) {
	dir := t.TempDir()
	const log = "2026/11/23 03:18:39 INFO serving\n2026/11/23 03:18:40 ERROR panic peer=127.0.0.1:1\n2026/11/23 03:18:41 ERROR panic peer=127.0.0.1:2\n"
	if err := os.WriteFile(filepath.Join(dir, "server-0.log"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	found := counts{}
	if err := errorsIn(dir, found); err != nil || found["log of a process: panic ADDR"] != 2 || found.sum() != 2 {
		t.Errorf("found %v, error %v", found, err)
	}
}

func TestCounts(t *testing.T) {
	c := counts{}
	for i := range 3 * mostCounts {
		c.add(string(rune('a' + i)))
	}
	if len(c) != mostCounts+1 || c.sum() != 3*mostCounts {
		t.Errorf("%d counts of %d", len(c), c.sum())
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Hour: "1h", 5 * time.Minute: "5m", 90 * time.Second: "1m30s", 10 * time.Second: "10s", 90 * time.Minute: "1h30m"} {
		if got := short(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
