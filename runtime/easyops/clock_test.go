package easyops

import (
	"testing"
	"time"
)

// A clock that was put forward or back is noticed, so that identities expire by the
// time of the day.
func TestClockThatWasSet(t *testing.T) {
	c := clock{started: time.Now()}
	for _, set := range []time.Duration{0, time.Hour, -time.Hour, 0} {
		want := c.started.Round(0).Add(time.Minute + set)
		c.look(want, time.Minute)
		if got := c.at(time.Minute).Round(0); !got.Equal(want) {
			t.Errorf("set by %v: off by %v", set, got.Sub(want))
		}
	}
	c.look(c.started.Add(time.Minute), time.Minute)
	if got := c.at(time.Minute); !got.Equal(c.started.Add(time.Minute)) {
		t.Errorf("not set: %v", got)
	}
}
