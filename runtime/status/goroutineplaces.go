package status

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sort"
	"time"
)

const (
	// fewGoroutines is up to how many of them it is read, unasked, what each
	// waits for and how long.
	fewGoroutines = 5_000
	// dumpEach is about how long the process stands still for each goroutine
	// whose stack is dumped.
	dumpEach = 10 * time.Microsecond
)

// readPlaces returns where all goroutines are. They go on meanwhile, but for an
// instant.
func readPlaces() []runtime.StackRecord {
	for {
		n := runtime.NumGoroutine()
		places := make([]runtime.StackRecord, n+n/16+64)
		if n, ok := runtime.GoroutineProfile(places); ok {
			return places[:n]
		}
	}
}

// groupPlaces groups goroutines by where they are, the largest groups first.
func groupPlaces(places []runtime.StackRecord) (groups []GoroutineGroup, total int) {
	counts := map[[32]uintptr]int{}
	for i := range places {
		counts[places[i].Stack0]++
	}
	for stack, n := range counts {
		record := runtime.StackRecord{Stack0: stack}
		groups = append(groups, GoroutineGroup{Count: n, Frames: framesOf(record.Stack())})
	}
	sort.Slice(groups, func(i, j int) bool {
		a, b := &groups[i], &groups[j]
		return cmp.Or(cmp.Compare(b.Count, a.Count), slices.CompareFunc(a.Frames, b.Frames, Frame.compare)) < 0
	})
	return groups, len(places)
}

func (f Frame) compare(other Frame) int {
	return cmp.Or(cmp.Compare(f.Function, other.Function), cmp.Compare(f.File, other.File))
}

// framesOf names the calls of a stack, but for that with which all begin.
func framesOf(stack []uintptr) (all []Frame) {
	frames := runtime.CallersFrames(stack)
	for more := len(stack) > 0; more; {
		var f runtime.Frame
		if f, more = frames.Next(); f.Function == "runtime.goexit" {
			break
		}
		all = append(all, Frame{cutName(f.Function), cutName(fmt.Sprintf("%s:%d", f.File, f.Line))})
	}
	return all
}
