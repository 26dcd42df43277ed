package status

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"
)

// maxLogged is how much of a string that a caller supplied goes to the log,
// in characters.
const maxLogged = 256

// audited reports whether a request leaves a line in the log: what changes
// something or tries to, and what costs something.
func audited(method string, pg *Page) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return pg.Costly && method == http.MethodGet
	}
	return true
}

// refusalsPerSecond is how many refused requests leave a line. Everyone can
// have requests refused, and must not be able to fill the log.
const refusalsPerSecond = 20

// refusals bounds the lines of refused requests, and counts those left out.
type refusals struct {
	mu         sync.Mutex
	second     int64
	lines      int
	suppressed int
}

// take reports whether another line may be written now, and how many were left
// out before it.
func (r *refusals) take(now time.Time) (suppressed int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if second := now.Unix(); second > r.second {
		r.second, r.lines = second, 0
	}
	if r.lines++; r.lines > refusalsPerSecond {
		r.suppressed++
		return 0, false
	}
	suppressed, r.suppressed = r.suppressed, 0
	return suppressed, true
}

// audit leaves the one line of a request, refused ones too.
func (p *Pages) audit(r *Request, code int, err error) {
	suppressed := 0
	if outcome(code, err) == "refused" {
		n, ok := p.refusals.take(time.Now())
		if !ok {
			return
		}
		suppressed = n
	}
	what, from, to := r.summary()
	attrs := []slog.Attr{
		slog.String("who", logged(r.Who)),
		slog.String("method", logged(r.Method)),
		slog.String("path", logged(r.URL.Path)),
		slog.String("what", what),
		slog.String("old", from),
		slog.String("new", to),
		slog.String("peer", logged(r.RemoteAddr)),
		slog.Int("code", code),
		slog.String("outcome", outcome(code, err)),
	}
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("err", logged(err.Error())))
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	p.cfg.Logger.LogAttrs(r.Context(), level, "audit", attrs...)
}

func outcome(code int, err error) string {
	switch {
	case err == nil:
		return "done"
	case code >= http.StatusInternalServerError:
		return "failed"
	}
	return "refused"
}

// summary is what a request changed. Several changes share one line, as
// name=value.
func (r *Request) summary() (what, from, to string) {
	if len(r.changes) == 1 {
		c := r.changes[0]
		return logged(c.what), logged(c.old), logged(c.new)
	}
	var whats, olds, news []string
	for _, c := range r.changes {
		whats = append(whats, c.what)
		olds = append(olds, c.what+"="+c.old)
		news = append(news, c.what+"="+c.new)
	}
	return logged(strings.Join(whats, ", ")), logged(strings.Join(olds, ", ")), logged(strings.Join(news, ", "))
}

// logged makes a string that a caller supplied safe for a log: one line,
// printable, short.
func logged(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxLogged {
			s = s[:i] + "…"
			break
		}
	}
	return escape(s, func(r rune) bool { return unicode.IsPrint(r) })
}

// visible makes a string safe for a page or a terminal: characters that
// steer it or reorder the text around them are spelled out. Line breaks and
// tabs stay.
func visible(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' || !unicode.In(r, unicode.Cc, unicode.Bidi_Control) })
}

// escape spells out the characters that are not fine.
func escape(s string, fine func(rune) bool) string {
	if strings.IndexFunc(s, func(r rune) bool { return !fine(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if fine(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}
