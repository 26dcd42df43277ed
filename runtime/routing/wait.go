package routing

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// early is how long before its deadline a waiting call gives up, at most: time
// for the reason to reach who set the deadline, by way of the calls in between.
const early = 100 * time.Millisecond

// waiter is the picker while there is no instance to call.
type waiter struct {
	policy     *policy
	class      class
	connecting bool
	since      time.Time
	config     *policyConfig
	note       string
	lastErr    string // explained

	once sync.Once // thousands of calls may wait, and ask again and again
	none error     // what they are told
}

// Pick implements [balancer.Picker]. gRPC lets the call wait for the next
// picker, and names the error where its deadline ends before.
func (w *waiter) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	s := callOf(info.Ctx)
	if s == nil { // it found the connection ready, just before
		s = &call{start: w.since, config: w.config}
	}
	end, code := s.start.Add(s.config.MaxWait), codes.Unavailable
	if deadline, ok := info.Ctx.Deadline(); ok {
		if by := giveUp(s.start, deadline); by.Before(end) {
			end, code = by, codes.DeadlineExceeded
		}
	}
	if !time.Now().Before(end) {
		why := "the call's deadline ends"
		if code == codes.Unavailable {
			why = fmt.Sprintf("waited %v", s.config.MaxWait)
		}
		return balancer.PickResult{}, status.Errorf(code, "%s; %s", w.noInstance(s.config), why)
	}
	w.policy.lookAt(end)
	if s.failFast && w.connecting {
		return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
	}
	return balancer.PickResult{}, w.noInstance(s.config)
}

// noInstance returns the reason as an error. All calls of a Conn have the same
// config, but the balancer may not have been told of it yet.
func (w *waiter) noInstance(c *policyConfig) error {
	if c.Service == "" {
		return noInstance(w.reason(c))
	}
	w.once.Do(func() { w.none = noInstance(w.reason(c)) })
	return w.none
}

// giveUp returns when a call gives up because of its deadline: not before it
// has had nine tenths of its time.
func giveUp(start, deadline time.Time) time.Time {
	return deadline.Add(-min(early, max(0, deadline.Sub(start)/10)))
}

// reason says why no instance can be called. The cause comes first and where
// the instances come from last, because logs cut long texts in the middle.
func (w *waiter) reason(c *policyConfig) string {
	note := w.note
	if note == "" {
		note = "not known yet from " + c.Source
	}
	with := ""
	if w.class != plain {
		with = " with " + w.class.String()
	}
	none := fmt.Sprintf("no instance of %s%s can be called: %s", c.Service, with, note)
	if w.lastErr == "" {
		return none
	}
	return fmt.Sprintf("%s; with that last error %s", w.lastErr, none)
}

// noInstance is not a status, so gRPC lets calls wait.
type noInstance string

func (e noInstance) Error() string { return string(e) }
