package edgeattack

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
)

// reserved are the paths of the status pages, beside all below /internal.
var reserved = []string{"metrics", "livez", "readyz"}

// readings are the ways in which some backend may read the target of a request:
// servers decode once or more, fold case, take backslashes for slashes, drop
// parameters and what comes behind a NUL, and resolve dots before or after that.
func readings(target string) map[string]bool {
	all := map[string]bool{}
	var read func(s string, depth int)
	read = func(s string, depth int) {
		if all[s] || depth > 6 {
			return
		}
		all[s] = true
		for _, next := range []func(string) string{
			strings.ToLower, decode, withoutParameters, withoutScheme, path.Clean,
			func(s string) string { return strings.ReplaceAll(s, `\`, "/") },
			func(s string) string { s, _, _ = strings.Cut(s, "\x00"); return s },
			func(s string) string { s, _, _ = strings.Cut(s, "?"); return s },
			func(s string) string { s, _, _ = strings.Cut(s, "#"); return s },
			func(s string) string { return "/" + strings.TrimLeft(s, "/ \t\r\n") },
		} {
			read(next(s), depth+1)
		}
	}
	path, _, _ := strings.Cut(target, "?")
	read(path, 0)
	return all
}

// decode decodes each percent sign that is followed by two digits.
func decode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i] == '%' {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// withoutParameters drops ";x" from each segment, as servlets do.
func withoutParameters(s string) string {
	segments := strings.Split(s, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return strings.Join(segments, "/")
}

// withoutScheme is the path of an absolute form.
func withoutScheme(s string) string {
	if scheme, rest, ok := strings.Cut(s, "://"); ok && !strings.Contains(scheme, "/") {
		_, path, _ := strings.Cut(rest, "/")
		return "/" + path
	}
	return s
}

// isReserved returns a reading of the target that belongs to the status pages, or
// "".
func isReserved(target string) string {
	for reading := range readings(target) {
		path := strings.TrimRight(strings.Trim(reading, "/ \t\r\n"), " \t\r\n./")
		first, _, _ := strings.Cut(path, "/")
		if strings.TrimRight(first, " \t\r\n.") == "internal" || slices.Contains(reserved, path) {
			return reading
		}
	}
	return ""
}

// The readings find each spelling, and nothing where there is none.
func TestReadings(t *testing.T) {
	for _, spelling := range spellings() {
		if !spelling.harmless && isReserved(spelling.target) == "" {
			t.Errorf("no reading of %q is reserved", spelling.target)
		}
	}
	for _, target := range harmless {
		if reading := isReserved(target); reading != "" {
			t.Errorf("%q is read as %q", target, reading)
		}
	}
}
