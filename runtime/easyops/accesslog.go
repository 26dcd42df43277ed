package easyops

import (
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	sampleOneIn    = 100 // of the calls that ended well one in so many is logged
	linesPerSecond = 50  // of the access log at the most
)

// accessLog writes a line for each failed call and for a sample of the others,
// within a bound, so that a flood of calls is not a flood of lines.
type accessLog struct {
	log        *slog.Logger
	second     atomic.Int64 // Unix time of the lines counted
	lines      atomic.Int64
	suppressed atomic.Int64
}

func (a *accessLog) write(c *call, code codes.Code, err error, elapsed time.Duration) {
	if err == nil && rand.Uint32()%sampleOneIn != 0 {
		return
	}
	if !a.allow(c.start.Add(elapsed).Unix()) {
		a.suppressed.Add(1)
		return
	}
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("method", c.method.name), slog.String("code", code.String()),
		slog.Duration("duration", elapsed), slog.String("peer", c.peer()),
	}
	if err != nil {
		attrs = append(attrs, slog.String("err", clean(err.Error())))
		level = levelOf(code)
	}
	if n := a.suppressed.Swap(0); n > 0 {
		attrs = append(attrs, slog.Int64("suppressed", n))
	}
	a.log.LogAttrs(c, level, "call", attrs...)
}

func (a *accessLog) allow(second int64) bool {
	if old := a.second.Load(); second > old && a.second.CompareAndSwap(old, second) {
		a.lines.Store(0)
	}
	return a.lines.Add(1) <= linesPerSecond
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

// clean makes text that may come from a caller fit for a log: bounded, without
// control characters or ones that change the direction of writing.
func clean(s string) string {
	const limit = 256
	out := make([]rune, 0, min(len(s), limit))
	for _, r := range s {
		if len(out) == limit {
			return string(out) + "…"
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x2069 || r == 0xfeff {
			r = '?'
		}
		out = append(out, r)
	}
	return string(out)
}
