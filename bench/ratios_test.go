package main

import (
	"testing"
	"time"
)

// checkKey looks for a ratio; 0 is one that is not there.
func checkKey(t *testing.T, r *report, name string, want float64) {
	t.Helper()
	got, ok := r.keyRatios()[name]
	if ok != (want != 0) || got.Median != want {
		t.Errorf("%q is %v, %v, want %v", name, got, ok, want)
	}
}

func TestKeyRatios(t *testing.T) {
	r := newReport(settings{pairs: 2, slice: time.Second})
	if all := r.keyRatios(); len(all) != 0 {
		t.Errorf("of nothing there are %v", all)
	}
	f := func(v float64) *figures {
		return &figures{CPU: []float64{v, v}, P50: []float64{2 * v, 2 * v}, P99: []float64{v, v}}
	}
	r.Calls = []*cell{
		{workload{unary, 16}, "plaintext", map[string]*figures{ours: f(3), bare: f(4), tuned: f(3)}, nil},
		{workload{pingPong, 16}, mutual, map[string]*figures{ours: f(1), bare: f(4)}, nil},
	}
	r.Identity = []*cell{{workload{unary, 128}, "token", map[string]*figures{identity: f(5), nobody: f(4)}, nil}}
	list := []float64{150, 150}
	r.Memory = map[string]*memory{"Unary/easyops": {list, list, list}, "Unary/bare": {list, list, []float64{100, 100}}}
	for name, want := range map[string]float64{
		"cpu/unary 100 B/16/plaintext/easyops:bare":        0.75,
		"cpu/unary 100 B/16/plaintext/easyops:tuned":       1,
		"cpu/unary 100 B/16/plaintext/easyops:roomy":       0,
		"p50/unary 100 B/16/plaintext/easyops:bare":        0.75,
		"cpu/ping-pong/16/mTLS, token/easyops:bare":        0.25,
		"cpu/unary 100 B/128/token/identity:insecure-none": 1.25,
		"allocations/Unary/easyops:bare":                   1.5,
		"bytes/Unary/easyops:bare":                         1,
		"allocations/Unary/identity:insecure-none":         0,
		"peers/cpu/unary 100 B/16/plaintext/easyops:bare":  0,
	} {
		checkKey(t, r, name, want)
	}
}
