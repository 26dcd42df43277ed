package status

import (
	"math"
	"strings"
	"testing"
)

func TestChartEndsItsScaleAtARoundValue(t *testing.T) {
	for most, want := range map[float64]float64{0: 1, 0.003: 0.005, 1: 1, 1.1: 2, 4.9: 5, 51: 100, 7e9: 1e10} {
		c := Chart{Lines: []Line{{Values: []float64{0, math.NaN(), most}}}}
		if got := c.Top(); math.Abs(got-want) > want/1e9 {
			t.Errorf("the scale of %v ends at %v, want %v", most, got, want)
		}
	}
	if got := (Chart{Least: 2, Lines: []Line{{Values: []float64{1}}}}).Top(); got != 2 {
		t.Errorf("the scale ends at %v, want the least", got)
	}
}

func TestChartDrawsWhatItHas(t *testing.T) {
	gap := math.NaN()
	for name, c := range map[string]struct {
		values     []float64
		line, area string
	}{
		"whole":   {[]float64{0, 1, 2}, "M0.0 80.0L150.0 40.0L300.0 0.0", "M0.0 80.0L150.0 40.0L300.0 0.0L300.0 80L0.0 80Z"},
		"young":   {[]float64{2, 2}, "M150.0 0.0L300.0 0.0", "M150.0 0.0L300.0 0.0L300.0 80L150.0 80Z"},
		"point":   {[]float64{1}, "M300.0 40.0h-1", "M300.0 40.0L300.0 80L300.0 80Z"},
		"gap":     {[]float64{1, gap, 1}, "M0.0 40.0h-1M300.0 40.0h-1", "M0.0 40.0L0.0 80L0.0 80ZM300.0 40.0L300.0 80L300.0 80Z"},
		"gaps":    {[]float64{gap, gap, gap}, "", ""},
		"nothing": {nil, "", ""},
	} {
		line, area := Line{Values: c.values}.paths(3, 2)
		if line != c.line || area != c.area {
			t.Errorf("%s: %s and %s, want %s and %s", name, line, area, c.line, c.area)
		}
	}
}

func TestChartInWords(t *testing.T) {
	c := Chart{Title: "Latency", From: "5 min ago", To: "now", Format: secondsText, Lines: []Line{
		{Name: "p50", Values: []float64{0.001, math.NaN(), 0.002}}, {Name: "p99", Values: []float64{0.005, 0.1, math.NaN()}}, {Name: "p100"},
	}}
	const want = "Latency: From 5 min ago to now: p50 last 2 ms, at most 2 ms; p99 last –, at most 100 ms; p100 no points yet.\n" +
		"  ▁ ▁ p50\n  ▁█  p99\n"
	if got := textChart(c); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0123: "0.012", 0.5: "0.5", 1: "1", 1.26: "1.3", 20: "20", 20.4: "20.4", 123.4: "123", 9999: "9999", 12345: "12.3k", 1234567: "1.2M", 3e9: "3G",
	} {
		if got := digits(v); got != want {
			t.Errorf("digits(%v) = %s, want %s", v, got, want)
		}
	}
	if !strings.Contains((Chart{}).Summary(), "From") {
		t.Error("a chart without lines has no summary")
	}
}

func TestSummaryOfALineWithoutValues(t *testing.T) {
	gap := math.NaN()
	for want, values := range map[string][]float64{
		"no points yet": nil, "no values yet": {gap, gap}, "last 2, at most 3": {gap, 3, 2},
	} {
		if got := (Chart{From: "then", To: "now", Lines: []Line{{Values: values}}}).Summary(); got != "From then to now: "+want+"." {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
