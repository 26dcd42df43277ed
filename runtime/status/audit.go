package status

import (
	"fmt"
	"log/slog"
	"net/http"
	"sort"
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

// refusalsPerSecond is how many refused requests leave a line, of callers with an
// identity and of the others each. Everyone can have requests refused, and must
// not be able to fill the log.
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

// actionsKept is how many of the last changing requests the overview shows, of
// those that were refused and of the others each: everyone can have requests
// refused, and must not push out the others.
const actionsKept = 50

// actions are the last changing requests. Its zero value is ready for use.
type actions struct{ refused, others actionRing }

type actionRing struct {
	last []RecentAction // a ring once it is full
	next int            // the oldest then
}

func (r *actionRing) add(a RecentAction) {
	if len(r.last) < actionsKept {
		r.last = append(r.last, a)
		return
	}
	r.last[r.next] = a
	r.next = (r.next + 1) % actionsKept
}

func (p *Pages) noteAction(a RecentAction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.Outcome == "refused" {
		p.actions.refused.add(a)
	} else {
		p.actions.others.add(a)
	}
}

// recentActions are the last changing requests, the latest first.
func (p *Pages) recentActions() []RecentAction {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := append(append([]RecentAction{}, p.actions.refused.last...), p.actions.others.last...)
	sort.SliceStable(all, func(i, j int) bool { return all[i].Time.After(all[j].Time) })
	return all
}

// audit leaves the one line of a request, refused ones too.
func (p *Pages) audit(r *Request, code int, err error) {
	suppressed := 0
	if r.outcome(code, err) == "refused" {
		n, ok := p.refusalsOf(r).take(time.Now())
		if !ok {
			return
		}
		suppressed = n
	}
	what, from, to := r.summary()
	reason := r.Reason()
	fault := ""
	if err != nil {
		fault = logged(err.Error())
	}
	if r.Method != http.MethodGet {
		p.noteAction(RecentAction{
			Time: time.Now().UTC(), Who: logged(r.Who), Peer: logged(r.RemoteAddr), Path: logged(r.URL.Path),
			What: what, Old: from, New: to, Reason: logged(reason), Outcome: r.outcome(code, err), Error: fault,
		})
	}
	attrs := []slog.Attr{
		slog.String("who", logged(r.Who)),
		slog.String("method", logged(r.Method)),
		slog.String("path", logged(r.URL.Path)),
		slog.String("what", what),
		slog.String("old", from),
		slog.String("new", to),
		slog.String("reason", logged(reason)),
		slog.String("peer", logged(r.RemoteAddr)),
		slog.Int("code", code),
		slog.String("outcome", r.outcome(code, err)),
	}
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("err", fault))
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	p.cfg.Audit.LogAttrs(r.Context(), level, "audit", attrs...)
}

// refusalsOf is the bound on the lines of a caller. Those without an identity
// must not be able to hide what a known one tries.
func (p *Pages) refusalsOf(r *Request) *refusals {
	if r.Who != "" {
		return &p.refused.known
	}
	return &p.refused.unknown
}

// outcome of a request that was not admitted is "refused" whatever its code: who
// brings about that a check fails has done nothing either.
func (r *Request) outcome(code int, err error) string {
	switch {
	case err == nil:
		return "done"
	case r.admitted && code >= http.StatusInternalServerError:
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
	return escape(truncate(s), func(r rune) bool { return unicode.IsPrint(r) })
}

// truncate cuts what is too long for a log.
func truncate(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxLogged {
			return s[:i] + "…"
		}
	}
	return s
}

// visible makes a string safe for a page or a terminal: characters that
// steer it or reorder the text around them are spelled out. Line breaks and
// tabs stay.
func visible(s string) string {
	if plain(s) {
		return s
	}
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' || !unicode.In(r, unicode.Cc, unicode.Bidi_Control) })
}

// plain says whether a text is of printing ASCII characters, and so has nothing
// to spell out. Most texts are, and this is quick.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
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
