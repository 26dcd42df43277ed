package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

type portsConfig struct {
	registry registry.Registry
	zone     string
	log      *slog.Logger
	room     *room       // nil: what the limit of open files is enough for
	fail     func(error) // is told when a port ends by itself
}

// ports are the TCP routes of an edge.
type ports struct {
	config portsConfig

	mu      sync.Mutex
	open    []*port              // in the order of the file
	former  map[*port]struct{}   // not in the file any more: their connections go on
	past    map[routeKey]traffic // of those that have ended
	serving bool
	ended   bool // by drain: ends are wanted

	running sync.WaitGroup
}

func newPorts(c portsConfig) *ports {
	if c.room == nil {
		c.room = newRoom(openFiles())
	}
	return &ports{config: c, former: map[*port]struct{}{}, past: map[routeKey]traffic{}}
}

// portChange is a change from one file to the next, which is made or abandoned as a
// whole.
type portChange struct {
	ports      *ports
	next, made []*port
	gone       []*port
	replaced   []*port // those of gone whose listener goes on in another
}

// prepare makes what the routes of a file need beside what there is, with the
// listeners of the edge that runs, if there is one. A route that is as it was stays;
// of one that is not, the listener stays.
func (s *ports) prepare(f *routes.File, p *prior) (*portChange, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &portChange{ports: s, gone: slices.Clone(s.open)}
	if most, ok := s.config.room.enough(f.TCP); !ok {
		s.config.log.Warn("TCP routes can have fewer connections together than their max_connections: raise the limit of open files (ulimit -n)",
			"max_connections", most, "room", s.config.room.most)
	}
	for _, r := range f.TCP {
		if err := c.add(r, p); err != nil {
			c.abandon()
			return nil, fmt.Errorf("%s:%d: %w", f.Name, r.Line, err)
		}
	}
	return c, nil
}

func (c *portChange) add(r routes.TCPRoute, p *prior) error {
	i := slices.IndexFunc(c.gone, func(old *port) bool { return old.route.Listen == r.Listen })
	if i >= 0 && c.gone[i].same(r) {
		c.next = append(c.next, c.gone[i])
		c.gone = slices.Delete(c.gone, i, i+1)
		return nil
	}
	l, err := c.listenerFor(r, i, p)
	if err != nil {
		return err
	}
	made, err := newPort(r, l, c.ports.config)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	c.next, c.made = append(c.next, made), append(c.made, made)
	return nil
}

// listenerFor returns a second one of the port that is replaced, or one of the edge
// that runs, or a new one.
func (c *portChange) listenerFor(r routes.TCPRoute, replaces int, p *prior) (*listener, error) {
	if replaces < 0 {
		return listen(p, "tcp", r.Listen)
	}
	old := c.gone[replaces]
	if slices.Contains(c.replaced, old) { // port 0 twice
		return listen(p, "tcp", r.Listen)
	}
	c.replaced = append(c.replaced, old)
	return old.listener.again()
}

// commit makes the change. New ports accept before former ones stop.
func (c *portChange) commit() {
	s := c.ports
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = c.next
	if s.serving {
		for _, p := range c.made {
			s.serve(p)
		}
	}
	for _, p := range c.replaced {
		p.listener.Pause()
	}
	for _, p := range c.gone {
		s.former[p] = struct{}{}
		s.running.Go(func() { s.retire(p) })
	}
}

// abandon gives back what was made for the change.
func (c *portChange) abandon() {
	for _, p := range c.made {
		_ = p.listener.Close()
		_ = p.close()
	}
}

// retire ends a port that is not in the file any more, once its connections have ended.
func (s *ports) retire(p *port) {
	p.server.Drain()
	_ = p.server.Shutdown(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.former, p)
	s.past[p.key()] = s.past[p.key()].plus(p.traffic())
	_ = p.close()
}

// start serves all ports.
func (s *ports) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = true
	for _, p := range s.open {
		s.serve(p)
	}
}

// serve is called with mu locked.
func (s *ports) serve(p *port) {
	s.running.Go(func() {
		err := p.server.Serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil && !s.ended && slices.Contains(s.open, p) {
			s.config.fail(err)
		}
	})
}

func (s *ports) all() []*port {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.open)
	for p := range s.former {
		all = append(all, p)
	}
	return all
}

// drain stops accepting. Connections go on.
func (s *ports) drain() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	for _, p := range s.all() {
		p.server.Drain()
	}
}

// cutReserve is what is kept of the time for a stop, so that connections which are cut
// have been when it is over.
const cutReserve = 200 * time.Millisecond

// wait waits until all connections have ended. Those that have not when the context
// ends are cut, and the error names them.
func (s *ports) wait(ctx context.Context) error {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-cutReserve))
		defer cancel()
	}
	s.drain()
	all := s.all()
	errs := make([]error, len(all))
	var waits sync.WaitGroup
	for n, p := range all {
		waits.Go(func() { errs[n] = p.server.Shutdown(ctx) })
	}
	waits.Wait()
	return errors.Join(errs...)
}

// close ends all at once.
func (s *ports) close() error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.wait(now)
	s.running.Wait()
	var errs []error
	for _, p := range s.all() {
		_ = p.listener.Close()
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// listeners are those of the routes in force.
func (s *ports) listeners() (all []*listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.open {
		all = append(all, p.listener)
	}
	return all
}

func (s *ports) addr(listen string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.open {
		if p.route.Listen == listen {
			return p.listener.Addr()
		}
	}
	return nil
}

// routeKey is what stays of a TCP route however its settings change.
type routeKey struct{ listen, service string }

// traffic is what was counted of a TCP route.
type traffic struct {
	open                             int
	accepted, failed, received, sent uint64
}

func (t traffic) plus(u traffic) traffic {
	return traffic{
		open: t.open + u.open, accepted: t.accepted + u.accepted, failed: t.failed + u.failed,
		received: t.received + u.received, sent: t.sent + u.sent,
	}
}

// traffic returns what was counted of all routes that there are or were.
func (s *ports) traffic() map[routeKey]traffic {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(s.past)
	for _, p := range s.open {
		all[p.key()] = all[p.key()].plus(p.traffic())
	}
	for p := range s.former {
		all[p.key()] = all[p.key()].plus(p.traffic())
	}
	return all
}

// TCPStatus is how a TCP route is at a moment.
type TCPStatus struct {
	Route       routes.TCPRoute
	Former      bool // not in the file any more: its connections go on
	Open        int  // connections
	Accepted    uint64
	Failed      uint64
	LastError   error // why a connection was closed without an instance
	LastErrorAt time.Time
	Pool        routing.PoolStatus
}

func (s *ports) status() (all []TCPStatus) {
	ports := s.all()
	s.mu.Lock()
	in := slices.Clone(s.open)
	s.mu.Unlock()
	for _, p := range ports {
		failed, n := p.failures(), p.traffic()
		all = append(all, TCPStatus{
			Route: p.route, Former: !slices.Contains(in, p), Open: p.server.Open(),
			Accepted: n.accepted, Failed: failed.count, LastError: failed.err, LastErrorAt: failed.at, Pool: p.pool.Status(),
		})
	}
	return all
}
