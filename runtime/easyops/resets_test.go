package easyops

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	plaintext "google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/go-easyops/easyops/runtime/port"
)

// A connection that begins calls only to cancel them is closed; others are not.
func TestRapidReset(t *testing.T) {
	const limit = 1000
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
		}, down: func(*testpb.StreamingOutputCallRequest, down) error { return nil }}, WithLimits(Limits{Resets: limit}))
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
		synctest.Wait()
		begun := r.metrics.Method(unaryMethod).Totals().Started
		t.Logf("%d calls have begun", begun)
		// Besides the limit there are those in flight, and what had been read of others.
		if resets >= 5*limit || begun > 2*limit {
			t.Errorf("the connection was open after %d resets, with %d calls that have begun", resets, begun)
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
	r := newResets(3, func(*port.Use) {})
	uses := map[string]*port.Use{}
	count := func(name string, how outcome, n int) (closed bool) {
		if uses[name] == nil {
			uses[name] = &port.Use{}
		}
		for range n {
			closed = r.count(uses[name], how, now)
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
// nothing more, and counts like any other.
func TestCallsThatAreGoneBeforeTheyBegin(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		served := 0
		held := newHeld(t)
		var ofConn context.Context // of a connection that is open
		r := newRig(t, w, &funcs{}, WithLimits(Limits{Resets: 3}), WithHTTP("/hold", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			ofConn = context.WithoutCancel(req.Context())
			close(held.begun)
			<-held.release
		})))
		defer held.let()
		page := r.goGet("/hold")
		<-held.begun
		h := r.unlessGone(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
		ask := func(ctx context.Context, n int, path, contentType, timeout string) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			for range n {
				h.ServeHTTP(httptest.NewRecorder(), grpcRequest(ctx, path, contentType, timeout))
			}
		}
		ask(ofConn, 3, "/"+unaryMethod, "application/grpc", "")
		wantEqual(t, "calls that were gone", served, 0)
		h.ServeHTTP(httptest.NewRecorder(), grpcRequest(ofConn, "/"+unaryMethod, "application/grpc", ""))
		wantEqual(t, "control: a call", served, 1)
		ask(ofConn, 9, "/"+unaryMethod, "text/plain", "")
		wantEqual(t, "control: no calls", served, 10)
		ask(t.Context(), 2, "/made.up/Method", "application/grpc", "")
		ask(ofConn, 9, "/"+unaryMethod, "application/grpc", "4999u")
		closed := func() int { return len(r.log.lines("connection closed: it cancels most of its calls")) }
		wantEqual(t, "connections closed after three, and nine in a hurry", closed(), 0)
		ask(ofConn, 1, "/"+unaryMethod, "application/grpc", "5m")
		wantEqual(t, "connections closed after four", closed(), 1)
		ask(ofConn, 9, "/"+unaryMethod, "application/grpc", "")
		wantEqual(t, "connections closed", closed(), 1)
		held.let()
		<-page
		synctest.Wait()
		wantEqual(t, "connections of which is known", len(r.resets.conns), 1)
		r.resets.forget(time.Now())
		wantEqual(t, "connections of which is known when they are closed", len(r.resets.conns), 0)

		known, other := r.metrics.Method(unaryMethod).Totals(), r.metrics.Other().Totals()
		wantEqual(t, "the method's", fmt.Sprint(known.Started, known.Calls, known.ByCode[codes.Canceled]), "22 22 22")
		wantEqual(t, "of no method", fmt.Sprint(other.Started, other.Calls, other.ByCode[codes.Canceled]), "2 2 2")
		wantRows(t, r.callerRows(), "UnaryCall by nobody: 22, CANCELLED 22", " by nobody: 2, CANCELLED 2", "hold by nobody: 1")
	})
}

func grpcRequest(ctx context.Context, path, contentType, timeout string) *http.Request {
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(make([]byte, 5)))
	req.ProtoMajor, req.ProtoMinor = 2, 0
	req.Header.Set("Content-Type", contentType)
	if timeout != "" {
		req.Header.Set("Grpc-Timeout", timeout)
	}
	return req
}

// What a server serves by net/http is looked at so.
func TestGoneCallsDoNotReachHandlers(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		served := 0
		r := newRig(t, w, &funcs{duplex: func(duplex) error { served++; return nil }})
		r.get("/livez") // it serves
		ctx, cancel := context.WithCancel(t.Context())
		r.http.Handler.ServeHTTP(httptest.NewRecorder(), grpcRequest(ctx, "/"+duplexMethod, "application/grpc", ""))
		wantEqual(t, "control: calls", served, 1)
		cancel()
		for range 10 {
			r.http.Handler.ServeHTTP(httptest.NewRecorder(), grpcRequest(ctx, "/"+duplexMethod, "application/grpc", ""))
		}
		wantEqual(t, "calls that were served", served, 1)
		wantEqual(t, "calls that were counted", r.metrics.Method(duplexMethod).Totals().Calls, 11)
	})
}

