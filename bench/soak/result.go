package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/bench/chart"
)

// counts says how often what was.
type counts map[string]int

// mostCounts keeps what is wrong with everything from filling the memory.
const mostCounts = 100

func (c counts) add(what string) {
	if _, known := c[what]; !known && len(c) >= mostCounts {
		what = "others"
	}
	c[what]++
}

func (c counts) sum() (n int) {
	for _, count := range c {
		n += count
	}
	return n
}

// result is all that a soak has found.
type result struct {
	Began      time.Time
	Time       time.Duration
	Rate       int       // of calls a second that were due
	Calls      counts    // that ended as they should, by kind
	Operations counts    // likewise, by what was done
	Failures   counts    // of both, by kind and reason
	Restarts   []float64 // seconds
	Trends     []trend
	Wrong      []string // what is, or nothing
	Logs       string   // where logs are, where something is wrong
	Samples    []sample

	slow int // of what is wrong, how much the machine may be the reason for
}

// tryAgain is in the error where a busy machine may be the reason for all of it.
const tryAgain = "A busy machine may be the reason: try again."

// err tells what is wrong.
func (r *result) err() error {
	if len(r.Wrong) == 0 {
		return nil
	}
	text := strings.Join(r.Wrong, "\n  ")
	if r.Logs != "" {
		text += "\nthe logs are in " + r.Logs
	}
	if r.slow == len(r.Wrong) {
		text += "\n" + tryAgain
	}
	return fmt.Errorf("it is not as it should be:\n  %s", text)
}

// verdict is a sentence.
func (r *result) verdict() string {
	if len(r.Wrong) == 0 {
		return "Nothing grew, and nothing failed that must not."
	}
	return fmt.Sprintf("%d things are not as they should be: %s", len(r.Wrong), strings.Join(r.Wrong, "; "))
}

// text is the result for people.
func (r *result) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d calls and %d restarts. %s\n", short(r.Time), r.Calls.sum(), len(r.Restarts), r.verdict())
	if n := len(r.Samples); n > 0 && r.Samples[n-1].Late > 0 {
		fmt.Fprintf(&b, "%d calls more were due when all callers were busy, and left out.\n", r.Samples[n-1].Late)
	}
	b.WriteString("\n| process | what | at first | at last | at most |\n|---|---|---|---|---|\n")
	for _, t := range r.Trends {
		fmt.Fprintf(&b, "| %s | %s | %.4g | %.4g | %.4g |\n", t.Process, t.Quantity, t.First, t.Last, t.AtMost)
	}
	for _, counts := range []counts{r.Calls, r.Operations} {
		b.WriteString("\n| what | times |\n|---|---|\n")
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(&b, "| %s | %d |\n", name, counts[name])
		}
	}
	return b.String()
}

// save writes the figures as JSON, and as a chart.
func (r *result) save(name string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".json", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.WriteFile(name+".svg", r.chart().SVG(), 0o600)
}

// chart has a panel for each quantity, and one for calls.
func (r *result) chart() chart.Lines {
	l := chart.Lines{
		Title:       short(r.Time) + " of calls, restarts and operations",
		Description: fmt.Sprintf("Memory, goroutines, file descriptors and calls of a server and a client that lived through %d restarts of other servers. %s", len(r.Restarts), r.verdict()),
		Axis:        "minutes",
		MarkName:    "another server is restarted",
	}
	for _, seconds := range r.Restarts {
		l.Marks = append(l.Marks, seconds/60)
	}
	for _, q := range quantities {
		panel := chart.Panel{Name: q.name}
		for _, p := range processes {
			line := chart.Line{Series: p.name}
			for _, s := range r.Samples {
				line.Points = append(line.Points, chart.Point{X: s.Seconds / 60, Y: q.of(p.of(s))})
			}
			panel.Lines = append(panel.Lines, line)
		}
		l.Panels = append(l.Panels, panel)
	}
	l.Panels = append(l.Panels, chart.Panel{Name: "calls per second", Lines: []chart.Line{
		{Series: "client", Points: r.perSecond(func(s sample) int { return s.Calls })},
		{Series: "failures", Points: r.perSecond(func(s sample) int { return s.Failures })},
	}})
	return l
}

// perSecond is how much more there was from sample to sample.
func (r *result) perSecond(of func(sample) int) (points []chart.Point) {
	for i := 1; i < len(r.Samples); i++ {
		before, now := r.Samples[i-1], r.Samples[i]
		points = append(points, chart.Point{X: now.Seconds / 60, Y: float64(of(now)-of(before)) / (now.Seconds - before.Seconds)})
	}
	return points
}

// short is a time without its zeros.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []struct{ end, cut string }{{"m0s", "0s"}, {"h0m", "0m"}} {
		if strings.HasSuffix(text, zero.end) {
			text = strings.TrimSuffix(text, zero.cut)
		}
	}
	return text
}
