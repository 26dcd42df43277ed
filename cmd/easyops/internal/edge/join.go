package edge

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// lastWords is how long one direction of a connection may go on once the other has
// failed: what an instance has answered before it closed is to reach the client.
const lastWords = time.Second

// direction is what goes from one connection to the other. Where both are of TCP the
// kernel passes it on, and no byte of it comes here.
type direction struct {
	from, to net.Conn
	watch    *watch // nil: it may be idle for as long as it likes
	err      error  // nil: the sender has ended it, and the receiver knows
}

func (d *direction) pass() {
	if d.err = d.copy(); d.err == nil {
		closeWrite(d.to)
	}
}

func (d *direction) copy() error {
	if d.watch == nil {
		_, err := io.Copy(d.to, d.from)
		return err
	}
	for {
		_ = d.from.SetReadDeadline(time.Now().Add(d.watch.pause()))
		n, err := io.Copy(d.to, d.from)
		if n > 0 {
			d.watch.passed()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return d.watch.cause(err)
		}
	}
}

// watch ends a connection on which nothing has passed for a time. Who has passed
// something says so; a sender whose receiver takes nothing cannot.
type watch struct {
	limit time.Duration
	begun time.Time
	last  atomic.Int64 // nanoseconds from begun to when something passed
	cut   atomic.Bool
}

var errIdle = errors.New("nothing has passed for idle_timeout")

// pause is between two looks.
func (w *watch) pause() time.Duration { return w.limit / 8 }

func (w *watch) passed() { w.last.Store(int64(time.Since(w.begun))) }

// run looks until done is closed, or ends the connection by end.
func (w *watch) run(done <-chan struct{}, end func()) {
	ticker := time.NewTicker(w.pause())
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		if time.Since(w.begun)-time.Duration(w.last.Load()) >= w.limit {
			w.cut.Store(true)
			end()
			return
		}
	}
}

// cause tells why a direction has ended.
func (w *watch) cause(err error) error {
	if err != nil && w.cut.Load() {
		return fmt.Errorf("%w: %w", errIdle, err)
	}
	return err
}

// join passes bytes both ways until both directions have ended, and closes both
// connections. One that is cut off is not made to look like one that has ended: a half
// that was sent must not be taken for the whole. So the end of a direction is passed
// on as such, and a failure as a reset, which also ends one that was idle for too long;
// 0 is for ever.
func join(client, instance net.Conn, idle time.Duration) error {
	defer client.Close()
	defer instance.Close()
	var w *watch
	if idle > 0 {
		w = &watch{limit: idle, begun: time.Now()}
		done := make(chan struct{})
		defer close(done)
		go w.run(done, func() {
			reset(client)
			reset(instance)
		})
	}
	ended := make(chan *direction, 2)
	for _, d := range []*direction{{from: client, to: instance, watch: w}, {from: instance, to: client, watch: w}} {
		go func() {
			d.pass()
			ended <- d
		}()
	}
	first := <-ended
	if first.err != nil {
		wait := lastWords
		if errors.Is(first.err, net.ErrClosed) { // the server cuts it
			wait = 0
		}
		cut := time.AfterFunc(wait, func() {
			reset(client)
			reset(instance)
		})
		defer cut.Stop()
	}
	second := <-ended
	failed, other := first, second
	if failed.err == nil {
		failed, other = second, first
	}
	if failed.err == nil {
		return nil
	}
	reset(failed.to)
	if other.err == nil {
		hearOut(failed.from)
	}
	reset(failed.from)
	return failed.err
}

// closeWrite tells the other side that nothing more comes. One that is gone learns
// nothing; that shows where it is read from.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// hearOut gives a side that was told everything, and goes on sending, the time to read
// it: the kernel drops what is on its way when a connection is closed that has unread
// bytes.
func hearOut(c net.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(lastWords))
	_, _ = io.Copy(io.Discard, c)
}

// reset closes a connection so that the other side cannot take it for an end.
func reset(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}
