package port

import (
	"strings"
	"testing"
	"time"
)

// What a client chooses is bounded in the log, and steers no terminal.
func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"remote error: tls: bad certificate": "remote error: tls: bad certificate",
		"a\x1b[2J\nb\u202ec\xff":             "a?[2J?b?c\uFFFD",
		strings.Repeat("ä", 256):             strings.Repeat("ä", 256),
		strings.Repeat("ä", 5000) + "z":      strings.Repeat("ä", 128) + "…" + strings.Repeat("ä", 126) + "z",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// One event a second is let through, with the count of those since the last.
func TestSampler(t *testing.T) {
	var s sampler
	now := time.Now()
	for i, want := range []struct {
		after time.Duration
		count int64
	}{{0, 1}, {1, 0}, {time.Second - 1, 0}, {time.Second, 3}, {time.Second + 1, 0}, {2 * time.Second, 2}} {
		if count, ok := s.take(now.Add(want.after)); count != want.count || ok != (want.count > 0) {
			t.Errorf("%d: count %d, %v, want %d", i, count, ok, want.count)
		}
	}
}
