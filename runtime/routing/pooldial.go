package routing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	// headStart is how long an attempt to connect has before another instance is
	// tried beside it, as RFC 8305 does with addresses: a host that is gone does not
	// answer at all, and to wait for that to be sure takes seconds.
	headStart = 500 * time.Millisecond
	// lanes is how many attempts of a Dial there are at once.
	lanes = 3
)

// Dial picks an instance and connects to it. One that refuses is left at once for the
// next; beside one that has not answered within 500 ms others are tried, and the
// first connection is taken. Each instance is tried once; while there is no other,
// Dial waits for one, and tries again those that may work by now, until
// [PoolConfig.MaxWait] is over. Then, or when the context ends, it fails with a
// [*NoInstanceError].
//
// The connection counts as load of the instance until it is closed, and has the
// methods of *net.TCPConn where it is one and there is no [PoolConfig.Secure]. It
// outlives the context and the Pool.
func (p *Pool) Dial(ctx context.Context) (net.Conn, registry.Instance, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(p.ended, func() { end(nil) })()
	r := &race{search: p.search(ctx), results: make(chan attempt), end: end}
	return r.run()
}

// race is attempts to connect, of which the first that succeeds wins.
type race struct {
	*search
	results chan attempt
	running int
	end     context.CancelCauseFunc // of all attempts
}

// errWon ends the attempts beside the one that has won.
var errWon = errors.New("another instance was faster")

// attempt is what became of one.
type attempt struct {
	pick *Pick
	conn net.Conn // nil where it failed
	err  error
}

func (r *race) run() (net.Conn, registry.Instance, error) {
	timer := time.NewTimer(headStart)
	defer timer.Stop()
	for r.ctx.Err() == nil {
		won, err := r.step(timer)
		if err != nil {
			return nil, registry.Instance{}, err
		}
		if won.conn != nil {
			r.end(errWon)
			return won.conn, won.pick.instance, nil
		}
	}
	return nil, registry.Instance{}, r.none()
}

// step starts an attempt if there is an instance for it, and waits for what comes
// next, which may be that one has won.
func (r *race) step(timer *time.Timer) (won attempt, err error) {
	k, w := r.pick()
	switch {
	case k != nil && !r.try(k):
		return won, r.none()
	case k != nil:
		timer.Reset(headStart)
	case r.running == 0:
		return won, r.wait(w)
	}
	select {
	case won = <-r.results:
		r.running--
		r.tried[won.pick.backend] = false
		if won.err != nil {
			r.lastErr = won.err
		}
	case <-timer.C:
	case <-w.news:
	case <-r.ctx.Done():
	}
	return won, nil
}

// pick chooses an instance for the next attempt, if there may be one.
func (r *race) pick() (*Pick, lack) {
	c := &r.pool.config
	if r.running == lanes || time.Since(r.start) > max(c.MaxWait, c.ConnectTimeout) {
		return nil, lack{}
	}
	return r.next()
}

// try begins an attempt.
func (r *race) try(k *Pick) bool {
	r.tried[k.backend] = true
	r.running++
	if !r.pool.begin(func() { r.attempt(k) }) {
		k.Done(context.Canceled)
		return false
	}
	return true
}

func (r *race) attempt(k *Pick) {
	conn, err := r.connect(k)
	select {
	case r.results <- attempt{k, conn, err}:
	case <-r.ctx.Done(): // another one has won, or nobody waits any more
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// connect connects, and notes whether that works.
func (r *race) connect(k *Pick) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.pool.config.ConnectTimeout)
	defer cancel()
	plain, err := r.pool.config.Dial(ctx, k.instance.Addr)
	conn := plain
	if err == nil {
		conn, err = r.secure(ctx, counted(plain, k), k.instance.Addr)
	}
	if err == nil {
		k.judge(nil)
		return conn, nil
	}
	k.Done(r.verdict(k, err))
	if plain != nil {
		_ = plain.Close()
	}
	return nil, err
}

// verdict says what the error of an attempt tells of the instance. One that was cut
// short because another one won was slow, or had no time. Where who called gave up, it
// may be far away, unless it had half of the time that there is.
func (r *race) verdict(k *Pick, err error) error {
	why, took, enough := context.Cause(r.ctx), time.Since(k.began), r.pool.config.ConnectTimeout/2
	if errors.Is(why, errWon) {
		enough = headStart
	}
	switch {
	case why == nil:
		return err
	case took < enough:
		return context.Canceled
	}
	return fmt.Errorf("%s: no connection within %v", k.instance.Addr, took.Round(time.Millisecond))
}

func (r *race) secure(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	if r.pool.config.Secure == nil {
		return conn, nil
	}
	secured, err := r.pool.config.Secure(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	return secured, nil
}

// counted returns the connection as one that is load until it is closed. One of TCP
// keeps its methods, by which bytes can go from one to another without being copied.
func counted(conn net.Conn, k *Pick) net.Conn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &countedTCP{tcp, k}
	}
	return &countedConn{conn, k}
}

type countedTCP struct {
	*net.TCPConn
	pick *Pick
}

func (c *countedTCP) Close() error {
	err := c.TCPConn.Close()
	c.pick.release()
	return err
}

type countedConn struct {
	net.Conn
	pick *Pick
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.pick.release()
	return err
}
