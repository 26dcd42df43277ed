package edge

import (
	"errors"
	"io"
	"net"
	"time"
)

// lastWords is how long one direction of a connection may go on once the other has
// failed: what an instance has answered before it closed is to reach the client.
const lastWords = time.Second

// direction is what goes from one connection to the other. Where both are of TCP the
// kernel passes it on, and no byte of it comes here.
type direction struct {
	from, to net.Conn
	err      error // nil: the sender has ended it, and the receiver knows
}

func (d *direction) pass() {
	if _, d.err = io.Copy(d.to, d.from); d.err == nil {
		closeWrite(d.to)
	}
}

// join passes bytes both ways until both directions have ended, and closes both
// connections. One that is cut off is not made to look like one that has ended: a half
// that was sent must not be taken for the whole. So the end of a direction is passed
// on as such, and a failure as a reset.
func join(client, instance net.Conn) error {
	defer client.Close()
	defer instance.Close()
	ended := make(chan *direction, 2)
	for _, d := range []*direction{{from: client, to: instance}, {from: instance, to: client}} {
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
