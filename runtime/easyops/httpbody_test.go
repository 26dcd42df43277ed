package easyops

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/auth"
)

// stalled are the handlers of methods that do not read what they are sent.
func stalled(end <-chan struct{}) *funcs {
	return &funcs{
		up:     func(up) error { <-end; return nil },
		duplex: func(duplex) error { <-end; return nil },
	}
}

const uploadPart = 64 << 10

// upload sends parts of a stream until so many bytes are sent, or the stream ends.
func upload(s grpc.ClientStream, size int64) *atomic.Int64 {
	sent := new(atomic.Int64)
	part := &testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: make([]byte, uploadPart)}}
	go func() {
		for sent.Load() < size && s.SendMsg(part) == nil {
			sent.Add(uploadPart)
		}
	}()
	return sent
}

// openUp opens a stream of a method by its name.
func openUp(t testing.TB, conn grpc.ClientConnInterface, method string, opts ...grpc.CallOption) grpc.ClientStream {
	t.Helper()
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+method, opts...)
	wantCode(t, err, codes.OK)
	return s
}

// What a handler does not read stays with the client, but for the window of the stream.
func TestUnreadStreamIsNotKept(t *testing.T) {
	const size, window, most = 64 << 20, 256 << 10, 1 << 20
	for _, method := range []string{upMethod, duplexMethod} {
		t.Run(method, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				end := make(chan struct{})
				r := newRig(t, w, stalled(end), WithLimits(Limits{StreamWindow: window}))
				s := openUp(t, r.dial(), method)
				sent := upload(s, size)
				synctest.Wait()
				if n := sent.Load(); n == 0 || n > most {
					t.Errorf("%d bytes were taken, want at most %d", n, most)
				}
				close(end)
				synctest.Wait()
				for err := error(nil); err == nil; {
					err = s.RecvMsg(&testpb.StreamingInputCallResponse{})
				}
				wantEqual(t, "in flight", r.calls.inFlight(), 0)
			})
		})
	}
}

// While it is found out who calls, little of what the caller sends is taken.
func TestRequestBeforeIdentityIsNotKept(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		asked := make(chan struct{})
		r := newRig(t, w, &funcs{}, WithLimits(Limits{StreamWindow: 256 << 10}), WithAuthenticator(auth.AuthenticatorFunc(func(context.Context, auth.Credential) (auth.Identity, error) {
			<-asked
			return auth.Identity{}, errors.New("nobody")
		})))
		call := make(chan error)
		go func() {
			_, err := r.client().UnaryCall(as(t.Context(), "user.alice"), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 32<<20)}})
			call <- err
		}()
		synctest.Wait()
		if n := r.onlyInbound().Received; n > 1<<20 {
			t.Errorf("%d bytes were taken", n)
		}
		close(asked)
		wantCode(t, <-call, codes.Unauthenticated)
	})
}

// The control of both: grpc-go itself takes all.
func TestUnreadStreamIsKeptByGRPC(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size = 64 << 20
		end := make(chan struct{})
		g := grpc.NewServer()
		testpb.RegisterTestServiceServer(g, stalled(end))
		lis := listenInMemory()
		srv := &http.Server{Handler: g, TLSConfig: &tls.Config{Certificates: []tls.Certificate{testCert()}, MinVersion: tls.VersionTLS12}}
		go func() { _ = srv.ServeTLS(lis, "", "") }()
		r := &rig{t: t, way: ways[1], lis: lis}
		conn := r.dial()
		sent := upload(openUp(t, conn, upMethod), size)
		synctest.Wait()
		wantEqual(t, "bytes taken", sent.Load(), size)
		close(end)
		_ = conn.Close()
		_ = srv.Close()
		g.Stop()
		synctest.Wait()
	})
}

// Streams that nobody reads, as many as a connection may have beside one, leave room for
// the other calls of their connection, whatever their window.
func TestStalledStreamsStallNoOther(t *testing.T) {
	for _, test := range []struct{ streams, window int }{
		{50, 256 << 10},
		{70, 256 << 10},
		{streamsPerConn - 2, 64 << 10},
		{20, 0},
		{20, -1},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				end := make(chan struct{})
				defer close(end)
				r := newRig(t, w, stalled(end), WithLimits(Limits{StreamWindow: test.window}))
				conn := r.dial()
				for range test.streams {
					upload(openUp(t, conn, upMethod), 64<<20)
				}
				synctest.Wait()
				for range 10 {
					begun := time.Now()
					_, err := testpb.NewTestServiceClient(conn).UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 1<<20)}})
					wantCode(t, err, codes.OK)
					wantWithin(t, "the call", begun, 0, time.Second)
				}
			})
		})
	}
}

