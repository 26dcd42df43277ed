package edge

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
)

// maxDecodings is how often a path may be encoded. Once is what is usual.
const maxDecodings = 8

// reading returns how a path reads to the most obliging of servers: decoded for as
// long as there is anything to decode, backslashes as slashes, without parameters and
// empty segments. A route of a path must be that of its reading as well, or a server
// behind the edge could serve something under the rule of another route. sent is the
// path as it was sent, encoded.
//
// ok is false where no server should see the path: it could be read as that of a
// status page, it leads upwards, or it has in it what only an attack would have.
func reading(sent string) (read string, ok bool) {
	if isPlain(sent) {
		return sent, !routes.IsReserved(sent)
	}
	decoded, ok := decode(sent)
	if !ok || strings.ContainsFunc(decoded, unicode.IsControl) {
		return "", false
	}
	var segments []string
	for segment := range strings.SplitSeq(decoded, "/") {
		segment = strings.TrimSpace(firstOf(segment))
		if segment == "." || segment == ".." {
			return "", false
		}
		if segment = strings.TrimRight(segment, ". "); segment != "" {
			segments = append(segments, segment)
		}
	}
	read = "/" + strings.Join(segments, "/")
	if len(segments) > 0 && strings.HasSuffix(decoded, "/") {
		read += "/"
	}
	return read, !routes.IsReserved(read)
}

// isPlain tells whether there is but one way to read a path.
func isPlain(sent string) bool {
	for i := range len(sent) {
		switch c := sent[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '~':
		case c == '/' && (i == 0 || sent[i-1] != '/'):
		case c == '.' && i > 0 && sent[i-1] != '/' && sent[i-1] != '.' && i+1 < len(sent) && sent[i+1] != '/':
		default:
			return false
		}
	}
	return strings.HasPrefix(sent, "/")
}

// decode decodes a path until nothing in it is encoded any more.
func decode(s string) (decoded string, ok bool) {
	for range maxDecodings {
		next := fold(unescape(s))
		if next == s {
			return s, !isOverlong(s)
		}
		s = next
	}
	return "", false
}

// unescape decodes once what can be decoded, and leaves the rest.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// fold turns backslashes, and letters of full width, into what some servers take
// them for.
func fold(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\\':
			b.WriteByte('/')
		case r >= 0xff01 && r <= 0xff5e:
			b.WriteByte(byte(r - 0xfee0))
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// firstOf returns a segment without what some servers take for parameters, a query or
// a fragment.
func firstOf(segment string) string {
	if i := strings.IndexAny(segment, ";?#"); i >= 0 {
		return segment[:i]
	}
	return segment
}

// isOverlong tells whether a text has bytes that are in no UTF-8, and by which a slash
// or a dot can be written in ways that some servers decode.
func isOverlong(s string) bool {
	return strings.IndexByte(s, 0xc0) >= 0 || strings.IndexByte(s, 0xc1) >= 0
}
