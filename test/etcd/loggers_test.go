package etcd

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// logText is a log to look at.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// TestEachLogsForItself has registries of one process, which share a
// connection and a watch, each log to its own logger, for as long as it
// watches.
func TestEachLogsForItself(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	cl := client(t, c.Endpoints())
	var first, second logText
	handler := slog.NewTextHandler(&second, nil)
	watching := func(logger *slog.Logger) (stop func()) {
		r, err := registry.Open(c.URL(), logger)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		begun, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			once := sync.OnceFunc(func() { close(begun) })
			r.Watch(ctx, "echo", func([]registry.Instance, error) { once() })
		}()
		<-begun
		return sync.OnceFunc(func() { cancel(); <-done; r.Close() })
	}
	stop := watching(slog.New(slog.NewTextHandler(&first, nil)))
	defer stop()
	defer watching(slog.New(handler))()
	defer watching(slog.New(handler))() // the same again, which need not say all twice

	put(t, cl, "easyops/echo/one", "nonsense")
	await(t, "both say it", 2*time.Second, func() bool { return first.count("echo/one") == 1 && second.count("echo/one") == 1 })
	stop()
	put(t, cl, "easyops/echo/two", "nonsense")
	await(t, "the second says it", 2*time.Second, func() bool { return second.count("echo/two") == 1 })
	if n := first.count("two"); n != 0 {
		t.Errorf("who has closed still logs: %d times", n)
	}
	if n := second.count("is skipped"); n != 2 {
		t.Errorf("said %d times, want 2", n)
	}
	if second.count(`registry="etcd registry at`) != second.count("service=echo") {
		t.Error("what it logs does not name the registry and the service")
	}
}
