package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

// backend is an HTTP service behind the edge: an [http.RoundTripper] that sends each
// request to one of its instances. What could not be sent, because an instance could
// not be connected to, goes to another; what was sent is not sent again, except by
// net/http where that is safe.
type backend struct {
	holder
	service string
	timeout time.Duration // to find an instance that can be connected to
	pool    *routing.Pool
	tls     *tls.Config // nil: plaintext
	conns   *http.Transport
	old     *http.Transport // HTTP/1.1 alone, for what becomes another protocol
}

// idle is how long connections wait for the next request. Servers of easyops end
// theirs after a minute: who ends first loses no request on the way.
const idle = 45 * time.Second

func newBackend(c *TableConfig, service string, timeout time.Duration) (*backend, error) {
	b := &backend{service: service, timeout: timeout}
	var err error
	b.pool, err = routing.NewPool(routing.PoolConfig{
		Service: service, Kind: registry.KindHTTP, Registry: c.Registry, Zone: c.Zone,
		MaxWait: timeout, ConnectTimeout: timeout, Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		b.tls = c.TLS(service)
	}
	b.conns, b.old = b.transport("h2", "http/1.1"), b.transport("http/1.1")
	b.holder.close, b.holder.all = b.shut, c.open
	c.open.Add(1)
	return b, nil
}

// transport returns one that speaks the protocols, where there is TLS, and HTTP/1.1
// where there is not.
func (b *backend) transport(protocols ...string) *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return b.dial(ctx, addr) },
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return b.dialTLS(ctx, addr, protocols)
		},
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 8 * time.Second},
		DisableCompression:     true, // what the client asked for, and nothing else
		MaxIdleConnsPerHost:    128,
		IdleConnTimeout:        idle,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(len(protocols) > 1)
	return t
}

// dialError is that of a connection that did not come about: nothing was sent.
type dialError struct{ cause error }

func (e *dialError) Error() string { return e.cause.Error() }
func (e *dialError) Unwrap() error { return e.cause }

// dial connects to an instance, within a part of the time that there is, so that some
// is left for another one.
func (b *backend) dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: b.timeout / 3, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, &dialError{err}
	}
	return conn, nil
}

func (b *backend) dialTLS(ctx context.Context, addr string, protocols []string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout/3)
	defer cancel()
	plain, err := b.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	config := b.tls.Clone()
	config.ServerName, config.NextProtos = b.service, protocols
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, &dialError{errors.Join(fmt.Errorf("%s: %w", addr, err), plain.Close())}
	}
	return conn, nil
}

// RoundTrip implements [http.RoundTripper]. An instance is that of the request until
// the body of the answer is closed.
func (b *backend) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), b.timeout+grace)
	defer cancel()
	var failed attempts
	for {
		pick, err := b.pool.Pick(ctx)
		if err != nil {
			return nil, unreachable(r.Context(), err, failed.last)
		}
		if err := failed.pause(ctx, pick.Instance().Addr); err != nil {
			pick.Done(context.Canceled)
			return nil, unreachable(r.Context(), err, failed.last)
		}
		resp, err := b.send(r, pick)
		dial, ok := errors.AsType[*dialError](err)
		if !ok {
			return resp, err
		}
		failed.note(pick.Instance().Addr, dial.cause)
	}
}

// grace is how much longer a request waits than its pool, which knows more of the
// reason.
const grace = 100 * time.Millisecond

// attempts are the connections that did not come about for a request.
type attempts struct {
	addrs []string
	last  error
}

func (a *attempts) note(addr string, err error) {
	a.addrs, a.last = append(a.addrs, addr), err
}

// The pauses before an instance is tried again by the same request, because there is
// no other.
const (
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
)

// pause waits where an instance was tried already, and for longer each time.
func (a *attempts) pause(ctx context.Context, addr string) error {
	if !slices.Contains(a.addrs, addr) {
		return nil
	}
	timer := time.NewTimer(min(firstPause<<min(len(a.addrs)-1, 10), maxPause))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errNoInstance
	}
}

// unreachableError is that of a request that went to nobody.
type unreachableError struct{ cause error }

func (e *unreachableError) Error() string { return e.cause.Error() }
func (e *unreachableError) Unwrap() error { return e.cause }

func unreachable(ctx context.Context, err, last error) error {
	if ctx.Err() != nil {
		return ctx.Err() // the client's doing
	}
	if last != nil {
		err = fmt.Errorf("%w; the last attempt: %w", err, last)
	}
	return &unreachableError{err}
}

// send sends a request to an instance.
func (b *backend) send(r *http.Request, pick *routing.Pick) (*http.Response, error) {
	addr := pick.Instance().Addr
	if b.tls == nil && carriesToken(r.Header) && !isLoopback(addr) {
		pick.Done(context.Canceled)
		return nil, &plaintextError{b.service, addr}
	}
	out, to := r.WithContext(r.Context()), *r.URL
	out.URL, to.Scheme, to.Host = &to, b.scheme(), addr
	if out.Body != nil {
		out.Body = io.NopCloser(out.Body) // the next attempt needs it as well
	}
	transport := b.conns
	if out.Header.Get("Upgrade") != "" {
		transport = b.old
	}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		pick.Done(verdict(r.Context(), err))
		return nil, err
	}
	resp.Body = doneAtClose(resp.Body, pick)
	return resp, nil
}

func (b *backend) scheme() string {
	if b.tls == nil {
		return "http"
	}
	return "https"
}

// verdict is what an error says of the instance: only that it cannot be connected to.
// A request that a server breaks off would otherwise keep others from it.
func verdict(ctx context.Context, err error) error {
	if dial, ok := errors.AsType[*dialError](err); ok && ctx.Err() == nil {
		return dial.cause
	}
	return context.Canceled
}

// plaintextError is that of a token that must not leave the machine unencrypted.
type plaintextError struct{ service, addr string }

func (e *plaintextError) Error() string {
	return fmt.Sprintf("a request to %s was not sent: it carries a token, and the connection to %s leaves this machine unencrypted: give the service a certificate (its -easyops.tls-cert, -easyops.tls-key), and the edge the authority (-easyops.tls-ca)", e.service, e.addr)
}

func carriesToken(h http.Header) bool {
	return len(h[http.CanonicalHeaderKey(auth.UserHeader)]) > 0
}

// isLoopback tells whether connections to an address stay on this machine. What a name
// leads to may change.
func isLoopback(addr string) bool {
	at, err := netip.ParseAddrPort(addr)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// shut closes the connections that are idle; nothing else is left.
func (b *backend) shut() error {
	b.conns.CloseIdleConnections()
	b.old.CloseIdleConnections()
	return b.pool.Close()
}

// doneAtClose ends the share of load that a request has when its answer is closed.
func doneAtClose(body io.ReadCloser, pick *routing.Pick) io.ReadCloser {
	if both, ok := body.(io.ReadWriteCloser); ok { // of 101 Switching Protocols
		return &countedUpgrade{both, pick}
	}
	return &countedBody{body, pick}
}

type countedBody struct {
	io.ReadCloser
	pick *routing.Pick
}

func (b *countedBody) Close() error {
	err := b.ReadCloser.Close()
	b.pick.Done(nil)
	return err
}

type countedUpgrade struct {
	io.ReadWriteCloser
	pick *routing.Pick
}

func (b *countedUpgrade) Close() error {
	err := b.ReadWriteCloser.Close()
	b.pick.Done(nil)
	return err
}
