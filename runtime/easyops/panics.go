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
// caller learns no more than an ID to ask by.
func (s *Server) recovered(ctx context.Context, where, name string, panicked any) error {
	id := randomID(4)
	s.metrics.Panic(where)
	if suppressed, ok := s.panics.take(time.Now(), panicsPerSec); ok {
		s.log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("in", name), slog.String("id", id),
			slog.String("err", clean(fmt.Sprint(panicked))), slog.String("stack", stack()), slog.Int64("suppressed", suppressed))
	}
	return status.Errorf(codes.Internal, "internal error %s", id)
}

// stack returns the stack of this goroutine, of bounded length.
func stack() string {
	b := make([]byte, 8<<10)
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
