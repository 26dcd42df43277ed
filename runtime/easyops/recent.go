package easyops

import (
	"errors"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/status"
)

// recentKept is how many of the last errors the overview shows, of the server's
// own faults and of the rest each.
const recentKept = 50

// recentErrors are the last calls that failed. What clients bring about must not
// push out the server's own faults. Its zero value is ready for use.
type recentErrors struct{ faults, rest recentRing }

// recentRing is a bounded list, in which errors that say the same of a method are
// one. A flood of errors costs it no more than the access log: those of a second
// that are looked at are bounded.
type recentRing struct {
	lines budget

	mu   sync.Mutex
	last []status.RecentError // the latest at the end
}

// add notes that a call has failed; an err of nil is none.
func (r *recentErrors) add(c *call, code codes.Code, err error) {
	if err == nil {
		return
	}
	fault := isFault(code, c.isRegistered())
	ring := &r.rest
	if fault {
		ring = &r.faults
	}
	now := c.start().Add(c.age())
	if _, ok := ring.lines.take(now, linesPerSecond); ok {
		e := describeError(c, code, err, now)
		e.Fault = fault
		ring.add(e)
	}
}

// isRegistered tells whether what was called is there.
func (c *call) isRegistered() bool { return c.method != c.method.server.unknown }

// describeError keeps what the access log does.
func describeError(c *call, code codes.Code, err error, now time.Time) status.RecentError {
	if r, ok := errors.AsType[*refusal](err); ok {
		err = r.cause
	}
	e := status.RecentError{
		Time: now.UTC(), Count: 1, Method: c.method.name, Code: codeName(code), Peer: c.peer(), Error: cleanError(messageOf(err)),
	}
	if u := c.caller.User; u != nil {
		e.User = clean(u.ID)
	}
	if s := c.caller.Service; s != nil {
		e.Service = clean(s.ID)
	}
	return e
}

// messageOf is an error without the code, which is said already. Around one that
// is wrapped there is more text.
func messageOf(err error) string {
	if s, ok := err.(interface{ GRPCStatus() *grpcstatus.Status }); ok {
		return s.GRPCStatus().Message()
	}
	return err.Error()
}

func (r *recentRing) add(e status.RecentError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := func(o status.RecentError) bool {
		return o.Error == e.Error && o.Method == e.Method && o.Code == e.Code
	}
	if i := slices.IndexFunc(r.last, same); i >= 0 {
		e.Count += r.last[i].Count
		r.last = slices.Delete(r.last, i, i+1)
	}
	r.last = keep(r.last, e, recentKept)
}

func (r *recentRing) appendTo(all []status.RecentError) []status.RecentError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(all, r.last...)
}

// all are the errors, the latest first.
func (r *recentErrors) all() []status.RecentError {
	all := r.rest.appendTo(r.faults.appendTo([]status.RecentError{}))
	sort.SliceStable(all, func(i, j int) bool { return all[i].Time.After(all[j].Time) })
	return all
}

// codeName is a code as gRPC spells it, such as "NOT_FOUND".
func codeName(code codes.Code) string {
	if code == codes.Canceled {
		return "CANCELLED" // with two L, unlike the constant
	}
	var b strings.Builder
	name := code.String()
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) && unicode.IsLower(rune(name[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}
