package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func bars() Bars {
	return Bars{
		Title:       "Server CPU per call, against bare grpc-go",
		Description: "easyops needs 0.72 times as much as bare grpc-go.",
		Axis:        "times bare grpc-go; less is better",
		Reference:   1,
		Groups: []Group{
			{"unary 100 B, concurrency 16, plaintext", []Bar{{"easyops", 0.72, 0.69, 0.76}, {"bare again", 1, 0.96, 1.04}, {"middleware & <all>", 1.8, 1.7, 1.97}}},
			{"unary 100 B, concurrency 128, TLS", []Bar{{"easyops", 0.78, 0.71, 0.82}, {"middleware & <all>", 1.61, 1.61, 1.61}, {"not measured", math.NaN(), 0, 0}}},
		},
	}
}

func lines() Lines {
	wave := func(name string, base, size float64) Line {
		l := Line{Series: name}
		for i := range 61 {
			l.Points = append(l.Points, Point{float64(i) * 5, base + size*math.Sin(float64(i)/4)})
		}
		return l
	}
	return Lines{
		Title:       "Soak",
		Description: "All is flat.",
		Axis:        "seconds",
		Panels: []Panel{
			{"RSS, MiB", []Line{wave("server", 42, 3), wave("client", 30, 1)}},
			{"goroutines", []Line{wave("server", 120, 10), {"client", []Point{{0, 80}, {150, math.Inf(1)}, {300, 85}}}}},
			{"nothing", nil},
		},
		Marks:    []float64{60, 120, 180, 240},
		MarkName: "restart",
	}
}

func TestGolden(t *testing.T) {
	for name, svg := range map[string][]byte{"bars.svg": bars().SVG(), "lines.svg": lines().SVG(), "empty.svg": Bars{}.SVG()} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, svg, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(svg, want) {
			t.Errorf("%s is not what it was: look at it, then go test ./chart -update", file)
		}
	}
	if !bytes.Equal(bars().SVG(), bars().SVG()) || !bytes.Equal(lines().SVG(), lines().SVG()) {
		t.Error("the same figures give other bytes")
	}
}

// What is written is well-formed, has its title and description, and nothing that
// runs or is fetched. What is no number is not drawn.
func TestSound(t *testing.T) {
	for name, svg := range map[string][]byte{"bars": bars().SVG(), "lines": lines().SVG(), "no lines": Lines{}.SVG()} {
		found := map[string]string{}
		element := ""
		for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			switch v := token.(type) {
			case xml.StartElement:
				element = v.Name.Local
				for _, a := range v.Attr {
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || a.Name.Local == "href" {
						t.Errorf("%s: <%s %s=%q>", name, element, a.Name.Local, a.Value)
					}
				}
			case xml.CharData:
				found[element] += string(v)
			}
		}
		if name == "bars" && (!strings.Contains(found["title"], bars().Title) || !strings.Contains(found["desc"], bars().Description) || !strings.Contains(found["text"], "middleware & <all>")) {
			t.Errorf("%s: title %q, description %q", name, found["title"], found["desc"])
		}
		if _, runs := found["script"]; runs || !strings.Contains(found["style"], "prefers-color-scheme: dark") {
			t.Errorf("%s: it has a script, or no dark colours", name)
		}
	}
}

// A series has its colour in each group, whatever else is there.
func TestColours(t *testing.T) {
	b := Bars{Groups: []Group{{"1", []Bar{{"a", 1, 1, 1}, {"b", 1, 1, 1}}}, {"2", []Bar{{"b", 1, 1, 1}}}}}
	svg := string(b.SVG())
	if n := strings.Count(svg, `class="bar c1"`); n != 2 {
		t.Errorf("the second series has %d bars of its colour, want 2", n)
	}
}

// Many marks leave the lines to be seen.
func TestManyMarks(t *testing.T) {
	l := lines()
	for i := range manyMarks {
		l.Marks = append(l.Marks, float64(i))
	}
	if few, many := string(lines().SVG()), string(l.SVG()); !strings.Contains(few, `y2="216.6" class="mark"`) || strings.Contains(many, `y2="216.6" class="mark"`) {
		t.Error("marks are as long where there are many")
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct {
		most   float64
		labels string
	}{
		{0.97, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{1, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{2.1, "0.0 0.5 1.0 1.5 2.0 2.5"},
		{480, "0 100 200 300 400 500"},
		{0, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{math.NaN(), "0.0 0.2 0.4 0.6 0.8 1.0"},
	} {
		s := scaleOf(0, 100, c.most, 5)
		if _, labels := s.ticks(); strings.Join(labels, " ") != c.labels {
			t.Errorf("to %v: %q, want %q", c.most, labels, c.labels)
		}
		if s.at(0) != 0 || s.at(s.most) != 100 || s.at(2*s.most) != 100 || s.at(-1) != 0 {
			t.Errorf("to %v: it leads %v to %v", c.most, s.most, s.at(s.most))
		}
	}
}

func TestThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0.7234: "0.72", 1: "1.00", 12.34: "12.3", 123.4: "123", 0: "0"} {
		if got := threeDigits(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
