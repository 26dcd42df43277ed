package chart

import (
	"math"
	"slices"
	"strconv"
)

// Bars is a chart of bars that lie, in groups. Each bar ends at the median of a
// series; its whiskers reach from the lower to the upper quartile.
type Bars struct {
	Title       string
	Description string  // for those who do not see it
	Axis        string  // what is measured, with its unit
	Reference   float64 // has a line of its own, unless it is zero
	Groups      []Group
}

// Group is what is compared with each other.
type Group struct {
	Name string // may be empty
	Bars []Bar
}

// Bar is one series in a group.
type Bar struct {
	Series         string // gets the same colour in each group
	Median, Q1, Q3 float64
}

// SVG draws the chart. What is not a finite number is left out.
func (b Bars) SVG() []byte {
	d, left := &drawing{}, b.left()
	right := width - margin - textWidth("0.000 (0.000–0.000)")
	x := scaleOf(left, right, b.most(), 7)
	top := 3.4 * row
	bottom := b.each(top, func(float64, Bar) {})
	d.text(margin, 1.6*row, "title", "start", b.Title)
	b.grid(d, x, top, bottom)
	names := b.series()
	b.each(top, func(y float64, bar Bar) { bar.fill(d, x, y, colour(slices.Index(names, bar.Series))) })
	if b.Reference != 0 {
		d.line(x.at(b.Reference), top, x.at(b.Reference), bottom, "reference")
	}
	heading := func(y float64, name string) { d.text(margin, y+0.72*row, "group", "start", name) }
	b.each(top, func(y float64, bar Bar) { bar.tell(d, x, y) }, heading)
	d.text(left, bottom+1.9*row, "quiet", "start", b.Axis)
	return d.document(b.Title, b.Description, bottom+2.6*row)
}

// left is where the bars begin: behind the names of all series.
func (b Bars) left() float64 {
	most := 0.0
	for _, s := range b.series() {
		most = max(most, textWidth(s))
	}
	return 2*margin + most
}

// each calls for each bar, and for each group that has a name, with where it
// begins. It returns where the last one ends.
func (b Bars) each(y float64, bar func(y float64, bar Bar), heading ...func(y float64, name string)) float64 {
	for _, g := range b.Groups {
		if g.Name != "" {
			for _, head := range heading {
				head(y, g.Name)
			}
			y += row
		}
		for _, one := range g.Bars {
			bar(y, one)
			y += row
		}
		y += row / 2
	}
	return y
}

// most is what the scale has to reach.
func (b Bars) most() float64 {
	most := b.Reference
	for _, g := range b.Groups {
		for _, bar := range g.Bars {
			if bar.finite() {
				most = max(most, bar.Median, bar.Q3)
			}
		}
	}
	return most
}

// series are the names in the order of their first bars.
func (b Bars) series() (names []string) {
	for _, g := range b.Groups {
		for _, bar := range g.Bars {
			if !slices.Contains(names, bar.Series) {
				names = append(names, bar.Series)
			}
		}
	}
	return names
}

func (b Bars) grid(d *drawing, x scale, top, bottom float64) {
	values, labels := x.ticks()
	for i, v := range values {
		d.line(x.at(v), top, x.at(v), bottom, gridClass(i))
		d.text(x.at(v), top-0.4*row, "quiet", "middle", labels[i])
		d.text(x.at(v), bottom+0.9*row, "quiet", "middle", labels[i])
	}
}

func (b Bar) finite() bool {
	sum := b.Median + b.Q1 + b.Q3
	return !math.IsNaN(sum) && !math.IsInf(sum, 0)
}

func (b Bar) fill(d *drawing, x scale, y float64, class string) {
	if !b.finite() {
		return
	}
	d.add(`<rect x="%s" y="%s" width="%s" height="%s" class="bar %s"/>`, number(x.from), number(y+0.16*row), number(x.at(b.Median)-x.from), number(0.68*row), class)
}

// tell has the whiskers and what is written: above all lines.
func (b Bar) tell(d *drawing, x scale, y float64) {
	d.text(x.from-0.5*margin, y+0.72*row, "", "end", b.Series)
	if !b.finite() {
		return
	}
	low, high, middle, tip := x.at(b.Q1), x.at(b.Q3), y+row/2, 0.2*row
	if b.Q1 != b.Q3 {
		d.line(low, middle, high, middle, "whisker")
		d.line(low, middle-tip, low, middle+tip, "whisker")
		d.line(high, middle-tip, high, middle+tip, "whisker")
	}
	d.text(max(high, x.at(b.Median))+0.5*margin, y+0.72*row, "", "start", b.label())
}

// label has the figures, to three digits.
func (b Bar) label() string {
	if b.Q1 == b.Q3 {
		return threeDigits(b.Median)
	}
	return threeDigits(b.Median) + " (" + threeDigits(b.Q1) + "–" + threeDigits(b.Q3) + ")"
}

func threeDigits(v float64) string {
	digits := 0
	for abs := math.Abs(v); digits < 2 && abs != 0 && abs < 100; digits++ {
		abs *= 10
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
