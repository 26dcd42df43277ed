package easyops

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// pacedBody is the body of a gRPC call that came by net/http. grpc-go reads such a
// body as fast as it comes, and keeps what the handler has not taken, however much
// that is. From this one it gets what the handler waits for, and a little ahead; the
// rest is left to the flow control of HTTP/2, which makes the client wait.
//
// It is also the context of its request, by which the handler's side finds it.
type pacedBody struct {
	context.Context
	io.ReadCloser
	frames framing // of what was read, for Read alone

	mu      sync.Mutex
	more    sync.Cond // Read may go on
	ahead   int       // bytes of the buffers that were filled since the handler had all, and did not wait
	whole   int       // messages that were read
	asked   int       // messages that the handler has asked for
	waiting bool      // for the last of them
	single  bool      // the method takes one message
	closed  bool
}

// readAhead is how many bytes of buffers are read before a handler asks for what
// is in them.
const readAhead = 64 << 10

type bodyKey struct{}

// paced returns the request with such a body. Whoever calls it closes the body.
func paced(r *http.Request) *http.Request {
	b := &pacedBody{Context: r.Context(), ReadCloser: r.Body}
	b.more.L = &b.mu
	r = r.WithContext(b)
	r.Body = b
	return r
}

// Value implements [context.Context].
func (b *pacedBody) Value(key any) any {
	if key == (bodyKey{}) {
		return b
	}
	return b.Context.Value(key)
}

// Read implements [io.Reader]. It returns as soon as there is something to do for
// the handler, where a message begins or ends, and not before: grpc-go takes a buffer
// for each Read, even of a byte.
func (b *pacedBody) Read(p []byte) (n int, err error) {
	surplus := b.await(len(p))
	for err == nil && n < len(p) {
		var k int
		k, err = b.ReadCloser.Read(p[n:])
		if surplus && k > 0 {
			return 0, io.ErrUnexpectedEOF
		}
		begun, ended := b.frames.take(p[n : n+k])
		n += k
		if ended > 0 {
			b.arrived(ended)
		}
		if begun+ended > 0 {
			break
		}
	}
	return n, err
}

// await waits until so many bytes may be read, and counts them where the handler does
// not wait for them. Where a method takes one message, and more than is read ahead
// comes with it, it tells that what comes yet is too much. grpc-go reads on for the end.
func (b *pacedBody) await(size int) (surplus bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.ahead >= readAhead && !b.wanted() && !b.closed {
		if b.single && b.whole > 0 {
			return true
		}
		b.more.Wait()
	}
	if !b.wanted() {
		b.ahead += size
	}
	return false
}

// wanted tells whether the handler waits for a message that has not arrived. It is
// read however long it is: grpc-go has refused it where it is too long.
func (b *pacedBody) wanted() bool { return b.waiting && b.whole < b.asked }

func (b *pacedBody) arrived(messages int) {
	b.mu.Lock()
	b.whole += messages
	b.mu.Unlock()
}

// Close implements [io.Closer]. It ends a Read too.
func (b *pacedBody) Close() error {
	b.mu.Lock()
	b.closed = true
	b.more.Signal()
	b.mu.Unlock()
	return b.ReadCloser.Close()
}

// receive is RecvMsg of the handler, which asks for a message by it.
func (b *pacedBody) receive(from func(any) error, into any) error {
	b.mu.Lock()
	b.asked++
	b.waiting = true
	b.more.Signal()
	b.mu.Unlock()
	defer b.taken()
	err := from(into)
	if errors.Is(err, io.ErrUnexpectedEOF) { // of what follows the only message, grpc-go returns it as it is
		err = status.Error(codes.Internal, err.Error())
	}
	return err
}

// taken notes that the handler has what it has asked for.
func (b *pacedBody) taken() {
	b.mu.Lock()
	b.waiting = false
	if b.whole <= b.asked {
		b.ahead = 0
		b.more.Signal()
	}
	b.mu.Unlock()
}

// takesOne notes that the method takes one message.
func (b *pacedBody) takesOne() {
	b.mu.Lock()
	b.single = true
	b.more.Signal()
	b.mu.Unlock()
}

// framing follows the messages of a body through its bytes.
type framing struct {
	prefix [5]byte // a flag and the length, as gRPC has it before each message
	have   int     // bytes of the prefix
	left   uint32  // bytes of the message to come, once the prefix is whole
}

// take tells how many messages begin and end in what comes next. One begins when its
// length is known.
func (f *framing) take(p []byte) (begun, ended int) {
	for len(p) > 0 {
		if f.have < len(f.prefix) {
			n := copy(f.prefix[f.have:], p)
			f.have += n
			p = p[n:]
			if f.have < len(f.prefix) {
				return begun, ended
			}
			f.left = binary.BigEndian.Uint32(f.prefix[1:])
			begun++
		}
		n := min(uint64(f.left), uint64(len(p)))
		f.left -= uint32(n)
		p = p[n:]
		if f.left == 0 {
			f.have = 0
			ended++
		}
	}
	return begun, ended
}

// pace returns a copy of a service's descriptor whose unary methods ask for their
// requests. Streaming ones do by paceStream, as do those that are not registered.
func pace(desc *grpc.ServiceDesc) *grpc.ServiceDesc {
	asking := *desc
	asking.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, d := range desc.Methods {
		asking.Methods[i] = grpc.MethodDesc{MethodName: d.MethodName, Handler: paceUnary(d.Handler)}
	}
	return &asking
}

func paceUnary(handler grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, i grpc.UnaryServerInterceptor) (any, error) {
		b, ok := ctx.Value(bodyKey{}).(*pacedBody)
		if !ok {
			return handler(srv, ctx, decode, i)
		}
		b.takesOne()
		return handler(srv, ctx, func(into any) error { return b.receive(decode, into) }, i)
	}
}

// paceStream returns an interceptor that comes before another, if there is one.
func paceStream(next grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if b, ok := ss.Context().Value(bodyKey{}).(*pacedBody); ok {
			if !info.IsClientStream {
				b.takesOne()
			}
			ss = pacedStream{ss, b}
		}
		if next == nil {
			return handler(srv, ss)
		}
		return next(srv, ss, info, handler)
	}
}

// pacedStream is the stream of a call with such a body.
type pacedStream struct {
	grpc.ServerStream
	body *pacedBody
}

// RecvMsg implements [grpc.ServerStream].
func (s pacedStream) RecvMsg(into any) error { return s.body.receive(s.ServerStream.RecvMsg, into) }
