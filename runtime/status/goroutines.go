package status

import (
	"bytes"
	"cmp"
	"runtime"
	"sort"
	"strconv"
	"strings"
)

// The bounds of a dump of goroutines: how much of it is looked at, and what of
// that a page shows.
const (
	minStacks      = 64 << 10
	maxStacks      = 16 << 20
	stackSize      = 1 << 10 // of most
	maxFrameName   = 300
	groupsDefault  = 100
	groupsMost     = 1_000
	maxGroupsBytes = 400 << 10 // of frames, in all groups that a page shows
)

type (
	// GoroutinesData is /internal/debug/goroutine.
	GoroutinesData struct {
		Goroutines int `json:"goroutines"`
		// Grouped are those that were looked at: fewer where there are so many
		// that their stacks are longer than 16 MiB.
		Grouped int `json:"grouped"`
		// Matched is how many groups the filter leaves, of which as many are
		// shown as there is room for.
		Matched int    `json:"matched"`
		Filter  string `json:"filter,omitempty"`
		// NoWaits says that the groups are of places alone: their states and how
		// long they have waited were not read.
		NoWaits bool             `json:"no_waits,omitempty"`
		Groups  []GoroutineGroup `json:"groups"` // those that have waited longest first, then the largest
	}
	// GoroutineGroup is the goroutines that are in the same place, in
	// [GoroutinesData].
	GoroutineGroup struct {
		Count int    `json:"count"`
		State string `json:"state,omitempty"` // such as "chan receive"; empty where it was not read
		// Longest is for how many minutes the one has waited that waits
		// longest; 0 is less than one, nil that it was not read.
		Longest *int    `json:"longest_wait_minutes,omitempty"`
		Example int     `json:"example,omitempty"` // the number of that one
		Frames  []Frame `json:"frames"`
		Created Frame   `json:"created_by,omitzero"`
	}
	// Frame is a call in [GoroutineGroup].
	Frame struct {
		Function string `json:"function"`
		File     string `json:"file"` // and line
	}
)

// dumpStacks returns the stacks of all goroutines, as far as they are not
// longer than the bound. The process stands still meanwhile.
func dumpStacks(most int) []byte {
	size := min(max(minStacks, runtime.NumGoroutine()*stackSize), most)
	for {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size || size >= most {
			return buf[:n]
		}
		size = min(4*size, most)
	}
}

// groupStacks groups goroutines by their state and where they are, from the text
// that [runtime.Stack] makes of them. What does not look like that is left out.
// The values of arguments are.
func groupStacks(dump []byte) (groups []GoroutineGroup, total int) {
	byPlace := map[string]*GoroutineGroup{}
	for text := range bytes.SplitSeq(dump, []byte("\n\n")) {
		head, stack, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		id, state, minutes, ok := parseHead(head)
		if !ok {
			continue
		}
		total++
		frames, created := parseFrames(stack)
		place := placeOf(state, frames, created)
		g := byPlace[place]
		if g == nil {
			g = &GoroutineGroup{State: state, Longest: &minutes, Example: id, Frames: frames, Created: created}
			byPlace[place] = g
		}
		g.Count++
		if minutes > *g.Longest {
			g.Longest, g.Example = &minutes, id
		}
	}
	for _, g := range byPlace {
		groups = append(groups, *g)
	}
	sort.Slice(groups, func(i, j int) bool {
		a, b := &groups[i], &groups[j]
		return cmp.Or(cmp.Compare(*b.Longest, *a.Longest), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Example, b.Example)) < 0
	})
	return groups, total
}

// parseHead reads "goroutine 7 [chan receive, 5 minutes, locked to thread]:".
func parseHead(line string) (id int, state string, minutes int, ok bool) {
	rest, ok := strings.CutPrefix(line, "goroutine ")
	if !ok {
		return 0, "", 0, false
	}
	number, rest, _ := strings.Cut(rest, " ")
	id, err := strconv.Atoi(number)
	_, rest, open := strings.Cut(rest, "[")
	if err != nil || !open {
		return 0, "", 0, false
	}
	rest, _, _ = strings.Cut(rest, " labels:{") // the program's, and anything
	rest, _, _ = strings.Cut(rest, "]")
	var states []string
	for part := range strings.SplitSeq(rest, ", ") {
		if n, isTime := strings.CutSuffix(part, " minutes"); isTime {
			if m, err := strconv.Atoi(n); err == nil && m >= 0 {
				minutes = m
				continue
			}
		}
		states = append(states, part)
	}
	return id, cutName(strings.Join(states, ", ")), minutes, true
}

// parseFrames reads pairs of lines: a call, and with a tab where it is.
func parseFrames(stack string) (frames []Frame, created Frame) {
	lines := strings.Split(stack, "\n")
	for i := 0; i < len(lines); i++ {
		if lines[i] == "" || strings.HasPrefix(lines[i], "\t") {
			continue
		}
		f := Frame{Function: lines[i]}
		if i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\t") {
			f.File, _, _ = strings.Cut(strings.TrimSpace(lines[i+1]), " +0x")
			f.File = cutName(f.File)
			i++
		}
		if by, ok := strings.CutPrefix(f.Function, "created by "); ok {
			by, _, _ = strings.Cut(by, " in goroutine ")
			created = Frame{cutName(by), f.File}
			continue
		}
		f.Function = cutName(withoutArguments(f.Function))
		frames = append(frames, f)
	}
	return frames, created
}

// withoutArguments is "pkg.(*T).f" of "pkg.(*T).f(0x1, {0x2, 0x3})".
func withoutArguments(call string) string {
	if !strings.HasSuffix(call, ")") {
		return call
	}
	depth := 0
	for i := len(call) - 1; i > 0; i-- {
		switch call[i] {
		case ')':
			depth++
		case '(':
			if depth--; depth == 0 {
				return call[:i]
			}
		}
	}
	return call
}

func cutName(name string) string {
	if len(name) > maxFrameName {
		return strings.ToValidUTF8(name[:maxFrameName], "") + "…"
	}
	return name
}

// placeOf is the same for goroutines that are in the same place.
func placeOf(state string, frames []Frame, created Frame) string {
	var b strings.Builder
	write := func(parts ...string) {
		for _, s := range parts {
			b.WriteString(s)
		}
	}
	write(state)
	for _, f := range frames {
		write("\n", f.Function, "\t", f.File)
	}
	write("\n\n", created.Function, "\t", created.File)
	return b.String()
}

// contains says whether a group has a text in it.
func (g *GoroutineGroup) contains(text string) bool {
	return strings.Contains(strings.ToLower(placeOf(g.State, g.Frames, g.Created)), text)
}

// size is about how much of a page a group takes.
func (g *GoroutineGroup) size() int {
	const beside = 80
	n := beside
	for _, f := range g.Frames {
		n += len(f.Function) + len(f.File) + beside
	}
	return n
}
