package chart

import (
	"math"
	"slices"
	"strings"
)

// Lines is a chart of what happened over time, in panels one below the other.
type Lines struct {
	Title       string
	Description string // for those who do not see it
	Axis        string // of time, with its unit
	Panels      []Panel
	Marks       []float64 // of time: a line in all panels each
	MarkName    string    // says what happened there
}

// Panel is a quantity, of each series.
type Panel struct {
	Name  string // with its unit
	Lines []Line
}

// Line is a series.
type Line struct {
	Series string // gets the same colour in each panel
	Points []Point
}

// Point is a value at a time, neither of them below zero.
type Point struct{ X, Y float64 }

// The sizes of panels.
const (
	panelHeight = 120.0
	panelGap    = 2.2 * row
)

// SVG draws the chart. Points with what is not a finite number are left out.
func (l Lines) SVG() []byte {
	d := &drawing{}
	d.text(margin, 1.6*row, "title", "start", l.Title)
	l.legend(d, 2.7*row)
	x := scaleOf(margin+textWidth("00000"), width-2*margin, l.latest(), 8)
	x.most = max(x.step, l.latest()) // no empty room at the right
	y := 3.6 * row
	for i, p := range l.Panels {
		y += row
		l.marks(d, x, y)
		l.panel(d, p, x, y, i == len(l.Panels)-1)
		y += panelHeight + panelGap - row
	}
	d.text(x.from, y+0.6*row, "quiet", "start", l.Axis)
	return d.document(l.Title, l.Description, y+1.4*row)
}

// legend names the series, and what is marked.
func (l Lines) legend(d *drawing, y float64) {
	x := margin
	name := func(class, text string) {
		d.line(x, y-0.3*fontSize, x+20, y-0.3*fontSize, class)
		d.text(x+26, y, "", "start", text)
		x += 26 + textWidth(text) + 1.5*margin
	}
	for i, s := range l.series() {
		name("line "+lineColour(i), s)
	}
	if len(l.Marks) > 0 && l.MarkName != "" {
		name("mark", l.MarkName)
	}
}

func (l Lines) series() (names []string) {
	for _, p := range l.Panels {
		for _, line := range p.Lines {
			if !slices.Contains(names, line.Series) {
				names = append(names, line.Series)
			}
		}
	}
	return names
}

func (l Lines) latest() float64 {
	most := 0.0
	for _, p := range l.Panels {
		for _, line := range p.Lines {
			for _, point := range line.Points {
				if point.finite() {
					most = max(most, point.X)
				}
			}
		}
	}
	return most
}

// manyMarks are drawn short: they would be a wall.
const manyMarks = 40

func (l Lines) marks(d *drawing, x scale, y float64) {
	height := panelHeight
	if len(l.Marks) >= manyMarks {
		height /= 12
	}
	for _, m := range l.Marks {
		d.line(x.at(m), y, x.at(m), y+height, "mark")
	}
}

func (l Lines) panel(d *drawing, p Panel, x scale, top float64, last bool) {
	bottom := top + panelHeight
	y := scaleOf(bottom, top, p.most(), 4)
	d.text(margin, top-0.4*row, "group", "start", p.Name)
	values, labels := y.ticks()
	for i, v := range values {
		d.line(x.from, y.at(v), x.to, y.at(v), gridClass(i))
		d.text(x.from-6, y.at(v)+0.35*fontSize, "quiet", "end", labels[i])
	}
	values, labels = x.ticks()
	for i, v := range values {
		d.line(x.at(v), bottom, x.at(v), bottom+4, "axis")
		if last {
			d.text(x.at(v), bottom+0.9*row, "quiet", "middle", labels[i])
		}
	}
	names := l.series()
	for _, line := range p.Lines {
		line.draw(d, x, y, lineColour(slices.Index(names, line.Series)))
	}
}

func (p Panel) most() float64 {
	most := 0.0
	for _, line := range p.Lines {
		for _, point := range line.Points {
			if point.finite() {
				most = max(most, point.Y)
			}
		}
	}
	return most
}

func (l Line) draw(d *drawing, x, y scale, class string) {
	var points []string
	for _, p := range l.Points {
		if p.finite() {
			points = append(points, number(x.at(p.X))+","+number(y.at(p.Y)))
		}
	}
	if len(points) > 0 {
		d.add(`<polyline points="%s" class="line %s"/>`, strings.Join(points, " "), class)
	}
}

func (p Point) finite() bool {
	sum := p.X + p.Y
	return !math.IsNaN(sum) && !math.IsInf(sum, 0)
}

// lineColour leaves out the colour of what others are compared with, which looks
// like the grid.
func lineColour(i int) string {
	if i %= colours - 1; i == 0 {
		return colour(0)
	}
	return colour(i + 1)
}
