package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// spread is a median and how far the values lie from it.
type spread struct {
	Median, Q1, Q3, Min, Max float64
	N                        int
}

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	return spread{between(v, 0.5), between(v, 0.25), between(v, 0.75), between(v, 0), between(v, 1), len(v)}
}

// between returns a quantile of sorted values, and zero of none. Where it lies
// between two values it is in proportion: the median of an even number is the mean
// of the two in the middle. The lower of them would be to the benefit of whoever
// wants little.
func between(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// quantile returns the nearest rank of sorted values, and zero of none. It is for
// the many durations of calls.
func quantile[T cmp.Ordered](sorted []T, q float64) (v T) {
	if len(sorted) == 0 {
		return v
	}
	return sorted[min(len(sorted)-1, max(0, int(math.Ceil(q*float64(len(sorted))))-1))]
}

// ratios divides values that were taken side by side.
func ratios(of, by []float64) spread {
	var r []float64
	for i := range min(len(of), len(by)) {
		if by[i] != 0 {
			r = append(r, of[i]/by[i])
		}
	}
	return spreadOf(r)
}

// differences subtracts values that were taken side by side.
func differences(of, by []float64) spread {
	var d []float64
	for i := range min(len(of), len(by)) {
		d = append(d, of[i]-by[i])
	}
	return spreadOf(d)
}

// String has the median and the quartiles, to three digits.
func (s spread) String() string {
	if s.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s..%s)", digits(s.Median), digits(s.Q1), digits(s.Q3))
}

func digits(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
