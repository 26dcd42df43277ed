package easyops

import (
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// receive reads frames until it has one for which found returns true.
func (c *rawConn) receive(found func(http2.Frame) bool) {
	c.t.Helper()
	c.must(c.SetReadDeadline(time.Now().Add(10 * time.Second)))
	for {
		f, err := c.ReadFrame()
		c.must(err)
		if found(f) {
			return
		}
	}
}

// Clients may send so much ahead from the beginning, and are never sent a PING to find out how
// much more there could be.
func TestWindows(t *testing.T) {
	r := newRig(t, ways[0], &funcs{})
	c := r.raw()
	c.headers(1, "/"+unaryMethod)
	c.message(1, true)
	var stream, conn uint32
	c.receive(func(f http2.Frame) (last bool) {
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
				stream = v
			}
			return false
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 && conn == 0 {
				conn = 65_535 + f.Increment
			}
		case *http2.PingFrame:
			t.Error("a PING")
		case *http2.MetaHeadersFrame:
			return grpcStatus(f) != nil
		}
		return false
	})
	wantEqual(t, "window of a stream", stream, 256<<10)
	wantEqual(t, "window of a connection", conn, 16<<20)
}

// A client that sends more than a stream's window to a handler that does not read is cut off,
// and other calls of its connection go on: the memory for what is unread is bounded, and one
// slow stream keeps nobody waiting.
func TestStreamThatIsNotRead(t *testing.T) {
	release := make(chan struct{})
	r := newRig(t, ways[0], &funcs{up: func(up) error { <-release; return nil }})
	defer close(release)
	c := r.raw()
	c.headers(1, "/grpc.testing.TestService/StreamingInputCall")
	block := make([]byte, 16<<10)
	for range 16 { // the whole window
		c.must(c.WriteData(1, false, block))
	}
	c.headers(3, "/"+unaryMethod)
	c.message(3, true)
	wantEqual(t, "another call", c.status(3, 10*time.Second).Code(), codes.OK)
	c.must(c.WriteData(1, false, block[:1]))
	c.receive(func(f http2.Frame) bool {
		reset, ok := f.(*http2.RSTStreamFrame)
		return ok && reset.StreamID == 1 && reset.ErrCode == http2.ErrCodeFlowControl
	})
}
