package easyops

import (
	"sync/atomic"
	"time"
)

// clock tells calls what time it is by what they know anyway, how long the server has
// been up: a look at the clock is dearer than all else of knowing a caller who was here
// before. Somebody who sets the clock is noticed within a second.
type clock struct {
	started time.Time
	set     atomic.Int64 // by how much the clock was put forward since the start
}

// at returns the time of the day after so long.
func (c *clock) at(uptime time.Duration) time.Time {
	return c.started.Add(uptime + time.Duration(c.set.Load()))
}

// look notices whether somebody has set the clock. It is called once a second, with how
// long the server has been up by the clock that nobody sets, which Round takes off.
func (c *clock) look(now time.Time, uptime time.Duration) {
	c.set.Store(int64(now.Round(0).Sub(c.started.Round(0)) - uptime))
}
