package easyops

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/tcp"
)

// tcpService is a TCP service of the user's.
type tcpService struct {
	name, addr string
	handler    func(context.Context, net.Conn)
	tls, ruled bool
	access     auth.Access
	proxies    []netip.Prefix
	maxConns   int

	// open makes the server. Only WithTCP names the package that does, so that
	// programs which do not use it are not linked with it.
	open   func(net.Listener, tcp.Config) tcpServer
	lis    net.Listener
	server tcpServer
	method *method // stands for the service in contexts, and in the log
}

// tcpServer is a [tcp.Server].
type tcpServer interface {
	Serve() error
	Drain()
	Shutdown(context.Context) error
	Open() int
	Stats() tcp.Stats
	Refused(tcp.Refusal) uint64
	Connections(most int) (oldest []tcp.Connection, total int)
}

// option is the service as its option in the program.
func (t *tcpService) option() string { return fmt.Sprintf("WithTCP(%q)", t.name) }

// needsIdentity tells whether only some may connect.
func (t *tcpService) needsIdentity() bool { return t.ruled && t.access.Allow != auth.Everyone }

// TCPAddr returns the address that a TCP service listens on; nil before Start, and
// where there is no such service.
func (s *Server) TCPAddr(name string) net.Addr {
	if !s.serving.Load() {
		return nil
	}
	for _, t := range s.cfg.tcp {
		if t.name == name {
			return t.lis.Addr()
		}
	}
	return nil
}

// checkTCP looks at the TCP services. It comes when it is known how far callers are
// trusted.
func (s *Server) checkTCP() {
	for _, t := range s.cfg.tcp {
		for _, err := range []error{s.checkTCPService(t), s.checkTCPRule(t)} {
			if err != nil {
				s.cfg.fault(fmt.Errorf("%s: %w", t.option(), err))
			}
		}
	}
}

func (s *Server) checkTCPService(t *tcpService) error {
	switch {
	case t.handler == nil:
		return errors.New("the handler is nil")
	case t.tls && !s.cfg.hasTLS():
		return errors.New("TCPTLS needs a certificate: set -easyops.tls-cert and -easyops.tls-key (EASYOPS_TLS_CERT, EASYOPS_TLS_KEY, WithTLSFiles)")
	case t.addr == "":
		return nil
	}
	if _, err := onThisMachine(t.addr); err != nil {
		return fmt.Errorf("%q: %w", t.addr, err)
	}
	return nil
}

// checkTCPRule finds rules that nothing would enforce, or nobody could satisfy.
func (s *Server) checkTCPRule(t *tcpService) error {
	if err := t.access.Validate(); err != nil {
		return fmt.Errorf("TCPTLS: %w", err)
	}
	if !t.needsIdentity() {
		return nil
	}
	local, err := onThisMachine(t.addr)
	switch {
	case s.trust == insecure, s.trust == standalone && (t.addr == "" || local || err != nil):
		return nil
	case s.trust != authenticated:
		return errors.New("TCPTLS has a rule, and callers are not authenticated: set -easyops.auth (EASYOPS_AUTH, WithAuth) to mtls, or leave the rule out")
	case !s.takesCertificates() && len(s.cfg.authenticators) == 0:
		return errors.New("TCPTLS has a rule, and only a certificate can say who calls: set -easyops.auth (EASYOPS_AUTH, WithAuth) to mtls, besides what it has, or leave the rule out")
	}
	return nil
}

// listenTCP opens the ports of the TCP services. What it has opened is closed by
// closeTCP.
func (s *Server) listenTCP() (err error) {
	for _, t := range s.cfg.tcp {
		addr := t.addr
		if addr == "" {
			addr = s.freeAddr()
		}
		if t.lis, err = net.Listen("tcp", addr); err != nil {
			return listenError(t.option(), err)
		}
	}
	return nil
}

func (s *Server) closeTCP() {
	for _, t := range s.cfg.tcp {
		if t.lis != nil {
			_ = t.lis.Close()
		}
	}
}

// setUpTCP makes the servers of the TCP services.
func (s *Server) setUpTCP() {
	for _, t := range s.cfg.tcp {
		t.method = &method{server: s, name: "TCP " + t.name, access: t.access, stream: true}
		cfg := tcp.Config{
			Name: t.name, Handler: t.serve, MaxConns: t.maxConns, MaxConnsPerIP: s.cfg.limits.ConnectionsPerIP,
			ProxyFrom: t.proxies, OpenTimeout: s.cfg.limits.OpenTimeout, Logger: s.log,
			Admit: t.admit,
			Recovered: func(ctx context.Context, peer net.Addr, panicked any) {
				_ = s.recovered(ctx, "tcp", t.method.name, panicked, slog.String("peer", peer.String()))
			},
		}
		if t.tls {
			cfg.TLS = withoutALPN(s.tls)
		}
		t.server = t.open(t.lis, cfg)
	}
}

// withoutALPN returns the configuration for a protocol that is not negotiated.
func withoutALPN(user *tls.Config) *tls.Config {
	cfg := user.Clone()
	cfg.NextProtos = nil
	if user.GetConfigForClient == nil {
		return cfg
	}
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		own, err := user.GetConfigForClient(hello)
		if own == nil || err != nil {
			return own, err
		}
		own = own.Clone()
		own.NextProtos = nil
		return own, nil
	}
	return cfg
}

// admit makes the context of a connection, where the rule lets it in.
func (t *tcpService) admit(ctx context.Context, state *tls.ConnectionState) (context.Context, error) {
	s := t.method.server
	c := &call{Context: ctx, method: t.method}
	if !t.needsIdentity() || s.trust == insecure || s.trust == standalone {
		return c, nil
	}
	var err error
	if c.caller, err = auth.Identify(ctx, auth.Presented{Certs: verified(state.VerifiedChains)}, s.authenticators); err != nil {
		return nil, err
	}
	return c, t.access.Check(c.caller.Identity)
}

// serve runs the handler for no longer than the identity of the client lasts.
func (t *tcpService) serve(ctx context.Context, nc net.Conn) {
	c := callFrom(ctx)
	expires := c.caller.Expires()
	if expires.IsZero() {
		t.handler(ctx, nc)
		return
	}
	var cancel context.CancelFunc
	c.Context, cancel = context.WithCancel(c.Context)
	defer cancel()
	end := time.AfterFunc(time.Until(expires), func() {
		c.method.server.log.Info("connection closed: the certificate of its client has expired", "service", t.name, "peer", nc.RemoteAddr().String())
		cancel()
		_ = nc.Close()
	})
	defer end.Stop()
	t.handler(c, nc)
}

// serveTCP begins to accept connections.
func (s *Server) serveTCP() {
	for _, t := range s.cfg.tcp {
		s.run(t.method.name, t.server.Serve)
		s.log.Info("serving TCP", "service", t.name, "addr", t.lis.Addr().String(), "tls", t.tls)
	}
}

// drainTCP tells the handlers of TCP services to end, all at the same time.
func (s *Server) drainTCP() {
	var all sync.WaitGroup
	for _, t := range s.cfg.tcp {
		all.Go(t.server.Drain)
	}
	all.Wait()
}

// endTCP waits for connections to end, cuts those that are left when the context
// ends, and returns an error that names them.
func (s *Server) endTCP(ctx context.Context) error {
	errs := make([]error, len(s.cfg.tcp))
	var all sync.WaitGroup
	for i, t := range s.cfg.tcp {
		all.Go(func() { errs[i] = t.server.Shutdown(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}
