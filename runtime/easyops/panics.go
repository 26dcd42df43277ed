package easyops

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// recovered reports a panic and returns the error that stands for it. The
// caller learns no more than an ID to ask by; more is for the log.
func (s *Server) recovered(ctx context.Context, where, name string, panicked any, more ...slog.Attr) error {
	id := randomID(4)
	s.metrics.Panic(where)
	if suppressed, ok := s.panics.take(time.Now(), panicsPerSec); ok {
		value, where := unfold(panicked)
		s.log.LogAttrs(ctx, slog.LevelError, "panic", append(more, slog.String("in", name), slog.String("id", id),
			slog.String("err", clean(fmt.Sprint(value))), slog.String("stack", where), slog.Int64("suppressed", suppressed))...)
	}
	return status.Errorf(codes.Internal, "internal error %s", id)
}

// elsewhere is a panic of another goroutine that is passed on, such as that of a
// cache's load to those who wait for it.
type elsewhere interface {
	PanicValue() any
	PanicStack() []byte
}

// unfold returns what was panicked with at first, and the stack there.
func unfold(panicked any) (value any, at string) {
	value, at = panicked, ""
	for range maxPassed {
		p, ok := value.(elsewhere)
		if !ok {
			break
		}
		value, at = p.PanicValue(), string(p.PanicStack())
	}
	if at == "" {
		at = stack()
	}
	return value, at[:min(len(at), maxStack)]
}

const (
	maxStack  = 8 << 10 // bytes of a stack that are logged
	maxPassed = 10      // times that a panic is followed to where it comes from
)

// stack returns the stack of this goroutine, of bounded length.
func stack() string {
	b := make([]byte, maxStack)
	return string(b[:runtime.Stack(b, false)])
}

// guard runs a function of the user's and recovers its panic.
func (s *Server) guard(ctx context.Context, name string, f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.recovered(ctx, "callback", name, p)
		}
	}()
	f()
	return nil
}

// randomID returns n random bytes as text.
func randomID(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand since Go 1.24)
	return hex.EncodeToString(b)
}
