package easyops

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops/internal/reflection"
	"github.com/go-easyops/easyops/runtime/port"
	"github.com/go-easyops/easyops/runtime/registry"
)

// Start listens and begins to serve, and returns. It does not wait for the
// registry. Its error names every wrong setting; then nothing is left running.
func (s *Server) Start() error {
	s.mu.Lock()
	again := s.begun
	s.begun = true
	s.mu.Unlock()
	if again {
		return errors.New("the server was started before: make a new one")
	}
	s.check()
	err := s.cfg.err()
	if err == nil {
		err = s.listen()
	}
	if err != nil {
		s.err = fmt.Errorf("easyops: %w", err)
		s.abandon()
		return s.err
	}
	s.serve()
	return nil
}

// abandon gives back what a start that failed had taken.
func (s *Server) abandon() {
	s.endLife()
	if s.cfg.listener != nil {
		_ = s.cfg.listener.Close() // it is the server's, whatever comes
	}
	if s.cfg.statusLis != nil {
		_ = s.cfg.statusLis.Close()
	}
	s.closeTCP()
	for _, g := range []*grpc.Server{s.grpc, s.grpcHTTP} {
		if g != nil {
			g.Stop()
		}
	}
	if s.metrics != nil {
		s.metrics.Close()
	}
	if s.registry != nil {
		_ = s.registry.Close() // nothing was listed
	}
	_ = s.closeAuthenticators()
	close(s.done)
}

// method makes and keeps the record of a method.
func (s *Server) method(service, name string, rules map[string]auth.Rule, ours bool) *method {
	m := &method{
		server:  s,
		name:    service + "/" + name,
		access:  rules[name].Access,
		timeout: rules[name].Timeout,
		ours:    ours,
	}
	m.metrics = s.metrics.Method(m.name)
	s.methods[m.name] = m
	return m
}

// listen opens the addresses and sets up what serves them.
func (s *Server) listen() (err error) {
	c := s.cfg
	lis := c.listener
	if lis == nil {
		if lis, err = net.Listen("tcp", s.defaultAddr()); err != nil {
			return listenError("-easyops.addr or EASYOPS_ADDR", err)
		}
	}
	if c.noStatus {
		c.moveStatus("", nil)
	}
	if c.statusAddr != "" {
		if s.statusLis = c.statusLis; s.statusLis == nil {
			s.statusLis, err = net.Listen("tcp", c.statusAddr)
		}
		if err != nil {
			lis.Close()
			return listenError("-easyops.status-addr or EASYOPS_STATUS_ADDR", err)
		}
		s.statusLis = netutil.LimitListener(s.statusLis, c.limits.Connections)
	}
	if err = s.listenTCP(); err == nil {
		err = s.setUp(lis)
	}
	if err != nil {
		lis.Close()
		if s.statusLis != nil {
			s.statusLis.Close()
		}
		return err
	}
	return nil
}

func (s *Server) defaultAddr() string {
	if s.cfg.addr != "" {
		return s.cfg.addr
	}
	return s.freeAddr()
}

// freeAddr is a free port, on this machine alone where nobody can say who calls.
func (s *Server) freeAddr() string {
	if s.trust == standalone {
		return "127.0.0.1:0"
	}
	return ":0"
}

func listenError(setting string, err error) error {
	if isInUse(err) {
		return fmt.Errorf("%w: something listens there already: stop it, or choose another address by %s (port 0 takes a free one)", err, setting)
	}
	return fmt.Errorf("%w: choose another address by %s", err, setting)
}

// setUp makes the two stacks and the port that both are on.
func (s *Server) setUp(lis net.Listener) error {
	c := s.cfg
	s.started = time.Now()
	s.clock.started = s.started
	s.calls = newCalls(c.limits, s.metrics.Parts(), s.log, s.background.Go)
	s.callers = newCallers(s.metrics.Parts())
	s.resets = newResets(c.limits.Resets, func(u *port.Use) {
		if u.Close() {
			s.log.Warn("connection closed: it cancels most of its calls", "peer", u.Peer())
		}
	})
	s.unknown = &method{server: s, name: "unknown method", stream: true, metrics: s.metrics.Other()}
	s.http = s.httpServer(nil)
	s.port = port.New(lis, s.http, port.Config{
		TLS:             s.tls,
		MaxConns:        c.limits.Connections,
		MaxConnsPerIP:   c.limits.ConnectionsPerIP,
		ClassifyTimeout: c.limits.OpenTimeout,
		Note:            newNote,
		AllHTTP2ToHTTP:  c.mixedHTTP2,
		Logger:          s.log,
	})
	s.setUpTCP()
	if err := s.newGRPC(); err != nil {
		return err
	}
	s.newHTTPMetrics()
	if err := s.newPages(); err != nil {
		return err
	}
	s.http.Handler = s.unlessGone(s.httpHandler())
	return s.addGauges()
}

