package port

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

const (
	// closeTime is what Close leaves to goroutines whose connections it has closed. Only a
	// TLS callback of the user's that ignores its context needs more.
	closeTime = time.Second
	// hurryTime is what is left to a connection that is being classified when the port drains.
	hurryTime = time.Second
	// lingerTime is how long a refused client gets to read its farewell.
	lingerTime = time.Second
	// The kernel's backlog counts as empty when a step yields nothing; all steps are bounded.
	backlogStep = 5 * time.Millisecond
	backlogTime = 200 * time.Millisecond
	// drainStep is how soon HTTP/2 connections that missed the GOAWAY get it.
	drainStep = 500 * time.Millisecond
)

var farewellHTTP1 = []byte("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

// StopAccepting takes the connections that the kernel has already accepted for the listener,
// so that their clients are not reset, and closes it; that takes 5 to 200 ms. Open
// connections are served as before.
// Call it before grpc.Server.GracefulStop: a client that was told to go elsewhere would come
// back to a port that still accepts, and gRPC clients do not take a second refusal of a call.
func (p *Port) StopAccepting() {
	p.stopOnce.Do(func() {
		p.backlogBy.Store(time.Now().Add(backlogTime).UnixNano())
		close(p.stop)
		if !p.acceptUntil(time.Now().Add(backlogStep)) {
			_ = p.lis.Close()
		}
	})
	if p.accepting.Load() {
		<-p.acceptDone
	}
	_ = p.lis.Close()
}

// acceptUntil lets Accept fail at t; it reports false for listeners that cannot.
func (p *Port) acceptUntil(t time.Time) bool {
	d, ok := p.lis.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(t) == nil
}

// backlogLeft reports whether Accept, which has just failed with err on a stopped port, is to
// be tried again: it is while it found connections in the step before.
func (p *Port) backlogLeft(err error, accepted int) bool {
	return accepted > 0 && errors.Is(err, os.ErrDeadlineExceeded) &&
		time.Now().UnixNano() < p.backlogBy.Load() && p.acceptUntil(time.Now().Add(backlogStep))
}

// Shutdown stops accepting and drains HTTP: requests in flight finish, HTTP/2 clients get
// GOAWAY. Connections that are still in their beginning get one second to finish it and are
// then served or, where their server has stopped, told to go elsewhere. It returns ctx's error
// if that ends first; Close then cuts what is left. gRPC is drained by grpc.Server.GracefulStop,
// after or at the same time; but calls that IsGRPC found are drained here, and GracefulStop
// of the server that has them would cut them. Functions registered with the http.Server's
// RegisterOnShutdown may run more than once.
func (p *Port) Shutdown(ctx context.Context) error {
	p.StopAccepting()
	p.http.SetKeepAlivesEnabled(false)
	p.hurry()
	first, cancel := context.WithTimeout(ctx, hurryTime)
	defer cancel()
	wait(first, p.quiet())
	err := p.drainHTTP(ctx)
	wait(ctx, p.quiet()) // for farewells that are being read
	return err
}

func wait(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// drainHTTP shuts the HTTP server down in steps: an HTTP/2 connection that it was just about to
// begin when it sent all others GOAWAY is sent one by the next step.
func (p *Port) drainHTTP(ctx context.Context) error {
	for {
		step, cancel := context.WithTimeout(ctx, drainStep)
		err := p.http.Shutdown(step)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

// hurry shortens the deadline of every connection that is being classified, and turns those
// away that have sent no request and no part of one.
func (p *Port) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hurryBy.IsZero() {
		p.hurryBy = time.Now().Add(min(hurryTime, p.cfg.ClassifyTimeout))
	}
	for c := range p.conns {
		switch {
		case c.proto != classifying:
		case c.waiting:
			_ = c.SetReadDeadline(aLongTimeAgo)
		default:
			_ = c.SetDeadline(p.hurryBy)
		}
	}
}

// Close closes the listener and every connection, and waits for the port's own goroutines.
func (p *Port) Close() error {
	p.mu.Lock()
	p.closed = true
	open := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		open = append(open, c)
	}
	p.mu.Unlock()

	p.stopOnce.Do(func() {
		close(p.stop)
		_ = p.lis.Close()
	})
	err := p.http.Close() // before its queue, so that it knows it is being closed
	_ = p.httpQueue.Close()
	_ = p.grpcQueue.Close()
	for _, c := range open {
		_ = c.Close()
	}
	if p.accepting.Load() {
		<-p.acceptDone
	}
	select {
	case <-p.quiet():
	case <-time.After(closeTime):
		err = errors.Join(err, errors.New("port: a callback of the TLS configuration has not returned"))
	}
	return err
}

// sayGoodbye writes a last message and closes once the client has had time to read it: closing
// with unread data in the socket makes the kernel reset the connection and drop the message.
func sayGoodbye(c *conn, nc net.Conn, message []byte) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(lingerTime))
	if _, err := nc.Write(message); err != nil {
		return
	}
	_ = closeWrite(nc) // TLS's close_notify
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}
