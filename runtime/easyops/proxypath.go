package easyops

import (
	"net/url"
	"path"
	"strings"
)

// maybeReserved tells whether some server could take a path for one of the status
// API's: one that unescapes once more, ignores case, takes \ for /, leaves out empty
// segments or what follows a ";", or resolves dots, before or after it compares. The
// status pages of what is behind a proxy are not for its callers.
func maybeReserved(escaped string) bool {
	for range maxEscapes {
		if isReservedTo(escaped) {
			return true
		}
		next := unescape(escaped)
		if next == escaped {
			return false
		}
		escaped = next
	}
	return true // nobody escapes as often who has nothing to hide
}

const maxEscapes = 8

// unescape replaces what is escaped well, and leaves the rest.
func unescape(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		n := min(len(s)-i, 3)
		if c, err := url.PathUnescape(s[i : i+n]); err == nil {
			b.WriteString(c)
		} else {
			b.WriteByte('%')
			n = 1
		}
		s = s[i+n:]
	}
}

// isReservedTo tells whether a path that is not unescaped any more is reserved, in
// one of the ways to read it.
func isReservedTo(p string) bool {
	if isOverlong(p) || strings.IndexByte(p, 0) >= 0 {
		return true
	}
	var plain []string
	for _, segment := range strings.Split(strings.ReplaceAll(p, `\`, "/"), "/") {
		if segment = meant(segment); segment != "" {
			plain = append(plain, segment)
		}
	}
	return hasReserved(plain) || hasReserved(strings.Split(path.Clean("/" + strings.Join(plain, "/"))[1:], "/"))
}

// hasReserved tells whether the segments are those of a reserved path.
func hasReserved(segments []string) bool {
	if len(segments) > 0 && strings.EqualFold(segments[0], "internal") {
		return true
	}
	if len(segments) != 1 {
		return false
	}
	for _, page := range []string{"metrics", "livez", "readyz"} {
		if strings.EqualFold(segments[0], page) {
			return true
		}
	}
	return false
}

// meant is a segment without parameters, what would be a query or a fragment, and
// characters that somebody may leave out.
func meant(segment string) string {
	if i := strings.IndexAny(segment, ";?#"); i >= 0 {
		segment = segment[:i]
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return r
	}, segment)
}

// isOverlong finds bytes that are in no UTF-8, and by which old servers were made to
// see a slash or a dot that nobody else saw.
func isOverlong(p string) bool {
	return strings.IndexByte(p, 0xc0) >= 0 || strings.IndexByte(p, 0xc1) >= 0 ||
		strings.Contains(p, "\xe0\x80") || strings.Contains(p, "\xf0\x80")
}
