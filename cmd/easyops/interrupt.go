package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruptible ends the context when the program is asked to stop, so that it can
// say how far it has come.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
