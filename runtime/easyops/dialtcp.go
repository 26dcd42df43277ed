package easyops

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

// DialTCP connects to a TCP service (see [WithTCP]) that is registered by the name. It
// chooses an instance as calls do: one that is ready, in the own zone where there is
// one, of two random ones that with less connections of this process. One that
// refuses is left at once for the next, one that does not answer after half a second;
// those that fail are left out for a while. Instances with an owner or with tags other
// than the zone are never chosen. Where there is none DialTCP waits until there is
// one, for 30 s at most and not beyond the context.
//
// Its error names every wrong setting; otherwise it is a [*routing.NoInstanceError],
// which names the last error of a connection, the service and the registry. With
// [DialTarget], as host:port, the registry is not asked, and nothing is waited for.
//
// The connection is as TCP makes it, whatever the settings of TLS, unless there is
// [DialTLS]. It outlives the context; the caller closes it. Without DialTLS it has the
// methods of [net.TCPConn], such as CloseWrite; with it, it is a [*tls.Conn].
//
// What is known of the instances is shared by calls with the same settings, and kept
// while a connection is open and for a minute or two. [CloseIdleTCP] ends that before. A
// *tls.Config of WithTLSConfig is the same only where it is the same one: make it once,
// not for each call.
func DialTCP(ctx context.Context, name string, opts ...DialOption) (net.Conn, error) {
	c := clientConfig(opts)
	c.fault(checkTCP(c))
	p, err := dialledTCP.hold(c, name)
	if err == nil {
		defer dialledTCP.letGo(p)
		var conn net.Conn
		if conn, _, err = p.pool.Dial(ctx); err == nil {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("easyops: dial %s: %w", name, err)
}

// DialTLS is for services that speak TLS at the port of [DialTCP]. Their certificate
// must be one of -easyops.tls-ca and name the service, or whom [DialServerID] names,
// as with gRPC; that of a [DialTarget] names the host. Our own certificate,
// -easyops.tls-cert, is shown to servers that ask for one. WithTLSConfig comes in the
// place of the files; without any of these DialTLS is an error.
func DialTLS() DialOption {
	return dialOption(func(c *config) { c.dialTLS = true })
}

// checkTCP finds options that only connections of gRPC know of.
func checkTCP(c *config) error {
	var faults []error
	for _, o := range []struct {
		is         bool
		name, cure string
	}{
		{len(c.dialOptions) > 0, "DialGRPC", "nothing speaks gRPC there"},
		{c.userTokens != nil, "DialUserToken", "such a connection carries no tokens"},
		{c.forwardUser, "DialForwardUser", "such a connection carries no tokens"},
		{c.subset != 0, "DialSubset", "each DialTCP connects to one instance"},
		{c.serverID != "" && !c.dialTLS, "DialServerID", "a server proves by its certificate who it is: add DialTLS()"},
	} {
		if o.is {
			faults = append(faults, fmt.Errorf("%s with DialTCP: leave it out, %s", o.name, o.cure))
		}
	}
	return errors.Join(faults...)
}

// open opens the pool.
func (p *tcpPool) open(c *config, name string) error {
	addr, err := tcpTarget(c.target)
	c.fault(err)
	secure, err := tcpSecurity(c, name, addr)
	c.fault(err)
	if c.target == "" {
		p.registry, err = neededRegistry(c)
		c.fault(err)
	}
	wait := routing.DefaultMaxWait
	if addr != "" {
		wait = -1
	}
	if err = c.err(); err == nil {
		p.pool, err = routing.NewPool(routing.PoolConfig{
			Service: name, Kind: registry.KindTCP, Registry: p.registry, Target: addr,
			Zone: c.zone(), MaxWait: wait, Secure: secure, Logger: c.log(),
		})
	}
	if err != nil && p.registry != nil {
		err = errors.Join(err, p.registry.Close())
	}
	return err
}

// tcpTarget returns the address that a target is, "" for none.
func tcpTarget(target string) (addr string, err error) {
	if target == "" {
		return "", nil
	}
	addr = target
	if u, err := url.Parse(target); err == nil && (u.Scheme == "dns" || u.Scheme == "passthrough") {
		addr = strings.TrimPrefix(cmp.Or(u.Path, u.Opaque), "/")
	}
	if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" || strings.Contains(addr, "/") {
		return "", fmt.Errorf("DialTarget(%q): to connect by TCP write host:port", target)
	}
	return addr, nil
}

// tcpSecurity returns what secures connections, nil for nothing.
func tcpSecurity(c *config, name, addr string) (func(context.Context, net.Conn) (net.Conn, error), error) {
	if !c.dialTLS {
		return nil, nil
	}
	transport, err := clientTransport(c, name, &upkeep{}) // the files are looked at with each handshake
	if err != nil {
		return nil, err
	}
	t, ok := transport.(tlsTransport)
	if !ok {
		return nil, errors.New("DialTLS: nothing says whom to trust: set -easyops.tls-ca (EASYOPS_TLS_CA, WithTLSFiles)")
	}
	host := name
	if addr != "" {
		host = hostOf(addr)
	}
	return func(ctx context.Context, conn net.Conn) (net.Conn, error) {
		config := t.config(host)
		config.ServerName = cmp.Or(config.ServerName, t.name, host)
		noteCertificate(config)
		secured := tls.Client(conn, config)
		return secured, secured.HandshakeContext(ctx)
	}, nil
}
