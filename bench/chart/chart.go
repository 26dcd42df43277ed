// Package chart draws what was measured as SVG: [Bars] with whiskers, and [Lines]
// over time. What it writes stands by itself: it has a title and a description for
// those who do not see it, needs no script and no font, and is light or dark as its
// reader has it. The same figures give the same bytes.
//
// A library would not be less code. gonum.org/v1/plot brings eight modules; it
// writes each colour into each element, which leaves dark pages with white charts,
// and neither titles nor descriptions; and whiskers beside bars that lie, names
// under headings and panels with marks would still be laid out by hand.
package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The sizes, in pixels where nothing scales the chart.
const (
	width    = 860.0
	margin   = 16.0
	fontSize = 13.0
	letter   = 0.56 * fontSize // the width of one, on average: rather more than less
	row      = 21.0            // of a bar
)

// colours is how many there are. Series take them in turn.
const colours = 8

// style has the colours of series as classes c0 to c7. They differ in lightness as
// well as in hue, so that those tell them apart who see few hues.
const style = `
svg { background: #fff; font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif }
text { fill: #1f2328; stroke: #fff; stroke-width: 3px; paint-order: stroke }
.title { font-size: 16px; font-weight: 600 }
.group { font-weight: 600 }
.quiet { fill: #59636e }
.grid { stroke: #d8dee4 }
.axis { stroke: #59636e }
.reference { stroke: #1f2328; stroke-dasharray: 5 3 }
.mark { stroke: #8c959f; stroke-dasharray: 2 3 }
.whisker { stroke: #1f2328; stroke-width: 1.5 }
.line { fill: none; stroke-width: 1.75; stroke-linejoin: round }
.c0 { fill: #0969da; stroke: #0969da } .c1 { fill: #8c959f; stroke: #8c959f } .c2 { fill: #bf8700; stroke: #bf8700 } .c3 { fill: #1a7f37; stroke: #1a7f37 }
.c4 { fill: #bf3989; stroke: #bf3989 } .c5 { fill: #8250df; stroke: #8250df } .c6 { fill: #bc4c00; stroke: #bc4c00 } .c7 { fill: #1b7c83; stroke: #1b7c83 }
.bar { stroke: none } .line { fill: none }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 }
text { fill: #f0f6fc; stroke: #0d1117 }
.quiet { fill: #9198a1 }
.grid { stroke: #2f353d }
.axis { stroke: #9198a1 }
.reference, .whisker { stroke: #f0f6fc }
.mark { stroke: #656c76 }
.c0 { fill: #4493f8; stroke: #4493f8 } .c1 { fill: #9198a1; stroke: #9198a1 } .c2 { fill: #d29922; stroke: #d29922 } .c3 { fill: #3fb950; stroke: #3fb950 }
.c4 { fill: #db61a2; stroke: #db61a2 } .c5 { fill: #ab7df8; stroke: #ab7df8 } .c6 { fill: #db6d28; stroke: #db6d28 } .c7 { fill: #39c5cf; stroke: #39c5cf }
.bar { stroke: none } .line { fill: none }
}
`

// drawing is an SVG on its way.
type drawing struct{ body bytes.Buffer }

// document puts the frame around what was drawn.
func (d *drawing) document(title, description string, height float64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc" width="%s" height="%s" viewBox="0 0 %[1]s %[2]s">`+"\n", number(width), number(height))
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n<style>%s</style>\n", escape(title), escape(description), style)
	b.Write(d.body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(&d.body, format+"\n", args...) }

// text writes beside a point: the anchor is start, middle or end.
func (d *drawing) text(x, y float64, class, anchor, text string) {
	d.add(`<text x="%s" y="%s" class="%s" text-anchor="%s">%s</text>`, number(x), number(y), class, anchor, escape(text))
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	d.add(`<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`, number(x1), number(y1), number(x2), number(y2), class)
}

// number has a digit behind the point, as far as it needs one: a tenth of a pixel.
func number(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a builder takes everything
	return b.String()
}

// colour is the class of a series.
func colour(i int) string { return fmt.Sprintf("c%d", i%colours) }

func textWidth(s string) float64 { return float64(utf8.RuneCountInString(s)) * letter }

// scale leads values from zero on to pixels.
type scale struct{ from, to, most, step float64 }

// scaleOf has a round step, and reaches most.
func scaleOf(from, to, most float64, steps int) scale {
	if !(most > 0) || math.IsInf(most, 0) {
		most = 1
	}
	step := roundStep(most / float64(steps))
	return scale{from, to, math.Ceil(most/step-1e-9) * step, step}
}

// roundStep is the least of 1, 2 and 5 times a power of ten that is not less.
func roundStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, times := range []float64{1, 2, 5} {
		if times*power >= least*(1-1e-9) {
			return times * power
		}
	}
	return 10 * power
}

// at keeps to the scale.
func (s scale) at(v float64) float64 {
	return s.from + (s.to-s.from)*min(1, max(0, v/s.most))
}

// ticks are the values that get a line, and how they are written.
func (s scale) ticks() (values []float64, labels []string) {
	digits := max(0, -int(math.Floor(math.Log10(s.step)+1e-9)))
	for i := 0; float64(i)*s.step <= s.most*(1+1e-9); i++ {
		v := float64(i) * s.step
		values = append(values, v)
		labels = append(labels, strconv.FormatFloat(v, 'f', digits, 64))
	}
	return values, labels
}

// gridClass is that of the line of a tick. The first one is the axis.
func gridClass(i int) string {
	if i == 0 {
		return "axis"
	}
	return "grid"
}
