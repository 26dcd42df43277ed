package status

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// How pages say numbers, amounts and times.

// none stands in cells of a table for what is not known.
const none = "–"

// percent is a share. What is not nothing is not shown as nothing.
func percent(part, whole uint64) string {
	if part == 0 || whole == 0 {
		return "0 %"
	}
	return digits(100*float64(part)/float64(whole)) + " %"
}

// lasting is a duration for people: its two greatest units, or one.
func lasting(d time.Duration) string {
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.of {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.of, u.name)
		if i+1 < len(units) {
			if rest := d % u.of / units[i+1].of; rest > 0 {
				text += fmt.Sprintf(" %d %s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0 s"
}

// short is a short duration of two or three digits, such as "1.2 ms".
func short(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
		if d < u.of {
			continue
		}
		if d >= time.Minute {
			return lasting(d)
		}
		return digits(float64(d)/float64(u.of)) + " " + u.name
	}
	return fmt.Sprintf("%d ns", d)
}

// orNone is a short duration, or that there is none.
func (s Seconds) orNone() string {
	if s == 0 {
		return none
	}
	return short(time.Duration(s))
}

// since is how long ago something was.
func since(t, now time.Time) string {
	if passed := now.Sub(t); passed >= time.Second {
		return lasting(passed) + " ago"
	}
	return "just now"
}

// ago is a time that has passed, and how long ago that was.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return since(t, now) + " (" + t.UTC().Format(time.RFC3339) + ")"
}

// until is a time to come, and how far off it is.
func until(t, now time.Time) string {
	return "in " + lasting(t.Sub(now)) + " (" + t.UTC().Format(time.RFC3339) + ")"
}

// clock is a time of late, in UTC as in the log, and how long ago it was.
func clock(t, now time.Time) string {
	layout := "15:04:05"
	if now.Sub(t) > 20*time.Hour {
		layout = "Jan 2 15:04:05"
	}
	return t.UTC().Format(layout) + ", " + since(t, now)
}

// memory is an amount of memory, such as "12.3 MiB".
func memory(n uint64) string {
	v := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if v < 1024 {
			return digits(v) + " " + unit
		}
		v /= 1024
	}
	return digits(v) + " TiB"
}

// digits is a number of about three digits.
func digits(v float64) string {
	switch {
	case v >= 1e9:
		return digits(v/1e9) + "G"
	case v >= 1e6:
		return digits(v/1e6) + "M"
	case v >= 1e4:
		return digits(v/1e3) + "k"
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// thousands is a whole number for people, such as 12,345.
func thousands[T int | int64 | uint64](n T) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count is a number of things, whose name is a plural.
func count[T int | int64 | uint64](n T, noun string) string {
	if n == 1 {
		if one, ok := strings.CutSuffix(noun, "ies"); ok {
			return "1 " + one + "y"
		}
		noun = strings.TrimSuffix(noun, "s")
	}
	return thousands(n) + " " + noun
}
