package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

const (
	// maxClients bounds the gRPC services that there are connections to. Routes such
	// as "*" leave it to callers to name one.
	maxClients = 256
	// connWindow is how many bytes of all calls are on the way on a connection. Of
	// one call it is unread, in each direction: static windows, because grpc-go would
	// have them grow to 16 MiB. A longer message gets what it needs.
	connWindow = 1 << 20
	// uploadWindow is how many bytes a request by HTTP/2 may have sent that the service
	// behind has not taken: anybody may send requests to some routes.
	uploadWindow = 512 << 10
	// perConn is how many calls there are on one Conn before there is another. Servers
	// of easyops take 250 at a time on a connection, others often 100.
	perConn = 100
	// unnamed is how long connections stay after the last call to a service that was
	// reached and that no route names, as with "*".
	unnamed = 5 * time.Minute
	// maxConns bounds the Conns to a service.
	maxConns = 32
)

// clients are the connections to gRPC services. They are made when they are first
// needed, and closed a while after the last call where no route names the service.
type clients struct {
	config  *TableConfig
	codec   encoding.CodecV2
	shares  shares
	listing listing

	mu     sync.Mutex
	closed bool
	all    map[string]*client
	named  func(service string) bool // a route names the very service
}

func newClients(c *TableConfig) *clients {
	return &clients{
		config: c, codec: newRawCodec(),
		shares: shares{all: map[string]*share{}}, listing: listing{registry: c.Registry},
		all: map[string]*client{}, named: func(string) bool { return false },
	}
}

var errTooMany = fmt.Errorf("there are calls to %d services under way", maxClients)

// take returns the client of a service. The caller drops it.
func (c *clients) take(service string) (*client, error) {
	if k, named := c.known(service); k != nil {
		return k, nil
	} else if !named {
		if err := c.listing.find(service); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errEnded
	}
	if k := c.all[service]; k != nil && k.take() == nil {
		return k, nil
	}
	if err := c.makeRoomLocked(service); err != nil {
		return nil, err
	}
	k, err := newClient(c.config, service)
	if err != nil {
		return nil, err
	}
	k.keep(c.named(service))
	c.all[service] = k
	return k, k.take()
}

// known takes the client of a service if there is one, and tells whether a route names
// the service.
func (c *clients) known(service string) (k *client, named bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.all[service]; k != nil && k.take() == nil {
		return k, true
	}
	return nil, c.named(service)
}

// prepare makes the client of a service that a route names, so that its first call
// needs no more time than others, and pages know of it.
func (c *clients) prepare(service string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.all[service]; k != nil && !k.isClosed() || c.closed {
		return nil
	}
	k, err := newClient(c.config, service)
	if err != nil {
		return err
	}
	c.all[service] = k
	return nil
}

// status returns which instances of each service there are.
func (c *clients) status() (all []routing.PoolStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.all {
		s := k.pool.Status()
		for n := range s.Instances { // calls are not the pool's
			s.Instances[n].InUse, s.Instances[n].Picks = 0, 0
		}
		all = append(all, s)
	}
	return all
}

// mayCarry returns an error for a call that carries a token and cannot go anywhere with
// it: nothing verifies the instances, and others than who runs on this machine tell
// which of its ports are theirs. Its context is that of the call that goes on.
func (c *clients) mayCarry(ctx context.Context) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	if c.config.TLS != nil || isOwn(c.config.Registry) || len(md[auth.UserHeader]) == 0 {
		return nil
	}
	return errBare
}

// errBare has the code of what [easyops.Conn] says of connections that are not good for
// a token.
var errBare = status.Error(codes.Unauthenticated, "the call carries a token, and nothing verifies the instances that the registry lists: give them certificates (-easyops.tls-cert, -easyops.tls-key), and the edge the authority (-easyops.tls-ca)")

