package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// warnings writes what packages log as warnings of this program.
type warnings struct {
	w io.Writer

	mu    sync.Mutex
	holds bool // until released
	held  []string
}

// maxHeld is how many are held.
const maxHeld = 100

// newWarnings returns a logger for packages that want one.
func newWarnings(w io.Writer) *slog.Logger { return slog.New(&warnings{w: w}) }

// release prints what was held, and from now on does so at once.
func (h *warnings) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, text := range h.held {
		fmt.Fprint(h.w, text)
	}
	h.held, h.holds = nil, false
}

// Enabled implements [slog.Handler].
func (*warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (h *warnings) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if text += ": "; a.Key != "err" {
			text += a.Key + " "
		}
		text += a.Value.String()
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	text = "easyops: warning: " + printable(text) + "\n"
	if !h.holds {
		fmt.Fprint(h.w, text)
	} else if len(h.held) < maxHeld {
		h.held = append(h.held, text)
	}
	return nil
}

// WithAttrs implements [slog.Handler]. What is common to all lines is left out.
func (h *warnings) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements [slog.Handler].
func (h *warnings) WithGroup(string) slog.Handler { return h }
