package easyops

import (
	"math"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
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

// windowsOf makes a call, and returns how much a client may send ahead on a stream and on a
// connection, and how many PINGs it was sent to find out how much more there could be.
func (r *rig) windowsOf() (stream, conn uint32, pings int) {
	c := r.raw()
	c.headers(1, "/"+unaryMethod)
	c.message(1, true)
	stream = leastWindow // as HTTP/2 has it where nothing is said
	c.receive(func(f http2.Frame) (last bool) {
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
				stream = v
			}
			return false
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 && f.Increment > 1<<10 { // less is for what the call has sent
				conn = 65_535 + f.Increment
			}
		case *http2.PingFrame:
			pings++
		case *http2.MetaHeadersFrame:
			return grpcStatus(f) != nil
		}
		return false
	})
	return stream, max(conn, leastWindow), pings
}

// Clients may send so much ahead from the beginning, as much on all streams of a connection
// together, and are sent no PING unless windows shall grow.
func TestWindows(t *testing.T) {
	for name, test := range map[string]struct {
		window        int
		more          ServerOption
		stream, conn  uint32
		byHTTP, byAll uint32 // by net/http
		pings         int
	}{
		"default":   {0, nil, 1 << 20, 250 << 20, 1 << 20, 250 << 20, 0},
		"small":     {128 << 10, nil, 128 << 10, 250 * 128 << 10, 128 << 10, 250 * 128 << 10, 0},
		"too small": {1, nil, 65_535, 250 * 65_535, 65_535, 250 * 65_535, 0},
		"too large": {math.MaxInt, nil, math.MaxInt32, math.MaxInt32, math.MaxInt32, math.MaxInt32, 0},
		"growing":   {-1, nil, 65_535, 65_535, 1 << 20, 250 << 20, 1},
		"by grpc-go": {
			-1, WithGRPC(grpc.StaticStreamWindowSize(2<<20), grpc.StaticConnWindowSize(3<<20)),
			2 << 20, 3 << 20, 1 << 20, 250 << 20, 0,
		},
		"both": {0, WithGRPC(grpc.InitialWindowSize(2 << 20)), 2 << 20, 250 << 20, 1 << 20, 250 << 20, 0},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				opts := []ServerOption{WithLimits(Limits{StreamWindow: test.window})}
				if test.more != nil {
					opts = append(opts, test.more)
				}
				if w != ways[0] {
					test.stream, test.conn, test.pings = test.byHTTP, test.byAll, 0
				}
				stream, conn, pings := newRig(t, w, &funcs{}, opts...).windowsOf()
				wantEqual(t, "window of a stream", stream, test.stream)
				wantEqual(t, "window of a connection", conn, test.conn)
				wantEqual(t, "PINGs", pings, test.pings)
			})
		})
	}
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
	for range streamWindow / len(block) {
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
