package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
	"github.com/go-easyops/easyops/runtime/tcp"
)

// port is a TCP route that is in force, or was and has connections left.
type port struct {
	route    routes.TCPRoute
	listener *listener
	server   *tcp.Server
	pool     *routing.Pool
	room     *room // of all ports
	log      *slog.Logger

	mu     sync.Mutex
	failed failures
	told   time.Time // when the log was last told of a failure
	silent int       // how often it was not since
}

// failures are connections that were closed because no instance could be had, or
// because there were too many of all routes.
type failures struct {
	count uint64
	err   error
	at    time.Time // of the last one
}

// newPort makes a port of a listener, which it closes in the end.
func newPort(r routes.TCPRoute, l *listener, c portsConfig) (*port, error) {
	p := &port{route: r, listener: l, room: c.room, log: c.log}
	var err error
	p.pool, err = routing.NewPool(routing.PoolConfig{
		Service:        r.Service,
		Kind:           registry.KindTCP,
		Registry:       c.registry,
		Zone:           c.zone,
		MaxWait:        r.ConnectTimeout,
		ConnectTimeout: r.ConnectTimeout,
		Logger:         c.log,
	})
	if err != nil {
		return nil, fmt.Errorf("tcp %s: %w", r.Name(), err)
	}
	all, perClient := r.Bounds(c.room.most)
	p.server = tcp.New(l, tcp.Config{
		Name:          r.Name(),
		Handler:       p.handle,
		MaxConns:      all,
		MaxConnsPerIP: perClient,
		ProxyFrom:     r.AcceptProxy,
		Logger:        c.log,
	})
	return p, nil
}

// same tells whether a route of a file is the one that is in force, wherever in the
// file it is.
func (p *port) same(r routes.TCPRoute) bool {
	r.Line = p.route.Line
	return reflect.DeepEqual(r, p.route)
}

// handle passes a connection on. It goes on while the server drains: what came before
// that is served, and what is left in the end the server cuts.
func (p *port) handle(ctx context.Context, client net.Conn) {
	if !p.room.enter() {
		p.fail(client, "there are too many", errNoRoom)
		return
	}
	defer p.room.leave()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.route.ConnectTimeout)
	defer cancel()
	instance, _, err := p.pool.Dial(ctx)
	if err == nil {
		err = p.introduce(instance, client)
	}
	if err != nil {
		p.fail(client, "no instance can be had", err)
		return
	}
	if err := join(client, instance, p.route.IdleTimeout); err != nil {
		p.log.Debug("connection ended", "route", p.route.Name(), "peer", client.RemoteAddr().String(), "err", err)
	}
}

// introduce tells the instance who the client is, where the route says so.
func (p *port) introduce(instance, client net.Conn) error {
	if p.route.ProxyProtocol == 0 {
		return nil
	}
	header := proxyproto.HeaderProxyFromAddrs(byte(p.route.ProxyProtocol), client.RemoteAddr(), client.LocalAddr())
	_ = instance.SetWriteDeadline(time.Now().Add(p.route.ConnectTimeout))
	if _, err := header.WriteTo(instance); err != nil {
		return errors.Join(fmt.Errorf("PROXY header: %w", err), instance.Close())
	}
	return instance.SetWriteDeadline(time.Time{})
}

// quiet is how long the log is not told of the same again.
const quiet = time.Minute

// fail notes that a connection could not be passed on; it is closed.
func (p *port) fail(client net.Conn, reason string, err error) {
	now := time.Now()
	p.mu.Lock()
	p.failed.count++
	p.failed.err, p.failed.at = err, now
	tell := now.Sub(p.told) >= quiet
	more := p.silent
	if p.silent++; tell {
		p.told, p.silent = now, 0
	}
	p.mu.Unlock()
	if tell {
		attrs := []any{"reason", reason, "route", p.route.Name(), "service", p.route.Service, "peer", client.RemoteAddr().String()}
		if more > 0 {
			attrs = append(attrs, "more", more)
		}
		p.log.Warn("connections closed", append(attrs, "err", err)...)
	}
}

func (p *port) failures() failures {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (p *port) key() routeKey { return routeKey{p.route.Listen, p.route.Service} }

func (p *port) traffic() traffic {
	n := p.server.Stats()
	return traffic{open: n.Open, accepted: n.Accepted, failed: p.failures().count, received: n.Received, sent: n.Sent}
}

// close ends what is left of a port whose server has ended.
func (p *port) close() error { return p.pool.Close() }
