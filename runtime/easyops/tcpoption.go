package easyops

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/tcp"
)

// A TCPOption configures a TCP service of a [Server] (see [WithTCP]).
type TCPOption interface{ applyTCP(*tcpService) error }

type tcpOption func(*tcpService) error

func (o tcpOption) applyTCP(t *tcpService) error { return o(t) }

// WithTCP serves plain TCP connections on a port of their own, as a service that is
// listed in the registry by its name, as kind "tcp": clients find it by [DialTCP], or
// behind a proxy such as easyops edge. The address is host:port; "" takes a free port,
// of the loopback address standalone and of all addresses otherwise (see
// [Server.TCPAddr]). An address that other machines can connect to is let through as it
// is given: TCP says nothing of who calls, so the handler asks, or [TCPTLS] does.
//
// The handler has a goroutine for each connection, which is closed when it returns. Its
// context ends when the server drains. The handler then ends what it does; what is left
// when the time for the shutdown is over is cut off, and named in the log. A panic is
// recovered and ends that connection alone. [Go] and [Draining] work as in calls.
//
// Without TLS the connection keeps what io.Copy needs to let the kernel copy, and has,
// with and without, the method CloseWrite. Deadlines are the handler's own affair.
func WithTCP(name, addr string, h func(context.Context, net.Conn), opts ...TCPOption) ServerOption {
	return serverOption(func(c *config) {
		t := &tcpService{name: name, addr: addr, handler: h}
		t.open = func(l net.Listener, cfg tcp.Config) tcpServer { return tcp.New(l, cfg) }
		for _, o := range opts {
			if o == nil {
				continue
			}
			if err := o.applyTCP(t); err != nil {
				c.fault(fmt.Errorf("%s: %w", t.option(), err))
			}
		}
		c.tcp = append(c.tcp, t)
	})
}

// TCPTLS has the service speak TLS, with the server's certificate ([WithTLSFiles],
// [WithTLSConfig]). The handler's connection is a *tls.Conn then. With a rule the
// client's certificate must satisfy it, by the server's authenticators: auth.Service(ctx)
// is who calls, and the connection ends when the certificate expires. As with methods
// rules pass standalone, and with insecure-none.
func TCPTLS(access ...auth.Access) TCPOption {
	return tcpOption(func(t *tcpService) error {
		t.tls = true
		switch len(access) {
		case 0:
			return nil
		case 1:
			t.ruled, t.access = true, access[0]
			return nil
		}
		return fmt.Errorf("TCPTLS: %d access rules: pass one at most", len(access))
	})
}

// TCPProxyProtocol names the proxies in front of the service, by IP addresses or by
// networks such as "10.0.0.0/8". Connections from there begin with a header of the PROXY
// protocol, version 1 or 2 (HAProxy's proxy-protocol.txt), which names the client:
// RemoteAddr is the client's. A connection from there without one is closed. What others
// send is never taken for a header.
func TCPProxyProtocol(prefixes ...string) TCPOption {
	return tcpOption(func(t *tcpService) (err error) {
		if len(prefixes) == 0 {
			return errors.New(`TCPProxyProtocol: no proxy is named: pass addresses or networks, such as "10.0.0.0/8"`)
		}
		for _, text := range prefixes {
			p, fault := parsePrefix(text)
			if fault != nil {
				err = errors.Join(err, fmt.Errorf("TCPProxyProtocol(%q): %w", text, fault))
			}
			t.proxies = append(t.proxies, p)
		}
		return err
	})
}

// parsePrefix reads a network, or an address as one of a single machine.
func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, errors.New(`not an IP address: write it like "10.0.0.7", or a network like "10.0.0.0/8"`)
		}
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() || p.Addr().Is4In6() {
		return netip.Prefix{}, errors.New(`not a network: write it like "10.0.0.0/8" or "fd00::/8", with zeros after the prefix`)
	}
	return p, nil
}

// TCPLimit sets how many connections may be open at a time; others are closed at once.
// The default is 16,384. Of one client there may be as many as [Limits] say.
func TCPLimit(n int) TCPOption {
	return tcpOption(func(t *tcpService) error {
		if n < 1 {
			return fmt.Errorf("TCPLimit(%d): it must be 1 or more", n)
		}
		t.maxConns = n
		return nil
	})
}
