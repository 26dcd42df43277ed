package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/registry/local"
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
	own     bool            // see isOwn
	log     *slog.Logger
	bare    sync.Once // the log was told that requests leave the machine in plaintext
}

// idle is how long connections wait for the next request. Servers of easyops end
// theirs after a minute: who ends first loses no request on the way.
const idle = 45 * time.Second

// unread is how much of an answer is kept that the client does not take, in bytes: a
// connection has hundreds of answers, and clients have many connections. There is no
// bound on all answers of a connection, because those that nobody reads would fill it,
// and others wait for them.
const unread = 128 << 10

func newBackend(c *TableConfig, service string, timeout time.Duration) (*backend, error) {
	b := &backend{service: service, timeout: timeout, own: isOwn(c.Registry), log: c.Logger}
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
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 8 * time.Second, MaxReceiveBufferPerStream: unread},
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
	var tried []*routing.Pick
	for {
		pick, err := b.pool.Pick(ctx, tried...)
		if err != nil {
			return nil, unreachable(r.Context(), err)
		}
		resp, err := b.send(r, pick)
		if _, ok := errors.AsType[*dialError](err); !ok {
			return resp, err
		}
		if ctx.Err() != nil {
			return nil, unreachable(r.Context(), err)
		}
		tried = append(tried, pick)
	}
}

// grace is how much longer a request waits than its pool, which knows more of the
// reason.
const grace = 100 * time.Millisecond

// unreachableError is that of a request that went to nobody.
type unreachableError struct{ cause error }

func (e *unreachableError) Error() string { return e.cause.Error() }
func (e *unreachableError) Unwrap() error { return e.cause }

func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // the client's doing
	}
	return &unreachableError{err}
}

// send sends a request to an instance.
func (b *backend) send(r *http.Request, pick *routing.Pick) (*http.Response, error) {
	addr := pick.Instance().Addr
	if err := b.checkWay(r, addr); err != nil {
		pick.Done(context.Canceled)
		return nil, err
	}
	out, to := r.WithContext(r.Context()), *r.URL
	out.URL, to.Scheme, to.Host = &to, b.scheme(), addr
	if out.Body != nil {
		out.Body = io.NopCloser(out.Body) // the next attempt needs it as well
	}
	transport := b.conns
	if out.Header.Get("Upgrade") != "" { // see passUpgrade
		transport = b.old
	}
	resp, err := transport.RoundTrip(out)
	if b.tls == nil && wantsTLS(resp, err) {
		if err == nil {
			_ = resp.Body.Close()
		}
		err = &secureError{b.service, addr}
	}
	if err != nil {
		pick.Done(verdict(r.Context(), err))
		return nil, err
	}
	easyops.NoteInstance(r.Context(), addr)
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

// checkWay keeps tokens from connections that are not good for them, and says once of
// everything else that it can be read on its way.
func (b *backend) checkWay(r *http.Request, addr string) error {
	switch {
	case b.tls != nil:
	case carriesToken(r.Header) && !isPrivate(b.own, addr):
		return &plaintextError{b.service, addr}
	case !isLoopback(addr):
		b.bare.Do(func() {
			b.log.Warn("requests leave this machine unencrypted, with all cookies and keys in them: give the service a certificate (its -easyops.tls-cert, -easyops.tls-key), and the edge the authority (-easyops.tls-ca)", "service", b.service, "peer", addr)
		})
	}
	return nil
}

// isOwn tells whether nobody but the user of this process writes to a registry.
func isOwn(r registry.Registry) bool {
	_, own := r.(*local.Registry)
	return own
}

// isPrivate tells whether a connection without TLS to an address that a registry lists
// is good for a token: it stays on this machine, and nobody else has said which port
// it is of. Whoever has that port gets the token.
func isPrivate(own bool, addr string) bool { return own && isLoopback(addr) }

// plaintextError is that of a token that must not go over a connection.
type plaintextError struct{ service, addr string }

func (e *plaintextError) Error() string {
	why := "leaves this machine unencrypted"
	if isLoopback(e.addr) {
		why = "is unencrypted, and goes to whoever has that port of this machine, which others say who write to the registry"
	}
	return fmt.Sprintf("a request to %s was not sent: it carries a token, and the connection to %s %s: give the service a certificate (its -easyops.tls-cert, -easyops.tls-key), and the edge the authority (-easyops.tls-ca)", e.service, e.addr, why)
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
