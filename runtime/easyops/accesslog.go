package easyops

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/flags"
)

const (
	linesPerSecond = 50      // of the access log, for the server's own faults and for the rest each
	panicsPerSec   = 10      // that are logged; all are counted
	maxLogged      = 256     // characters of an error
	maxRedacted    = 8 << 10 // bytes of each end of an error that are searched for secrets
)

// budget bounds how many lines a second are written, so that a flood of calls
// is not a flood of lines, and counts those that are left out.
type budget struct {
	second     atomic.Int64 // Unix time of the lines counted
	lines      atomic.Int64
	suppressed atomic.Int64
}

// take reports whether a line may be written, and how many were left out before.
func (b *budget) take(now time.Time, perSecond int64) (suppressed int64, ok bool) {
	second := now.Unix()
	if old := b.second.Load(); second > old && b.second.CompareAndSwap(old, second) {
		b.lines.Store(0)
	}
	if b.lines.Add(1) > perSecond {
		b.suppressed.Add(1)
		return 0, false
	}
	return b.suppressed.Swap(0), true
}

// accessLog writes a line for each failed call and for a sample of the others,
// within bounds: what clients bring about must not hide the server's own faults.
type accessLog struct {
	log          *slog.Logger
	sample       atomic.Uint32 // of so many calls that ended well one is logged; 0 for none
	faults, rest budget
}

// sampled tells whether a call that ended well is logged.
func (a *accessLog) sampled(dice uint32) bool {
	n := a.sample.Load()
	return n > 0 && dice%n == 0
}

func (a *accessLog) write(c *call, code codes.Code, err error, elapsed time.Duration) {
	if err == nil && !a.sampled(c.dice) {
		return
	}
	level, lines := slog.LevelInfo, &a.rest
	if err != nil {
		level = levelOf(code)
	}
	if err != nil && isFault(code, c.isRegistered()) {
		lines = &a.faults
	}
	if !a.log.Enabled(c, level) {
		return
	}
	suppressed, ok := lines.take(c.start().Add(elapsed), linesPerSecond)
	if !ok {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", c.method.name), slog.String("code", code.String()),
		slog.Duration("duration", elapsed), slog.String("peer", c.peer()),
	}
	if c.method.routed { // of which the name tells less
		attrs = append(attrs, slog.String("path", clean(c.path())))
		if by := c.instance.Load(); by != nil {
			attrs = append(attrs, slog.String("instance", clean(*by)))
		}
	}
	attrs = append(attrs, identityAttrs(c.caller.Identity)...)
	if r, ok := errors.AsType[*refusal](err); ok {
		err = r.cause
	}
	if err != nil {
		attrs = append(attrs, slog.String("err", cleanError(err.Error())))
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int64("suppressed", suppressed))
	}
	a.log.LogAttrs(c, level, "call", attrs...)
}

// identityAttrs names who calls, by IDs alone.
func identityAttrs(id auth.Identity) (attrs []slog.Attr) {
	if id.User != nil {
		attrs = append(attrs, slog.String("user", clean(id.User.ID)))
	}
	if id.Service != nil {
		attrs = append(attrs, slog.String("service", clean(id.Service.ID)))
	}
	return attrs
}

// refusedPage writes a line for a request to a status page that presented
// something which nobody takes.
func (a *accessLog) refusedPage(r *http.Request, err error) {
	suppressed, ok := a.rest.take(time.Now(), linesPerSecond)
	if !ok {
		return
	}
	attrs := []slog.Attr{slog.String("path", clean(r.URL.Path)), slog.String("peer", r.RemoteAddr), slog.String("err", cleanError(err.Error()))}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int64("suppressed", suppressed))
	}
	a.log.LogAttrs(r.Context(), slog.LevelInfo, "page refused", attrs...)
}

// levelOf tells the server's own faults, which someone must look at, from what
// clients bring about.
func levelOf(code codes.Code) slog.Level {
	switch code {
	case codes.Unknown, codes.Internal, codes.DataLoss:
		return slog.LevelError
	case codes.DeadlineExceeded, codes.ResourceExhausted, codes.Unavailable, codes.Unimplemented:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// cleanError makes the text of an error fit for a log: errors of drivers like to
// name the URL that they failed to reach, with the password in it. Of a very long
// text the middle is left out first, which clean leaves out anyway.
func cleanError(s string) string {
	if len(s) > 2*maxRedacted {
		s = s[:maxRedacted] + " " + s[len(s)-maxRedacted:]
	}
	return clean(flags.Redact(s))
}

// clean makes text that may come from a caller fit for a log: bounded, and
// without characters that steer a terminal or change the direction of writing.
// Of a longer text the beginning and the end are kept, where the cause is.
func clean(s string) string {
	if most := 4 * maxLogged; len(s) > 2*most { // a character has four bytes at most
		s = s[:most] + s[len(s)-most:]
	}
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s))
	if len(runes) <= maxLogged {
		return string(runes)
	}
	return string(runes[:maxLogged/2]) + "…" + string(runes[len(runes)-maxLogged/2+1:])
}
