package status

import (
	"io"
	"log/slog"
	"net/http"
	"runtime/trace"
	"sync/atomic"
	"time"
)

// The bounds of a trace, beside its time. The runtime keeps in memory what the
// client has not taken yet, so a slow one ends the trace.
const (
	maxTraceBytes = 64 << 20
	traceStall    = 2 * time.Second
)

func (p *Pages) trace(w http.ResponseWriter, r *Request) error {
	d, err := seconds(w, r, defaultTraceSeconds, maxTraceSeconds)
	if err != nil {
		return err
	}
	download(w, r, ".trace")
	out := &traceWriter{to: w, left: maxTraceBytes, full: make(chan struct{})}
	if err := trace.Start(out); err != nil {
		return taken(w, err)
	}
	why := out.wait(r, d, traceStall)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pageTimeout))
	trace.Stop() // writes what is left, so that the trace is whole
	if why != "" {
		p.cfg.Logger.Warn("trace ended early", slog.String("err", why))
	}
	return nil
}

// traceWriter hands a trace on and says when it is enough.
type traceWriter struct {
	to    io.Writer
	left  int64 // bytes
	full  chan struct{}
	since atomic.Int64 // when the write began that is going on, in Unix nanoseconds; 0 for none
}

// Write implements [io.Writer] for one goroutine, that of the trace. What comes
// after the bound is written too.
func (t *traceWriter) Write(b []byte) (int, error) {
	before := t.left
	if t.left -= int64(len(b)); before > 0 && t.left <= 0 {
		close(t.full)
	}
	t.since.Store(time.Now().UnixNano())
	defer t.since.Store(0)
	return t.to.Write(b)
}

// wait waits for d, and returns early with the reason where the trace is full,
// or the client slow or gone.
func (t *traceWriter) wait(r *Request, d, stall time.Duration) (why string) {
	end := time.NewTimer(d)
	defer end.Stop()
	look := time.NewTicker(stall / 4)
	defer look.Stop()
	for {
		select {
		case <-end.C:
			return ""
		case <-r.Context().Done():
			return "the client has gone"
		case <-t.full:
			return "it has reached its size: ask for fewer ?seconds="
		case now := <-look.C:
			if since := t.since.Load(); since != 0 && now.UnixNano()-since > int64(stall) {
				return "the client reads too slowly"
			}
		}
	}
}
