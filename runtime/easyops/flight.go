package easyops

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/port"
)

// flight is what is known of a call while it is in flight. It is used again for other
// calls: the memory of a call that has ended is kept with its context, for nobody knows
// how long, and this is most of it.
type flight struct {
	begun time.Duration // from the start of the server: a third of a time.Time
	use   *port.Use     // of its connection, nil where that is not known

	// The function by which the handler of a unary call gets its request: one that
	// knows its call is an allocation. It is good until the handler returns, as long as
	// generated code has it: later it would give out the request of another call.
	of      *call
	decode  func(any) error // grpc-go's
	receive func(any) error // do

	dice    uint32      // at random: whether it is logged
	arrived atomic.Bool // the request of a unary call has been received
	class   class       // that it is counted in
	part    uint8       // the shard that it is listed in
	listed  bool

	// Owned by the shard that the call is listed in.
	ignores    bool // it ended long ago, and the handler goes on
	next, prev *call
	over       time.Duration // from the start to when the context was first seen to have ended

	idle  *flight // the next of those that are
	after int     // how many follow it there
}

// maxIdle bounds how many flights a shard keeps.
const maxIdle = 256

// do decodes the request.
func (f *flight) do(into any) error {
	if err := f.decode(into); err != nil {
		return notReceived(err)
	}
	if !f.of.method.server.calls.arrived(f.of) {
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

// newFlight returns a flight for a call. The caller holds the shard's lock.
func (s *shard) newFlight() *flight {
	f := s.idle
	if f == nil {
		f = &flight{}
		f.receive = f.do
	}
	s.idle, f.idle = f.idle, nil
	return f
}

// keep keeps the flight of a call that is over. The caller holds the shard's lock.
func (s *shard) keep(f *flight) {
	*f = flight{receive: f.receive, idle: s.idle}
	if s.idle != nil {
		f.after = s.idle.after + 1
	}
	if f.after < maxIdle {
		s.idle = f
	}
}
