package status

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

type (
	// Chart is lines over time, drawn by the server. It has few lines, so that
	// they can be told apart.
	Chart struct {
		// Title says what is shown, with its unit.
		Title string
		// From and To are the ends of the time, such as "5 min ago" and "now".
		From, To string
		// Span is how many points the whole width has. Shorter lines end at
		// its end.
		Span int
		// Least is the least value of the upper edge, so that what is next to
		// nothing looks like it.
		Least float64
		Lines []Line
		// Format makes a value readable. Nil rounds to three digits.
		Format func(float64) string
	}
	// Line is a line of a [Chart].
	Line struct {
		Name string
		// Tone is Bad for what should not be; others differ by their order.
		Tone Tone
		// Values are points at equal distances, none below 0; NaN is a gap.
		Values []float64
	}
)

func (Chart) block() {}

// The units in which charts are drawn; the style sheet stretches them.
const (
	chartWidth  = 300.0
	chartHeight = 80.0
)

// text is a value for people.
func (c Chart) text(v float64) string {
	if math.IsNaN(v) {
		return none
	}
	if c.Format != nil {
		return c.Format(v)
	}
	return digits(v)
}

// Top is the value at the upper edge: 1, 2 or 5 of a power of ten.
func (c Chart) Top() float64 {
	most := c.Least
	for _, l := range c.Lines {
		most = max(most, l.most())
	}
	if most <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most)))
	for _, n := range []float64{1, 2, 5} {
		if most <= n*power {
			return n * power
		}
	}
	return 10 * power
}

// Upper and Middle are the values of the lines of the grid.
func (c Chart) Upper() string { return c.text(c.Top()) }

// Middle is at half the height.
func (c Chart) Middle() string { return c.text(c.Top() / 2) }

func (l Line) most() float64 {
	most := 0.0
	for _, v := range l.Values {
		if v > most { // which NaN never is
			most = v
		}
	}
	return most
}

// last is the last value, NaN where there is a gap or nothing.
func (l Line) last() float64 {
	if len(l.Values) == 0 {
		return math.NaN()
	}
	return l.Values[len(l.Values)-1]
}

// curve is a line as the template draws it.
type curve struct {
	Class      string
	Path, Area string // of SVG
	Name, Now  string
}

// Curves are the lines, the last first, so that the first is drawn above them.
func (c Chart) Curves() []curve {
	top := c.Top()
	curves := make([]curve, 0, len(c.Lines))
	for i, l := range c.Lines {
		k := curve{Class: fmt.Sprintf("line%d", i+1), Name: l.Name, Now: c.text(l.last())}
		if l.Tone == Bad {
			k.Class = "linebad"
		}
		k.Path, k.Area = l.paths(c.Span, top)
		curves = append(curves, k)
	}
	return curves
}

// paths are the line and what is below it. A point by itself is a short line.
func (l Line) paths(span int, top float64) (line, area string) {
	step := chartWidth / float64(max(1, span-1))
	first := chartWidth - step*float64(len(l.Values)-1)
	var lines, areas strings.Builder
	for begin := 0; begin < len(l.Values); begin++ {
		end := begin
		for end < len(l.Values) && !math.IsNaN(l.Values[end]) {
			command := byte('L')
			if end == begin {
				command = 'M'
			}
			text := fmt.Sprintf("%c%.1f %.1f", command, first+step*float64(end), chartHeight*(1-l.Values[end]/top))
			lines.WriteString(text)
			areas.WriteString(text)
			end++
		}
		if end == begin {
			continue
		}
		last := first + step*float64(end-1)
		if end == begin+1 {
			lines.WriteString("h-1")
		}
		fmt.Fprintf(&areas, "L%.1f %.0fL%.1f %.0fZ", last, chartHeight, first+step*float64(begin), chartHeight)
		begin = end
	}
	return lines.String(), areas.String()
}

// isEmpty says whether a line has points, and no value at any.
func (l Line) isEmpty() bool {
	return len(l.Values) > 0 && !slices.ContainsFunc(l.Values, func(v float64) bool { return !math.IsNaN(v) })
}

// Summary is the chart in words.
func (c Chart) Summary() string {
	var parts []string
	for _, l := range c.Lines {
		text := "no points yet"
		if l.isEmpty() {
			text = "no values yet"
		} else if len(l.Values) > 0 {
			text = fmt.Sprintf("last %s, at most %s", c.text(l.last()), c.text(l.most()))
		}
		if l.Name != "" {
			text = l.Name + " " + text
		}
		parts = append(parts, text)
	}
	return fmt.Sprintf("From %s to %s: %s.", c.From, c.To, strings.Join(parts, "; "))
}

// blocksOf are the eighths of a character's height.
var blocksOf = []rune("▁▂▃▄▅▆▇█")

// sparkline is the line in a line of text.
func (l Line) sparkline(top float64) string {
	var b strings.Builder
	for _, v := range l.Values {
		if math.IsNaN(v) {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(blocksOf[min(len(blocksOf)-1, int(v/top*float64(len(blocksOf))))])
	}
	return b.String()
}

// textChart is the chart for a terminal.
func textChart(c Chart) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", c.Title, c.Summary())
	for _, l := range c.Lines {
		if len(l.Values) > 0 {
			b.WriteString(strings.TrimRight("  "+l.sparkline(c.Top())+" "+l.Name, " ") + "\n")
		}
	}
	return b.String()
}
