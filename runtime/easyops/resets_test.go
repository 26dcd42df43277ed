package easyops

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A connection that begins calls only to cancel them is closed; others are not.
func TestRapidReset(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		var peak, now atomic.Int64
		r := newRig(t, w, &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			n := now.Add(1)
			for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
			}
			defer now.Add(-1)
			if ctx.Err() == nil {
				<-ctx.Done()
			}
			return nil, ctx.Err()
		}, down: func(*testpb.StreamingOutputCallRequest, down) error { return nil }}, WithLimits(Limits{Resets: 200}))
		good := r.client()
		c := r.raw()
		go func() { // what the server sends must be read
			for {
				if _, err := c.ReadFrame(); err != nil {
					return
				}
			}
		}()
		resets := 0
		for ; resets < 20_000; resets++ {
			id := uint32(2*resets + 1)
			if err := c.tryReset(id); err != nil {
				t.Logf("after %d resets: %v", resets, err)
				break
			}
			if resets%50 == 0 {
				s, err := good.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
				wantCode(t, err, codes.OK)
				if _, err = s.Recv(); status.Code(err) != codes.Unknown { // io.EOF
					t.Fatalf("the good client: %v", err)
				}
			}
		}
		if resets >= 5000 {
			t.Errorf("the connection was open after %d resets", resets)
		}
		if peak.Load() > 260 {
			t.Errorf("%d handlers at once", peak.Load())
		}
		time.Sleep(time.Second) // what is on its way ends
		r.log.one(t, "connection closed: it cancels most of its calls")
	})
}

// tryReset begins a call and cancels it.
func (c *rawConn) tryReset(id uint32) error {
	if err := c.tryHeaders(id, "/"+unaryMethod); err != nil {
		return err
	}
	if err := c.WriteData(id, true, []byte{0, 0, 0, 0, 0}); err != nil {
		return err
	}
	return c.WriteRSTStream(id, http2.ErrCodeCancel)
}

// A client that cancels many calls, but lets more end, is an ordinary one.
func TestOrdinaryCancelsAreNotReset(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: func(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			if in.GetPayload() != nil {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &testpb.SimpleResponse{}, nil
		}}, WithLimits(Limits{Resets: 50}))
		client := r.client()
		for i := range 500 {
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
			if i%2 == 0 {
				continue
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			_, err = client.UnaryCall(ctx, toHold)
			wantCode(t, err, codes.Canceled)
		}
		wantEqual(t, "connections closed", len(r.log.lines("connection closed: it cancels most of its calls")), 0)
	})
}

// The end of a method's own timer is not a cancellation by the client.
func TestCallsWithATimeoutAreNotResets(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRuledRig(t, w, func(context.Context) error { return nil }, WithLimits(Limits{Resets: 50}))
		conn := r.dial()
		for range 500 {
			err := conn.Invoke(t.Context(), "/"+ruledService+"/Quick", &emptypb.Empty{}, &emptypb.Empty{})
			wantCode(t, err, codes.OK)
		}
		wantEqual(t, "connections closed", len(r.log.lines("connection closed: it cancels most of its calls")), 0)
	})
}

// A connection whose calls get no time is one that resets them; one whose calls
// get a little is not.
func TestCallsWithoutTimeAreResets(t *testing.T) {
	for _, test := range []struct {
		name, timeout string
		closed        bool
	}{{"none", "1u", true}, {"control: a little", "20m", false}} {
		t.Run(test.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}}, WithLimits(Limits{Resets: 50}))
				c := r.raw()
				go func() { _, _ = io.Copy(io.Discard, c.Conn) }()
				var err error
				calls := 0
				for ; calls < 2000 && err == nil; calls++ {
					err = c.tryInTime(uint32(2*calls+1), test.timeout)
					if calls%100 == 99 {
						time.Sleep(25 * time.Millisecond) // no more streams at once than the server allows
					}
				}
				closed := len(r.log.lines("connection closed: it cancels most of its calls")) > 0
				if closed != test.closed {
					t.Errorf("after %d calls the connection is closed: %t (%v)", calls, closed, err)
				}
			})
		})
	}
}