// Whatever the sizes of messages and however they are sent and read, all arrive.
func TestAllOfAStreamArrives(t *testing.T) {
	pauses := map[string]time.Duration{"at once": 0, "slowly": time.Second}
	mixed := []int{0, 400_000, 1, 0, 0, 70_000, 5, 200_000, 0}
	sizes := map[string][]int{
		"empty":       make([]int, 3000),
		"small":       slices.Repeat([]int{100}, 2000),
		"a buffer":    {16<<10 - 13, 16<<10 - 12, 16<<10 - 11, 16<<10 - 10, 16<<10 - 9, 16<<10 - 8, 16<<10 - 7, 16 << 10},
		"read ahead":  {readAhead - 10, readAhead, readAhead + 1, 4 * readAhead},
		"the largest": {4<<20 - 100, 0, 4<<20 - 100},
		"mixed":       mixed,
	}
	for how, pause := range pauses {
		impl := &funcs{duplex: func(s duplex) error { return sendBack(s, pause) }}
		for which, sizes := range sizes {
			t.Run(which+", read "+how, func(t *testing.T) {
				inBubble(t, func(t *testing.T) { newRig(t, ways[1], impl).sendAll(sizes) })
			})
		}
		t.Run("compressed, read "+how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) { newRig(t, ways[1], impl).sendAll(mixed, grpc.UseCompressor(gzip.Name)) })
		})
	}
}

// sendBack answers each message with the same, and pauses first and now and then.
func sendBack(s duplex, pause time.Duration) error {
	for n := 0; ; n++ {
		if n < 5 || n%100 == 0 {
			time.Sleep(pause)
		}
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

// sendAll sends messages of the sizes, and expects each back.
func (r *rig) sendAll(sizes []int, opts ...grpc.CallOption) {
	s, err := r.client().FullDuplexCall(r.t.Context(), opts...)
	wantCode(r.t, err, codes.OK)
	body := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body)
	go func() {
		for _, n := range sizes {
			_ = s.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: body[:n]}})
		}
		_ = s.CloseSend()
	}()
	for i, n := range sizes {
		out, err := s.Recv()
		if err != nil || !bytes.Equal(out.GetPayload().GetBody(), body[:n]) {
			r.t.Fatalf("message %d of %d bytes: %v", i, n, err)
		}
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		r.t.Errorf("after the last: %v", err)
	}
}

// Requests of every size arrive, however they are cut, and the handler may ask late.
func TestAllOfARequestArrives(t *testing.T) {
	for _, interceptor := range []bool{false, true} {
		eachWay(t, func(t *testing.T, w way) {
			var opts []ServerOption
			if interceptor {
				opts = append(opts, WithGRPC(grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
					time.Sleep(time.Minute)
					return next(srv, ss)
				})))
			}
			r := newRig(t, w, &funcs{down: func(in *testpb.StreamingOutputCallRequest, s down) error {
				return s.Send(&testpb.StreamingOutputCallResponse{Payload: in.Payload})
			}}, opts...)
			client := r.client()
			for _, n := range []int{0, 1, 20_000, readAhead - 20, readAhead, readAhead + 1, 1 << 20, 4<<20 - 100} {
				body := &testpb.Payload{Body: make([]byte, n)}
				out, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: body})
				wantCode(t, err, codes.OK)
				wantEqual(t, "bytes", len(out.GetPayload().GetBody()), n)
				s, err := client.StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{Payload: body})
				wantCode(t, err, codes.OK)
				got, err := s.Recv()
				wantCode(t, err, codes.OK)
				wantEqual(t, "bytes", len(got.GetPayload().GetBody()), n)
			}
		})
	}
}

