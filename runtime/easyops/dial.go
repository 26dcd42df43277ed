package easyops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/registry"
	_ "github.com/go-easyops/easyops/runtime/registry/local" // the registry where none is named
	"github.com/go-easyops/easyops/runtime/routing"
)

// Conn is a connection to a service, whichever instances serve it. It is a
// [grpc.ClientConnInterface]; calls may be made concurrently. A call for which
// there is no instance waits for one, 30 s at most, and then fails with
// UNAVAILABLE. Who dialled closes it.
//
// Conns of a process that were dialled with the same settings, such as the same
// logger, share what they know of the instances and one connection to each, which
// carries as many calls at a time as the server allows: those of this package 250.
// Conns with [DialGRPC] or [DialUserToken] have their own.
type Conn struct {
	channel *channel
	calls   *caller // of the channel

	closed  atomic.Bool
	mu      sync.Mutex
	streams map[*openStream]struct{} // where the channel is shared
}

// Invoke implements [grpc.ClientConnInterface].
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if c.closed.Load() {
		return c.errClosed()
	}
	return c.calls.conn.Invoke(ctx, method, args, reply, c.calls.creds.of(ctx, opts)...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	opts = c.calls.creds.of(ctx, opts)
	if c.channel.key == nil {
		return c.calls.conn.NewStream(ctx, desc, method, opts...)
	}
	ctx, open, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	opts = append(slices.Clip(opts), grpc.OnFinish(func(error) { open.end() }))
	stream, err := c.calls.conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		open.end()
	}
	return stream, err
}

// openStream is a stream that ends when its Conn is closed, though others go on
// sharing the connections.
type openStream struct {
	conn   *Conn
	cancel context.CancelFunc
}

func (c *Conn) begin(ctx context.Context) (context.Context, *openStream, error) {
	open := &openStream{conn: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return nil, nil, c.errClosed()
	}
	ctx, open.cancel = context.WithCancel(ctx)
	c.streams[open] = struct{}{}
	return ctx, open, nil
}

func (o *openStream) end() {
	o.conn.mu.Lock()
	delete(o.conn.streams, o)
	o.conn.mu.Unlock()
	o.cancel()
}

func (c *Conn) errClosed() error {
	return status.Errorf(codes.Canceled, "the connection to %s was closed by this program", c.channel.service)
}

// Close ends the streams of this Conn, and all that is left where no other Conn
// shares the connections; otherwise unary calls that have begun end by
// themselves. Further calls of Close do nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	again, streams := c.closed.Swap(true), c.streams
	c.streams = nil
	c.mu.Unlock()
	if again {
		return nil
	}
	for open := range streams {
		open.cancel()
	}
	return dialled.letGo(c.channel)
}

// Dial returns a connection to the service of the given full name, such as
// "echo.v1.EchoService". Generated Dial functions call it. It does not wait for
// an instance; its error names every wrong setting. Until Close the Conn looks at
// the files that it was given once a second.
//
// What calls are told of the peer ([grpc.Peer], [peer.FromContext]) has in AuthInfo
// no [credentials.TLSInfo], unless the transport is one of [DialGRPC]. What TLS has
// to tell is had by
//
//	p.AuthInfo.(interface{ ConnectionState() tls.ConnectionState })
func Dial(service string, opts ...DialOption) (*Conn, error) {
	c := clientConfig(opts)
	ch, err := dialled.hold(service, sharedKey(c, service), func(ch *channel) error { return ch.dial(c) })
	if err != nil {
		return nil, fmt.Errorf("easyops: dial %s: %w", service, err)
	}
	return &Conn{channel: ch, calls: ch.calls.(*caller), streams: map[*openStream]struct{}{}}, nil
}

// dial opens the channel.
func (ch *channel) dial(c *config) error {
	u := &upkeep{shown: &shownCert{}}
	transport, err := clientTransport(c, ch.service, u)
	c.fault(err)
	creds, err := newCallCreds(c, ch.service)
	c.fault(err)
	if c.target == "" {
		ch.registry, err = neededRegistry(c)
		c.fault(err)
	}
	if c.dialTLS {
		c.fault(errors.New("DialTLS is for DialTCP: leave it out, connections of gRPC have TLS as soon as -easyops.tls-ca is set"))
	}
	c.fault(checkTarget(c))
	c.fault(checkForwarding(c))
	calls := &caller{}
	if len(c.dialOptions) == 0 && !creds.standing() {
		calls.creds = newSparingCreds(creds)
	}
	if err = c.err(); err == nil {
		calls.conn, err = routing.Dial(ch.routing(c, creds), grpcOptions(c, transport, calls.creds.orAlways(creds))...)
	}
	if err != nil {
		if ch.registry != nil {
			err = errors.Join(err, ch.registry.Close())
		}
		return err
	}
	ch.conn, ch.calls = calls.conn, calls
	u.own, u.renew = creds.own, calls.conn.Renew
	ch.stop = u.start()
	return nil
}

// neededRegistry opens the registry, without which nothing is found.
func neededRegistry(c *config) (registry.Registry, error) {
	r, err := openRegistry(c)
	if r == nil && err == nil {
		err = errors.New("-easyops.registry or EASYOPS_REGISTRY is none, so nothing can be found: name a registry, or the server by DialTarget")
	}
	return r, err
}

// routing says which instances calls go to.
func (ch *channel) routing(c *config, creds *callCreds) routing.Config {
	return routing.Config{
		Service: ch.service, Registry: ch.registry, Target: c.target, Logger: c.log(),
		Personal: c.personal, User: creds.userOf, Zone: c.zone(), Subset: c.subset,
		Idempotent: routing.Idempotent(ch.service),
	}
}

// grpcOptions are ours, and then the program's, which win.
func grpcOptions(c *config, transport credentials.TransportCredentials, creds []grpc.DialOption) []grpc.DialOption {
	opts := append([]grpc.DialOption{grpc.WithTransportCredentials(transport)}, creds...)
	if c.tlsConfig != nil && c.tlsConfig.ServerName != "" {
		opts = append(opts, grpc.WithAuthority(c.tlsConfig.ServerName))
	}
	if c.fastCodec {
		opts = append(opts, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newFastCodec())))
	}
	return append(opts, c.dialOptions...)
}

// checkTarget finds targets of schemes that nobody resolves. Options of grpc-go
// may bring a resolver.
func checkTarget(c *config) error {
	scheme, _, ok := strings.Cut(c.target, "://")
	if !ok || resolver.Get(scheme) != nil || len(c.dialOptions) > 0 {
		return nil
	}
	return fmt.Errorf("DialTarget(%q): nothing resolves %s: write host:port or dns:///host:port", c.target, scheme)
}

// checkForwarding finds a user who goes along anyway.
func checkForwarding(c *config) error {
	if !c.forwardUser || c.target != "" {
		return nil
	}
	return errors.New("DialForwardUser without DialTarget: leave it out, to services that are found through the registry the user goes along by itself")
}