// tryInTime makes a call that must not take longer.
func (c *rawConn) tryInTime(id uint32, timeout string) error {
	c.hpack.Reset()
	for _, kv := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", "/" + unaryMethod},
		{":authority", "server.test"},
		{"te", "trailers"},
		{"content-type", "application/grpc"},
		{"grpc-timeout", timeout},
	} {
		if err := c.enc.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]}); err != nil {
			return err
		}
	}
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.hpack.Bytes(), EndHeaders: true}); err != nil {
		return err
	}
	return c.WriteData(id, true, []byte{0, 0, 0, 0, 0})
}

// Calls whose deadline passes are not resets: to close their connection would
// make a slow server a broken one.
func TestDeadlinesAreNotResets(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, WithLimits(Limits{Resets: 50}))
		client := r.client()
		for range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
			cancel()
			wantCode(t, err, codes.DeadlineExceeded)
		}
		wantEqual(t, "connections closed", len(r.log.lines("connection closed: it cancels most of its calls")), 0)
	})
}

func TestResetWindow(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := newResets(3, func(string) {})
	count := func(remote string, how outcome, n int) (closed bool) {
		for range n {
			closed = r.count(remote, how, now)
		}
		return closed
	}
	wantEqual(t, "three cancels", count("a", cancelled, 3), false)
	wantEqual(t, "the fourth", count("a", cancelled, 1), true)
	wantEqual(t, "those that end meanwhile", count("a", cancelled, 5), false)
	wantEqual(t, "of another connection", count("b", cancelled, 1), false)
	now = now.Add(resetWindow + time.Second)
	wantEqual(t, "the window is over", count("a", cancelled, 3), false)
	count("c", cancelled, 2)
	count("c", done, 10)
	wantEqual(t, "fewer than were let end", count("c", cancelled, 7), false)
	now = now.Add(resetWindow + time.Second)
	count("d", cancelled, 1)
	r.forget(now)
	wantEqual(t, "connections that are looked at", len(r.conns), 1)
	count("e", hasty, 9)
	wantEqual(t, "hasty calls count a tenth", count("e", cancelled, 3), false)
	wantEqual(t, "the tenth", count("e", hasty, 1), true)
	wantEqual(t, "fewer hasty ones than the bound", count("f", hasty, 39), false)
	wantEqual(t, "as many as the bound", count("f", hasty, 1), true)
	count("g", done, 1)
	count("g", hasty, 1)
	count("g", done, 100)
	wantEqual(t, "fewer hasty ones than were let end", count("g", hasty, 98), false)
	now = now.Add(resetWindow + time.Second)
	count("d", cancelled, 1)
	r.forget(now)
	for i := range 10_000 {
		count(fmt.Sprint(i), done, 1)
	}
	wantEqual(t, "connections that never cancelled", len(r.conns), 1)
}

// A gRPC call by net/http that was cancelled before its handler begins takes
// nothing more, and counts.
func TestCallsThatAreGoneBeforeTheyBegin(t *testing.T) {
	served, closed := 0, 0
	r := newResets(3, func(string) { closed++ })
	h := r.unlessGone(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	live := t.Context()
	gone, cancel := context.WithCancel(live)
	cancel()
	ask := func(ctx context.Context, contentType string, n int) {
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/"+unaryMethod, nil)
		req.ProtoMajor, req.ProtoMinor = 2, 0
		req.Header.Set("Content-Type", contentType)
		for range n {
			h.ServeHTTP(httptest.NewRecorder(), req)
		}
	}
	ask(gone, "application/grpc", 3)
	wantEqual(t, "calls that were gone", served, 0)
	ask(live, "application/grpc", 1)
	wantEqual(t, "control: a call", served, 1)
	ask(gone, "text/plain", 9)
	wantEqual(t, "control: no calls", served, 10)
	wantEqual(t, "connections closed after three", closed, 0)
	ask(gone, "application/grpc", 1)
	wantEqual(t, "connections closed after four", closed, 1)
}