// A method that takes one message says so, however long the second is, and does not
// wait for more than is read ahead.
func TestTooManyRequests(t *testing.T) {
	for _, first := range []int{0, 100, 60_000, 1 << 20} {
		for _, second := range []int{0, 100, readAhead, 8 * readAhead, 1 << 20} {
			for _, method := range []string{unaryMethod, downMethod} {
				eachWay(t, func(t *testing.T, w way) {
					r := newRig(t, w, &funcs{})
					body := string(framed(first)) + string(framed(second))
					if got, want := r.callRaw(method, "", body), fmt.Sprint(int(codes.Internal)); got != want {
						t.Errorf("%s, %d and %d bytes: %s, want %s", method, first, second, got, want)
					}
					r.await("the call is counted as the caller's fault", func() bool {
						return r.sample("grpc_server_call_duration_seconds", "grpc_method", method, "grpc_status", "INVALID_ARGUMENT") == 1
					})
				})
			}
		}
	}
}

// framed is a message of the test service of about so many bytes, with its prefix.
func framed(size int) []byte {
	var body []byte
	if size > 0 {
		body = binary.AppendUvarint([]byte{0xc2, 0x3e}, uint64(size)) // bytes of the field 1000, which nobody knows
		body = append(body, make([]byte, size)...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
}

// Bytes that come one by one take no more buffers than others.
func TestTricklingBody(t *testing.T) {
	const size = 1 << 20
	wire := append(framed(size), bytes.Repeat(framed(100), 1000)...)
	reads := func(body io.Reader) (n int) {
		b := bodyOf(body)
		b.asked, b.waiting = 1<<30, true
		for buf := make([]byte, 16<<10); ; n++ {
			if _, err := b.Read(buf); err != nil {
				return n
			}
		}
	}
	if n, most := reads(iotest.OneByteReader(bytes.NewReader(wire))), size/(16<<10)+2+2*1000; n > most {
		t.Errorf("%d reads of %d bytes, want at most %d", n, len(wire), most)
	}
	if n, most := reads(bytes.NewReader(wire)), len(wire)/(16<<10)+3; n > most {
		t.Errorf("%d reads of %d bytes, want at most %d", n, len(wire), most)
	}
}

// bodyOf returns a paced body.
func bodyOf(r io.Reader) *pacedBody {
	req, _ := http.NewRequest(http.MethodPost, "http://localhost/", io.NopCloser(r))
	return paced(req).Body.(*pacedBody)
}

// A Read that waits ends when the body is closed, and gets what the body says then.
func TestClosedBody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := bodyOf(bytes.NewReader(bytes.Repeat(framed(100), 10_000)))
		read, err := make(chan int64), error(nil)
		go func() {
			var n int64
			buf := make([]byte, 16<<10)
			for n = 0; b.ahead < readAhead; {
				k, _ := b.Read(buf)
				n += int64(k)
			}
			read <- n
			_, err = b.Read(buf)
			read <- 0
		}()
		if n := <-read; n > readAhead {
			t.Errorf("%d bytes were read ahead", n)
		}
		synctest.Wait()
		select {
		case <-read:
			t.Error("more is read than may be")
		default:
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		<-read
		wantCode(t, err, codes.OK)
	})
}

func FuzzFraming(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x03abc\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01x"), uint64(1))
	f.Add(bytes.Repeat([]byte{0}, 23), uint64(2))
	f.Fuzz(func(t *testing.T, wire []byte, seed uint64) {
		begun, ended := messagesIn(wire)
		dice := rand.New(rand.NewPCG(seed, 0)) // #nosec G404 -- of a test
		var frames framing
		for rest := wire; len(rest) > 0; {
			n := 1 + dice.IntN(len(rest))
			b, e := frames.take(rest[:n])
			begun, ended, rest = begun-b, ended-e, rest[n:]
		}
		if begun != 0 || ended != 0 {
			t.Errorf("%d begun and %d ended are missing of %x", begun, ended, wire)
		}
	})
}

// messagesIn counts messages in the plain way.
func messagesIn(wire []byte) (begun, ended int) {
	for len(wire) >= 5 {
		size := int64(binary.BigEndian.Uint32(wire[1:5]))
		begun++
		if int64(len(wire)) < 5+size {
			break
		}
		ended++
		wire = wire[5+size:]
	}
	return begun, ended
}
