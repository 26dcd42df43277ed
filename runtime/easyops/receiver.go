package easyops

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// receiver is the function by which the handler of a unary call gets its request.
// It is used again for other calls, because a function that knows its call is an
// allocation.
type receiver struct {
	call    *call
	decode  func(any) error // grpc-go's
	receive func(any) error // do
	next    *receiver       // of those that are idle
	after   int             // how many follow it there
}

// maxIdle bounds how many receivers a shard keeps.
const maxIdle = 256

// do decodes the request.
func (r *receiver) do(into any) error {
	if err := r.decode(into); err != nil {
		return notReceived(err)
	}
	if !r.call.method.server.calls.arrived(r.call) {
		return errTooManyCalls
	}
	return nil
}

// RecvMsg implements [grpc.ServerStream].
func (c *streamCall) RecvMsg(into any) error {
	err := c.ServerStream.RecvMsg(into)
	if err != nil {
		return notReceived(err)
	}
	return nil
}

// notReceived is the error of a request that grpc-go could not receive. What
// cannot be decoded or decompressed, or ends before it is whole, is the fault of
// who sent it, and so no INTERNAL: that is what people are woken for, and anyone
// could bring it about. The caller is told INTERNAL still, as gRPC has it: grpc-go
// has sent that by now.
func notReceived(err error) error {
	if st, ok := status.FromError(err); ok && st.Code() == codes.Internal {
		return status.Error(codes.InvalidArgument, st.Message())
	}
	return err
}

// newReceiver returns a receiver for a call. The caller holds the shard's lock.
func (s *shard) newReceiver(c *call) *receiver {
	r := s.idle
	if r == nil {
		r = &receiver{}
		r.receive = r.do
	}
	s.idle, r.next, r.call = r.next, nil, c
	return r
}

// keep keeps the receiver of a call that is over. The caller holds the shard's
// lock.
func (s *shard) keep(r *receiver) {
	r.call, r.decode, r.next, r.after = nil, nil, s.idle, 0
	if s.idle != nil {
		r.after = s.idle.after + 1
	}
	if r.after < maxIdle {
		s.idle = r
	}
}
