package easyops

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
		return err
	}
	if !r.call.method.server.calls.arrived(r.call) {
		return errTooManyCalls
	}
	return nil
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
