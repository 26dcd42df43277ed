package metrics

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// Method counts and times the calls of one method, in parts: callers that run at
// the same time name different ones, so that they do not wait for each other's
// memory. A call looks nothing up and allocates nothing, but for the first with a
// code. Its methods may be called concurrently, with parts from 0 to those of the
// [Set].
type Method struct {
	name  string
	parts []part
}

type part struct {
	started atomic.Uint64
	byCode  [len(statusNames)]atomic.Pointer[histogram]
	_       [48]byte // keeps started from a cache line of the part before
}

// histogram counts the calls that end with one code, in cache lines of its own.
type histogram struct {
	Latency
	_ [24]byte
}

func newMethod(name string, parts int) *Method {
	m := &Method{name: name, parts: make([]part, parts)}
	m.parts[0].histogram(codes.OK) // there is a series before the first call
	return m
}

// Started counts a call that begins.
func (m *Method) Started(part int) { m.parts[part].started.Add(1) }

// Done records a call that ended with code after d. A code that gRPC does not
// define counts as UNKNOWN.
func (m *Method) Done(part int, code codes.Code, d time.Duration) {
	if int(code) >= len(statusNames) {
		code = codes.Unknown
	}
	m.parts[part].histogram(code).Observe(d)
}

// histogram makes the histogram of a code when the first call ends with it: most
// methods only ever see a few of the seventeen.
func (p *part) histogram(code codes.Code) *histogram {
	if h := p.byCode[code].Load(); h != nil {
		return h
	}
	p.byCode[code].CompareAndSwap(nil, &histogram{})
	return p.byCode[code].Load()
}

// nameOf is the value of the label grpc_status for a code.
func nameOf(code codes.Code) string {
	if int(code) >= len(statusNames) {
		code = codes.Unknown
	}
	return statusNames[code]
}