// makeRoomLocked closes a client that nobody needs now: rather one whose service was
// never reached.
func (c *clients) makeRoomLocked(service string) error {
	for name, k := range c.all {
		if k.isClosed() {
			delete(c.all, name)
		}
	}
	if len(c.all) < maxClients || c.named(service) {
		return nil
	}
	var free *client
	for name, k := range c.all {
		if !c.named(name) && k.inUse() == 0 && (free == nil || !k.stays()) {
			free = k
		}
	}
	if free == nil {
		return errTooMany
	}
	delete(c.all, free.service)
	go func() { _ = free.end(false) }()
	return nil
}

// keep says which services the routes name from now on.
func (c *clients) keep(named func(string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.named = named
	for name, k := range c.all {
		if !k.keep(named(name)) {
			delete(c.all, name)
		}
	}
}

// close ends all connections.
func (c *clients) close() (err error) {
	c.mu.Lock()
	c.closed = true
	all := c.all
	c.all = nil
	c.mu.Unlock()
	for _, k := range all {
		err = errors.Join(err, k.end(true))
	}
	return err
}

// why says more of a call that waited in vain.
func (c *clients) why(service string, err error) error {
	c.mu.Lock()
	k := c.all[service]
	c.mu.Unlock()
	if k == nil {
		return err
	}
	if s := k.pool.Status(); s.Listed == 0 {
		return fmt.Errorf("no instance of %s is listed in %s", service, s.Source)
	}
	return err
}

// client is the connections to a gRPC service.
type client struct {
	holder
	service string
	options []easyops.DialOption
	pool    *routing.Pool // tells which instances there are

	mu    sync.Mutex
	conns []*conn
}

// conn is a Conn, how many calls are on it, and how many of it were cancelled.
type conn struct {
	*easyops.Conn
	calls  int
	resets resets
}

// bears tells whether there should be more calls on it. Who cancels many calls would
// otherwise have the service close the connection under those of others.
func (c *conn) bears(now time.Time) bool {
	return c.calls < perConn && c.resets.recent(now) < maxResets
}

func newClient(c *TableConfig, service string) (*client, error) {
	k := &client{service: service}
	// A Conn with an option of grpc-go is not shared with others. What was sent is not
	// sent again: that is for clients, who know what a method does.
	k.options = append(slices.Clip(c.Dial), easyops.DialGRPC(
		grpc.WithDisableRetry(), grpc.WithUserAgent(pseudonym),
		grpc.WithStaticStreamWindowSize(unread), grpc.WithStaticConnWindowSize(connWindow),
	))
	var err error
	k.pool, err = routing.NewPool(routing.PoolConfig{
		Service: service, Kind: registry.KindGRPC, Registry: c.Registry, Zone: c.Zone, MaxWait: time.Second, Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	if err := k.add(); err != nil {
		return nil, errors.Join(err, k.pool.Close())
	}
	k.holder.close, k.holder.all = k.shut, c.open
	c.open.Add(1)
	return k, nil
}

func (k *client) add() error {
	c, err := easyops.Dial(k.service, k.options...)
	if err == nil {
		k.conns = append(k.conns, &conn{Conn: c})
	}
	return err
}

// pick returns the Conn with the fewest calls of those that bear more. The caller calls
// release when its call has ended, and says whether it was cancelled.
func (k *client) pick() (_ *easyops.Conn, release func(reset bool)) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	least := k.leastLocked(now)
	if !least.bears(now) && len(k.conns) < maxConns && k.add() == nil {
		least = k.conns[len(k.conns)-1]
	}
	least.calls++
	return least.Conn, func(reset bool) {
		k.mu.Lock()
		defer k.mu.Unlock()
		least.calls--
		if reset {
			least.resets.add(time.Now())
		}
	}
}

func (k *client) leastLocked(now time.Time) *conn {
	tired := func(c *conn) int { return c.resets.recent(now) / maxResets }
	return slices.MinFunc(k.conns, func(a, b *conn) int {
		return cmp.Or(cmp.Compare(tired(a), tired(b)), cmp.Compare(a.calls, b.calls))
	})
}

// isFull tells whether there are so many calls that servers may let more of them wait.
func (k *client) isFull() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.conns) == maxConns && k.leastLocked(time.Now()).calls >= perConn
}

// shut closes all of it.
func (k *client) shut() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.pool.Close()
	for _, c := range k.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}
