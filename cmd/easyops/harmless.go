package main

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// harmless writes JSON so that a terminal shows all of it: what strangers put
// into strings and is not printable is escaped, as \u says it. JSON has such
// characters nowhere else, and encoding/json escapes only those of ASCII.
type harmless struct{ w io.Writer }

// Write implements [io.Writer]. A write must not end within a character.
func (h harmless) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p))
	for _, r := range string(p) {
		switch {
		case r < 0x7f || unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff: // a surrogate pair
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	if _, err := h.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
