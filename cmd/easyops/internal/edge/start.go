package edge

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// start listens and serves.
func (e *Edge) start(f *routes.File) error {
	path, err := handoverPath(e.config.Handover, e.address)
	if err != nil {
		return err
	}
	e.socket = path
	prior, err := e.listen(path, f)
	defer prior.close()
	if err != nil {
		return err
	}
	if err := e.meetFirst(prior); err != nil {
		return err
	}
	if path != "" {
		if e.door, err = newDoor(path, e.log); err != nil {
			return err
		}
	}
	if err := e.serve(); err != nil {
		return err
	}
	e.takeOver(prior)
	e.openDoor()
	return nil
}

// inUsePatience is how long an address that is in use may be so because an edge is
// just taking over from another, and has no socket yet.
const inUsePatience = 3 * time.Second

// listen takes over the listeners of the edge that runs, if one does, and opens what
// is missing.
func (e *Edge) listen(path string, f *routes.File) (*prior, error) {
	deadline, said := time.Now().Add(inUsePatience), false
	for {
		prior, err := enter(path, e.log)
		if err != nil {
			return nil, err
		}
		if err := e.suits(prior); err != nil {
			return prior, err
		}
		err = e.listenAll(prior, f)
		if err == nil || !isInUse(err) || prior != nil || path == "" || time.Now().After(deadline) {
			return prior, err
		}
		if !said {
			e.log.Info("an address is in use, trying again in case an edge is just taking over", "duration", inUsePatience, "err", err)
			said = true
		}
		time.Sleep(retryPause)
	}
}

func (e *Edge) listenAll(p *prior, f *routes.File) (err error) {
	if e.web, err = listen(p, "edge", e.address); err != nil {
		return err
	}
	if e.pages, err = listen(p, "admin", e.admin); err != nil {
		return errors.Join(err, e.web.Close())
	}
	change, err := e.ports.prepare(f, p)
	if err != nil {
		return errors.Join(err, e.web.Close(), e.pages.Close())
	}
	change.commit()
	return nil
}

// listen takes a listener over, or opens one.
func listen(p *prior, role, address string) (*listener, error) {
	name := role + " " + address
	if l := p.take(name); l != nil {
		return l, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		advice := "choose another address"
		if isInUse(err) {
			advice = "something listens there already: stop it, choose another address, or, where it is an edge, write address and --handover as it has them, so that this one takes over from it"
		}
		return nil, fmt.Errorf("%s: %w: %s", role, err, advice)
	}
	return newListener(name, l.(*net.TCPListener)), nil
}

// serve starts the server.
func (e *Edge) serve() error {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collector{e}, certCollector{e.certs})
	opts := []easyops.ServerOption{
		easyops.WithFlags(e.config.Flags),
		easyops.WithPrometheus(metrics),
		easyops.WithLogger(e.log),
		easyops.WithListener(e.web),
		easyops.WithStatusListener(e.pages),
		easyops.WithoutRegistration(),
		easyops.WithProxy(e.table),
		easyops.WithProblems(e.problems),
		easyops.WithPage(routesPage(e.State, e.table, e.ports.status)),
		easyops.WithGRPC(
			grpc.ForceServerCodecV2(newRawCodec()), grpc.MaxRecvMsgSize(e.maxMessage), grpc.MaxSendMsgSize(e.maxMessage),
			grpc.StaticStreamWindowSize(unread), grpc.StaticConnWindowSize(connWindow),
		),
		easyops.WithLimits(easyops.Limits{StreamWindow: uploadWindow}),
		easyops.WithCheck("first answer of the registry", e.acquaint),
		easyops.WithOnStop("TCP routes", e.ports.wait),
	}
	if len(e.certs.list()) > 0 {
		opts = append(opts, easyops.WithTLSConfig(e.certs.server()))
	}
	e.server = easyops.NewServer(append(opts, e.config.Options...)...)
	if err := e.server.Start(); err != nil {
		return err
	}
	e.ports.start()
	e.background.Go(func() { e.follow(e.life) })
	e.background.Go(func() {
		select {
		case <-e.server.Draining():
			e.leaving.Store(true)
			if e.door != nil {
				e.door.close()
			}
			e.ports.drain()
		case <-e.life.Done():
		}
	})
	go e.await()
	return nil
}

// takeOver has the edge that runs leave, once this one is ready.
func (e *Edge) takeOver(p *prior) {
	if p == nil {
		return
	}
	select {
	case <-e.server.Ready():
	case <-e.done:
		return
	}
	if err := p.serving(); err != nil {
		e.log.Warn("taken over, but the other edge did not say that it takes no more connections: see whether it still runs", "pid", p.pid, "err", err)
		return
	}
	e.log.Info("taken over", "pid", p.pid)
}

// openDoor lets another edge take over from this one.
func (e *Edge) openDoor() {
	if e.door == nil {
		return
	}
	if err := e.door.open(successions{manner: e.manner, hold: e.hold, pause: e.pause, leave: e.leave}); err != nil {
		e.log.Warn("no other edge can take over from this one", "err", err)
	}
}
