package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What was measured has charts beside its figures, and nothing else has.
func TestCharts(t *testing.T) {
	f := func(v float64) *figures { return &figures{CPU: []float64{v, v, v}, P99: []float64{v, v, v}} }
	cells := func(k kind) []*cell {
		return []*cell{{workload{k, 16}, "plaintext", map[string]*figures{ours: f(7), bare: f(10), bareAgain: f(11), "kratos": f(20)}, nil}}
	}
	for _, c := range []struct {
		fill  func(*report)
		files []string
		text  string
	}{
		{func(*report) {}, nil, ""},
		{func(r *report) { r.Calls = cells(unary) }, []string{"calls-cpu"}, "unary 100 B, concurrency 16, plaintext: easyops 0.70, bare again 1.10."},
		{func(r *report) { r.Calls = cells(serverStream) }, []string{"calls-streams"}, "stream of 100, concurrency 16, plaintext: easyops 0.70"},
		{func(r *report) { r.Peers = cells(unary) }, []string{"peers-cpu", "peers-p99"}, "kratos 2."},
		{func(r *report) { r.Peers = cells(unaryLarge) }, nil, ""},
		{func(r *report) { r.Start = map[string][]float64{ours: {6}, bare: {5}, bareAgain: {5}} }, []string{"programs"}, "easyops 1.20, bare again 1."},
		{func(r *report) {
			w := func(v float64) *weight {
				return &weight{Idle: map[string][]float64{inClear: {v, v}}, Stream: []float64{v}}
			}
			r.Weight = map[string]*weight{ours: w(11), bare: w(10), "kratos": w(20)}
			r.Programs = map[string]*program{ours: {Stripped: 15, Modules: 20}, bare: {Stripped: 10, Modules: 10}, "kratos": {Stripped: 30}}
		}, []string{"memory", "programs"}, "for each stream: easyops 1.10, kratos 2."},
		{func(r *report) {
			f := func(name string, v float64) *clientFigures {
				return &clientFigures{Client: name, Instances: 10, Calls: map[int]*clientCalls{16: {CPU: []float64{v}}}, RSS: []float64{v}}
			}
			r.Client = []*clientFigures{f(roundRobin, 10), f(roundRobinAgain, 11), f(ours, 12)}
		}, []string{"client"}, "concurrency 16, 10 instances: easyops 1.20, round_robin again 1.10. RSS, 10 instances: easyops 1.20"},
		{func(r *report) {
			r.Plugin = map[string]*effort{ourPlugin: {[]float64{1}, []float64{1}, []float64{1}}, grpcsOwn: {[]float64{2}, []float64{2}, []float64{2}}}
		}, []string{"plugin"}, "peak memory: protoc-gen-easyops 0.50."},
	} {
		r := newReport(settings{pairs: 3, slice: time.Second})
		c.fill(r)
		dir := t.TempDir()
		if err := r.saveCharts(filepath.Join(dir, "r")); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		var all string
		for i, file := range found {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			wellFormed(t, file, string(text))
			all += string(text)
			found[i] = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "r-"), ".svg")
		}
		if !slices.Equal(found, c.files) || !strings.Contains(all, c.text) {
			t.Errorf("%q, want %q, which say %q", found, c.files, c.text)
		}
	}
}

func wellFormed(t *testing.T, name, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

// Ratios are in a chart for each first part of their names, without controls.
func TestRatioCharts(t *testing.T) {
	s := spreadOf([]float64{1.1, 1.2, 1.3})
	charts := ratioCharts(func(*report) map[string]spread {
		return map[string]spread{
			"other/a/1/easyops:bare": s, "other/a/1/bare again:bare": s, "other/b/easyops:bare": s, "other/b/kratos:bare": s,
		}
	})(newReport(settings{}))
	b := charts["other"]
	if len(charts) != 1 || len(b.Groups) != 2 || b.Groups[0].Name != "a, 1" || len(b.Groups[0].Bars) != 1 || len(b.Groups[1].Bars) != 2 || b.Groups[1].Bars[0].Series != "easyops : bare" {
		t.Errorf("%+v", charts)
	}
}
