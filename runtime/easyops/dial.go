package easyops

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"

	"github.com/go-easyops/easyops/runtime/registry"
	_ "github.com/go-easyops/easyops/runtime/registry/local" // the registry where none is named
	"github.com/go-easyops/easyops/runtime/routing"
)

// Conn is a connection to a service, whichever instances serve it. It is a
// [grpc.ClientConnInterface]; calls may be made concurrently. A call for which
// there is no instance waits for one, 30 s at most, and then fails with
// UNAVAILABLE. Who dialled closes it.
type Conn struct {
	conn     *routing.Conn
	registry registry.Registry // nil with a target
	stop     func()            // of the upkeep
}

// Invoke implements [grpc.ClientConnInterface].
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.conn.NewStream(ctx, desc, method, opts...)
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
	u := &upkeep{shown: &shownCert{}}
	transport, err := clientTransport(c, service, u)
	c.fault(err)
	creds, err := newCallCreds(c, service)
	c.fault(err)
	var reg registry.Registry
	if c.target == "" {
		reg, err = openRegistry(c)
		c.fault(err)
		if reg == nil && err == nil {
			c.fault(errors.New("-easyops.registry or EASYOPS_REGISTRY is none, so nothing can be found: name a registry, or the server by DialTarget"))
		}
	}
	c.fault(checkTarget(c))
	c.fault(checkForwarding(c))
	var conn *routing.Conn
	if err = c.err(); err == nil {
		conn, err = routing.Dial(routing.Config{
			Service: service, Registry: reg, Target: c.target, Logger: c.log(),
		}, grpcOptions(c, transport, creds)...)
	}
	if err != nil {
		if reg != nil {
			err = errors.Join(err, reg.Close())
		}
		return nil, fmt.Errorf("easyops: dial %s: %w", service, err)
	}
	u.own, u.renew = creds.own, conn.Renew
	return &Conn{conn, reg, u.start()}, nil
}

// grpcOptions are ours, and then the program's, which win.
func grpcOptions(c *config, transport credentials.TransportCredentials, creds credentials.PerRPCCredentials) []grpc.DialOption {
	opts := []grpc.DialOption{grpc.WithTransportCredentials(transport), grpc.WithPerRPCCredentials(creds)}
	if c.tlsConfig != nil && c.tlsConfig.ServerName != "" {
		opts = append(opts, grpc.WithAuthority(c.tlsConfig.ServerName))
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

// Close ends all calls and connections.
func (c *Conn) Close() error {
	c.stop()
	err := c.conn.Close()
	if c.registry != nil {
		err = errors.Join(err, c.registry.Close())
	}
	return err
}
