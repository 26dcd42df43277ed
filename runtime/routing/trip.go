package routing

import (
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// result is what came of a call at an instance.
type result struct {
	outcome  outcome
	trial    bool
	stream   bool
	answered bool // its time is one that a call takes
	took     time.Duration
	counts   bool // it was a call, and not only a choice
	lost     bool // maybe with its connection
	excused  bool // if it was late
	err      error
}

// note is called with the lock of the member.
func (m *member) note(now time.Time, r result) {
	if r.counts {
		m.calls++
	}
	if r.outcome != unknown && r.outcome != fine {
		m.failures++
	}
	if r.stream {
		return
	}
	if r.answered {
		m.average.add(now, r.took)
	} else if r.counts {
		m.average.atLeast(now, r.took)
	}
	m.load.set(&m.average)
}

// trip is a call at an instance. Trips are used again, so that a call needs no
// memory for one.
type trip struct {
	member *member
	ward   *ward
	start  time.Time
	stream bool
	trial  bool
	done   func(balancer.DoneInfo) // its own end
}

var trips sync.Pool

func begin(m *member, w *ward, now time.Time, stream, trial bool) *trip {
	t, _ := trips.Get().(*trip)
	if t == nil {
		t = &trip{}
		t.done = t.end
	}
	t.member, t.ward, t.start, t.stream, t.trial = m, w, now, stream, trial
	m.load.begin(stream, now)
	return t
}

// end is called once by gRPC.
func (t *trip) end(info balancer.DoneInfo) {
	now := clock()
	t.member.load.end(t.stream, now)
	t.ward.done(t.member, now, t.result(info, now.Sub(t.start)))
	t.member, t.ward = nil, nil
	trips.Put(t)
}

// result says what the end of a call tells of the instance.
func (t *trip) result(info balancer.DoneInfo, took time.Duration) result {
	r := result{trial: t.trial, stream: t.stream, took: took, err: info.Err, counts: info.BytesSent || info.Err != nil}
	r.outcome = outcomeOf(info, t.stream)
	if r.outcome == late && took < t.ward.fastest() {
		r.outcome = unknown // no instance could have done it
	}
	r.lost = r.outcome == broken && !answeredAtOnce(info)
	r.answered = r.outcome == fine && info.BytesReceived
	return r
}

// outcomeOf says what the end of a call tells of its instance.
//
// An error of the client itself looks like one of the server, but for those that
// answeredAtOnce is sure of. At most it may be faulty, because it is made at all
// instances alike.
//
// gRPC tells of no error where it notices that the connection is gone before the
// call was sent, and where an answer that is an error comes before the request is
// sent whole. The latter, which is rare, counts as fine. It does tell of those
// errors after which it sends the call once more.
func outcomeOf(info balancer.DoneInfo, stream bool) outcome {
	code := status.Code(info.Err)
	switch {
	case code == codes.Canceled, !info.BytesSent, code == codes.OK && !info.BytesReceived:
		return unknown // the instance has not seen it, or nobody has waited for it
	case code == codes.DeadlineExceeded:
		if stream && info.BytesReceived { // many streams end like this
			return fine
		}
		return late
	case code == codes.Unavailable: // it says so, or it ended the stream or the connection
		return broken
	case code == codes.ResourceExhausted && answeredAtOnce(info):
		return broken
	}
	switch code {
	case codes.ResourceExhausted, codes.Internal, codes.Unknown, codes.DataLoss:
		return faulty // or the client made it: of messages too large for it, or that it cannot read or write
	}
	if info.BytesReceived {
		return fine
	}
	return unknown
}

// answeredAtOnce reports whether the status was all of the answer, so that it is
// certainly the server's: only then the content type is among the trailers.
func answeredAtOnce(info balancer.DoneInfo) bool { return len(info.Trailer.Get("content-type")) > 0 }
