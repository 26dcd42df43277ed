package easyops

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// logBook keeps what is logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// entry is a line of the log. Values that it does not have are empty.
type entry map[string]any

func (e entry) text(key string) string {
	s, _ := e[key].(string)
	return s
}

// lines returns the log's lines with the message, all for an empty one.
func (b *logBook) lines(msg string) (found []entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.buf.String()) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			panic(err)
		}
		if msg == "" || e["msg"] == msg {
			found = append(found, e)
		}
	}
	return found
}

// one returns the only line with the message.
func (b *logBook) one(t testing.TB, msg string) entry {
	t.Helper()
	found := b.lines(msg)
	if len(found) != 1 {
		t.Fatalf("log has %d lines %q, want 1: %v", len(found), msg, found)
	}
	return found[0]
}

// order returns the messages of the log in order, of those that are asked for.
func (b *logBook) order(messages ...string) (got []string) {
	for _, e := range b.lines("") {
		if slices.Contains(messages, e.text("msg")) {
			got = append(got, e.text("msg"))
		}
	}
	return got
}

func wantCode(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Fatalf("code %v, want %v: %v", got, want, err)
	}
}

func wantEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// wantWithin checks how long something took, in the bubble's time.
func wantWithin(t testing.TB, what string, since time.Time, least, most time.Duration) {
	t.Helper()
	if d := time.Since(since); d < least || d > most {
		t.Errorf("%s took %v, want %v to %v", what, d, least, most)
	}
}

// receives waits for a channel, for a time that nothing in these tests takes.
func receives[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(time.Hour):
		t.Fatalf("%s: nothing came", what)
	}
	return v
}
