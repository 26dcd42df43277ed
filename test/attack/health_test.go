package attack

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// anonymous opens streams of a method on many connections and holds them.
func anonymous(connections int, path string, request []byte) attack {
	return func(t *testing.T, x *target) (int, string) {
		var last *h2
		for range connections {
			h := x.h2(t)
			defer h.Close()
			go h.read()
			for range 250 {
				id := h.open(path)
				if request != nil {
					h.send(data(id, true, request))
				}
			}
			last = h
		}
		time.Sleep(2*time.Second + settling) // as long as requests of Health are waited for
		last.settle()
		return 250 * connections, last.said()
	}
}

// TestAnonymousHealth asks for health without end: nobody else may notice.
func TestAnonymousHealth(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]attack{
		"watchers":            anonymous(40, watchPath, []byte{0, 0, 0, 0, 0}),
		"checks without body": anonymous(4, healthPath, nil),
		"calls without body":  anonymous(40, echoPath, nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := startEasyops(t)
			h := x.client(t)
			defer h.close()
			stop := make(chan struct{})
			var failed []error
			var calls latencies
			var other sync.WaitGroup
			other.Go(func() { calls, failed = callUntil(h.health, stop, 1) })
			d := strike(t, x, a)
			close(stop)
			other.Wait()
			if len(d.failed) > 0 {
				t.Errorf("%d of %d calls of another client failed, first: %v", len(d.failed), d.calls, d.failed[0])
			}
			if len(failed) > 0 {
				t.Errorf("%d of %d health checks of another client failed, first: %v", len(failed), len(calls), failed[0])
			}
		})
	}
}

// TestBusy is the control: clients notice where a bound is reached.
func TestBusy(t *testing.T) {
	x := startEasyops(t, "-tight")
	c := x.client(t)
	defer c.close()
	var refused atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if status.Code(c.echo("slow")) == codes.ResourceExhausted {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if refused.Load() == 0 {
		t.Error("no call was refused")
	}
}