func TestHastyTimeouts(t *testing.T) {
	for timeout, want := range map[string]bool{
		"": false, "n": false, "0n": true, "4999999n": true, "5000000n": false, "99999999n": false, "4999u": true, "5000u": false,
		"4m": true, "5m": false, "99999999m": false, "1S": false, "0S": false, "1M": false, "1H": false, "99999999H": false,
		"1": false, "1x": false, "-1n": false, "99999999999999999999n": false,
	} {
		if got := isHasty(timeout); got != want {
			t.Errorf("%q: %t", timeout, got)
		}
	}
}

// A storm is in the metrics, whichever way it comes: each call that reaches a
// handler begins, ends and counts as a cancelled one. By net/http some do not.
func TestResetsInMetrics(t *testing.T) {
	const sent = 2000
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, WithLimits(Limits{Resets: 100_000}))
		c := r.raw()
		go func() { _, _ = io.Copy(io.Discard, c.Conn) }()
		for i := range sent {
			c.must(c.tryReset(uint32(2*i + 1)))
		}
		synctest.Wait()
		m := r.metrics.Method(unaryMethod).Totals()
		counted := 0
		for _, n := range r.resets.conns {
			counted += n.of[cancelled]
		}
		t.Logf("of %d calls %d have begun", sent, m.Started)
		least := uint64(sent)
		if w.viaH2 {
			least = sent / 5
		}
		if m.Started < least || m.Started > sent || m.ByCode[codes.Canceled] != m.Started || uint64(counted) != m.Started {
			t.Errorf("%d begun (at least %d of them are to), %d cancelled, %d taken for resets", m.Started, least, m.ByCode[codes.Canceled], counted)
		}
		wantEqual(t, "calls of the connection", r.onlyInbound().Calls, m.Started)
		wantEqual(t, "calls in flight", r.onlyInbound().InFlight, 0)
	})
}

// A client on a Unix socket is not told from others by its address, and pays for
// nobody else.
func TestResetsOnAUnixSocket(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		lis, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		log := &logBook{}
		opts := []ServerOption{WithFlags(nil), WithRegistry("none"), WithLogger(log.logger()), WithListener(lis), WithLimits(Limits{Resets: 100})}
		if mixed {
			opts = append(opts, WithMixedHTTP2())
		}
		s, err := Start([]Service{(&funcs{}).service()}, opts...)
		if err != nil {
			t.Fatal(err)
		}
		var innocent []testpb.TestServiceClient
		for range 10 {
			conn, err := grpc.NewClient("unix:"+lis.Addr().String(), grpc.WithTransportCredentials(plaintext.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			client := testpb.NewTestServiceClient(conn)
			_, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
			innocent = append(innocent, client)
		}
		storm(t, lis.Addr())
		for _, client := range innocent {
			_, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
		}
		log.one(t, "connection closed: it cancels most of its calls")
		wantEqual(t, "connections that are open", s.port.Conns().Open, len(innocent))
		_ = s.Shutdown(ended())
	}
}

// storm begins calls and cancels them until its connection is closed.
func storm(t *testing.T, addr net.Addr) {
	t.Helper()
	nc, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := newRawConn(t, nc)
	go func() { _, _ = io.Copy(io.Discard, c.Conn) }()
	for i := range 50_000 {
		if c.tryReset(uint32(2*i+1)) != nil {
			return
		}
	}
	t.Error("the connection is open after 50,000 resets")
}

// A call that begins late, as where there are more calls than processors, has less
// time before its deadline than its client gave it. That the client gives up a
// little before the deadline is no reset.
func TestLateCallsAreNotResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			left, runs time.Duration
			want       bool
		}{
			{4 * time.Millisecond, time.Millisecond, false},
			{20 * time.Millisecond, 19 * time.Millisecond, false},
			{20 * time.Millisecond, 15 * time.Millisecond, true},
			{time.Second, 10 * time.Millisecond, true},
			{0, time.Second, true}, // no deadline
		} {
			ctx, cancel := context.WithCancel(t.Context())
			if test.left > 0 {
				ctx, cancel = context.WithTimeout(ctx, test.left)
			}
			c := &call{Context: ctx, flight: &flight{}, method: &method{server: &Server{started: time.Now()}}}
			time.Sleep(test.runs)
			cancel()
			wantEqual(t, fmt.Sprintf("%v before its deadline, cancelled after %v", test.left, test.runs), c.cancelled(), test.want)
		}
	})
}
