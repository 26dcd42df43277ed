package caches

import (
	"cmp"
	"strconv"
	"strings"
)

const maxName = 64

// allowedName is a name made fit for pages and metrics.
func allowedName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, name[:min(len(name), 4*maxName)])
	if name == "." || name == ".." { // no path of a page can end in them
		name = "dots"
	}
	return cmp.Or(name[:min(len(name), maxName)], "cache")
}

// freeName is a name that is not taken.
func freeName(name string, taken func(string) bool) string {
	free := name
	for n := 2; taken(free); n++ {
		suffix := "-" + strconv.Itoa(n)
		free = name[:min(len(name), maxName-len(suffix))] + suffix
	}
	return free
}
