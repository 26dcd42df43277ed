package routing

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// handler is a log that does something with each record.
type handler func(slog.Record)

func (handler) Enabled(context.Context, slog.Level) bool { return true }

func (h handler) Handle(_ context.Context, r slog.Record) error {
	h(r)
	return nil
}

func (h handler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h handler) WithGroup(string) slog.Handler      { return h }

// TestLogUsesConn: what the log does over the Conn that it is told of does not stop
// the Conn.
func TestLogUsesConn(t *testing.T) {
	live, dead := startServer(t, "live"), startServer(t, "dead")
	dead.stop()
	m := newMemory(dead.instance(registry.Ready))
	var c *Conn
	made := make(chan struct{})
	type answer struct {
		text, id string
		err      error
	}
	answers := make(chan answer, 10)
	log := func(r slog.Record) {
		<-made
		c.Instances()
		id, err := who(t.Context(), c)
		answers <- answer{r.Message, id, err}
	}
	const maxWait = 10 * time.Second
	c = dial(t, Config{Registry: m, Logger: slog.New(handler(log)), MaxWait: maxWait})
	close(made)
	go func() { _, _ = who(t.Context(), c) }() // it fails to connect, which is logged
	for c.Status().Instances == nil || c.Status().Instances[0].LastError == "" {
		time.Sleep(time.Millisecond)
	}
	m.say(nil, live.instance(registry.Ready))
	want(t, c, "live")
	m.say(errors.New("down"))
	for _, text := range []string{"no connection to an instance", "registry fails, going on with the instances that are known"} {
		select {
		case a := <-answers:
			if a.err != nil || a.id != "live" || a.text != text {
				t.Errorf("in the log of %q: %q (%v)", a.text, a.id, a.err)
			}
		case <-time.After(maxWait):
			t.Fatalf("the log of %q is stuck", text)
		}
	}
}

// TestJournal: records come in order, not more than a number wait, and Close waits
// for them.
func TestJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		blocked := make(chan struct{})
		start := time.Now()
		j := newJournal(slog.New(handler(func(r slog.Record) {
			<-blocked
			mu.Lock()
			defer mu.Unlock()
			if !r.Time.Equal(start) && r.Message == "x" {
				t.Errorf("logged with %v", r.Time)
			}
			r.Attrs(func(a slog.Attr) bool { got = append(got, a.String()); return true })
		})))
		for n := range 3 * maxQueued {
			j.warn("x", "n", n)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		close(blocked)
		j.close()
		mu.Lock()
		defer mu.Unlock()
		if len(got) != maxQueued+2 || got[0] != "n=0" || got[maxQueued] != slog.Int("n", maxQueued).String() ||
			got[maxQueued+1] != slog.Int("count", 2*maxQueued-1).String() {
			t.Errorf("the log got %d: %q", len(got), got)
		}
		j.warn("after the end", "n", -1)
		synctest.Wait()
		if len(got) != maxQueued+2 {
			t.Error("a closed journal logs")
		}
	})
}

// TestStuckLog: Close does not wait for ever.
func TestStuckLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		j := newJournal(slog.New(handler(func(slog.Record) { <-blocked })))
		j.info("x")
		start := time.Now()
		if j.close(); time.Since(start) != logPatience {
			t.Errorf("closed after %v", time.Since(start))
		}
		close(blocked)
	})
}
