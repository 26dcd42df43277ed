package export

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// plainWord is what no proxy reads as anything but itself.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@=,*\[\]-]+$`)

// haproxyWord quotes an argument for HAProxy: between single quotes nothing is
// special (configuration manual, section 2.2), and nothing can stand for the end of a
// line.
func haproxyWord(s string) string {
	s = comment(s)
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// nginxString quotes an argument for nginx.
func nginxString(s string) string {
	s = comment(s)
	if plainWord.MatchString(s) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// nginxRegexp is a pattern that fits a text, as part of one in quotes, and no
// variable to nginx.
func nginxRegexp(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(regexp.QuoteMeta(s))
}

// seconds writes a time that both proxies know.
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return strconv.FormatInt(max(1, d.Milliseconds()), 10) + "ms"
}

// comment makes a text fit for a line, such as of a comment.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