// newGRPC makes grpc-go's servers: one for connections of its own, and one for
// calls that come by net/http. They drain in different ways, and the graceful
// stop of the first would break calls of the second.
func (s *Server) newGRPC() (err error) {
	// grpc-go panics on options that exclude each other.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("WithGRPC: %v", p)
			if strings.Contains(err.Error(), "interceptor") {
				err = fmt.Errorf("%w: give interceptors by grpc.ChainUnaryInterceptor and grpc.ChainStreamInterceptor", err)
			}
		}
	}()
	opts := append(transportDefaults(s.cfg.limits), grpc.UnknownServiceHandler(s.unknownHandler()))
	if s.cfg.fastCodec {
		opts = append(opts, grpc.ForceServerCodecV2(newFastCodec()))
	}
	opts = append(opts, s.cfg.grpcOptions...)
	if s.cfg.proxy != nil { // the user's would run by the rule of a route
		opts = append(opts, grpc.UnknownServiceHandler(s.unknownHandler()))
	}
	if s.cfg.messageSizes {
		sizes, err := s.metrics.Sizes()
		if err != nil {
			return err
		}
		opts = append(opts, grpc.StatsHandler(sizes))
	}
	opts = append(opts, grpc.Creds(s.port.Credentials()), grpc.WaitForHandlers(false))
	var first grpc.StreamServerInterceptor // before those of the user's
	if s.intercepts() {
		first = s.interceptStream
	}
	own := []grpc.ServerOption{grpc.StreamInterceptor(first)}
	viaHTTP := []grpc.ServerOption{grpc.StreamInterceptor(paceStream(first))}
	s.grpc = grpc.NewServer(slices.Concat(own, opts)...)
	s.grpcHTTP = grpc.NewServer(slices.Concat(viaHTTP, opts, []grpc.ServerOption{grpc.NumStreamWorkers(0)})...)

	both := registrar{s, false}
	for _, b := range s.services {
		both.RegisterService(b.desc, b.impl)
	}
	ours := registrar{s, true}
	s.registerHealth(ours)
	if !s.cfg.noStatus {
		reflection.Register(ours)
	}
	return nil
}

// registrar registers services behind the call path, on both servers.
type registrar struct {
	s    *Server
	ours bool // services of the runtime itself
}

func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	wrapped := r.s.wrap(desc, r.ours)
	r.s.grpc.RegisterService(wrapped, impl)
	r.s.grpcHTTP.RegisterService(pace(wrapped), impl)
}

func (r registrar) GetServiceInfo() map[string]grpc.ServiceInfo { return r.s.grpc.GetServiceInfo() }

// serve begins. From here on the server is stopped by [Server.stop] only.
func (s *Server) serve() {
	s.serving.Store(true)
	s.newPublisher()
	s.run("port", func() error { return s.port.Serve() })
	s.run("gRPC", func() error { return s.grpc.Serve(s.port.GRPCListener()) })
	s.serveTCP()
	if s.statusHTTP != nil {
		s.run("status pages", s.serveStatus)
	}
	s.background.Go(func() {
		everySecond(s.life, func(now time.Time) {
			s.clock.look(now, now.Sub(s.started))
			s.holdReserve()
			s.calls.look(now)
			s.resets.forget(now)
			s.callers.sweep(s.uptime())
			s.history.sample(now)
		})
	})
	if len(s.sources) > 0 {
		s.callbacks.start(s.refreshSources, "refresh of what identity rests on")
	}
	s.announce()
	s.beginHealth()
	s.callbacks.start(s.callOnReady, "WithOnReady")
	s.background.Go(s.awaitStop)
	close(s.launched)
}

// newPublisher makes what lists the server, if it can be listed.
func (s *Server) newPublisher() {
	if s.registry == nil {
		return
	}
	s.warnOfUnlisted()
	if len(s.instances(registry.Ready)) == 0 {
		return
	}
	s.mu.Lock() // metrics may be gathered before the server serves
	defer s.mu.Unlock()
	s.publisher = registry.NewPublisher(s.listedIn(), s.log)
}

// run runs a part of the server. When it ends by itself the server stops.
func (s *Server) run(name string, serve func() error) {
	s.background.Go(func() {
		err := serve()
		select {
		case <-s.stopping:
		default:
			s.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// callOnReady calls the user's functions once the server is ready.
func (s *Server) callOnReady() {
	select {
	case <-s.ready:
	case <-s.stopping:
		return
	}
	for _, f := range s.cfg.onReady {
		_ = s.guard(context.Background(), "WithOnReady", func() { f(s) })
	}
}

// awaitStop turns the end of the user's context into a stop.
func (s *Server) awaitStop() {
	select {
	case <-s.cfg.ctx.Done():
		s.stop("context: " + context.Cause(s.cfg.ctx).Error())
	case <-s.stopping:
	}
}
