package tcp

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// fromProxy tells whether a peer is one of the proxies that name their clients.
func (s *Server) fromProxy(peer net.Addr) bool {
	ip := ipOf(peer)
	return ip.IsValid() && slices.ContainsFunc(s.cfg.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// headerBuffer holds every header of version 1, and of version 2 what most are.
const headerBuffer = 256

// readHeader reads the header of the PROXY protocol and counts the connection for the client
// that it names.
func (s *Server) readHeader(c *conn) (Refusal, error) {
	_ = c.SetReadDeadline(time.Now().Add(s.cfg.OpenTimeout))
	r := bufio.NewReaderSize(c, headerBuffer)
	header, err := proxyproto.Read(r)
	if err != nil {
		return BadProxyHeader, err
	}
	client, err := clientIn(header)
	if err != nil {
		return BadProxyHeader, err
	}
	early, _ := r.Peek(r.Buffered())
	c.early.put(early)
	s.mu.Lock()
	defer s.mu.Unlock()
	if client != nil {
		c.proxy, c.remote = c.remote.String(), client
		if !s.countClient(c) {
			return TooManyOfClient, fmt.Errorf("there are %d", s.cfg.MaxConnsPerIP)
		}
	}
	return 0, c.SetReadDeadline(time.Time{})
}

// clientIn returns the client that a header names: nil where that is the proxy itself, as for
// its health checks, or one that has no address of TCP.
func clientIn(h *proxyproto.Header) (net.Addr, error) {
	switch {
	case h.Command.IsLocal():
		return nil, nil
	case !h.TransportProtocol.IsStream():
		return nil, errors.New("the header of the PROXY protocol is of another transport than TCP")
	}
	if client, ok := h.SourceAddr.(*net.TCPAddr); ok {
		return client, nil
	}
	return nil, nil
}
