package routing

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// PoolConfig says where the instances of a service are that does not speak gRPC.
type PoolConfig struct {
	// Service is the name that the instances are listed under. It is required.
	Service string
	// Kind is what the instances must speak. It is required.
	Kind registry.Kind
	// Registry lists the instances. It is required unless there is a Target,
	// and must stay open until the Pool is closed.
	Registry registry.Registry
	// Target is the host:port of the only instance. Where it is set, the registry
	// is not asked.
	Target string
	// Zone is where this process runs: instances whose tag "zone" is the same are
	// preferred. "" means that it does not matter.
	Zone string
	// MaxWait is how long Pick and Dial wait for an instance; 0 means
	// DefaultMaxWait. Where it is negative they wait only for the registry's first
	// answer, a second at most.
	MaxWait time.Duration
	// ConnectTimeout is how long a connection to an instance may take, Secure
	// included; 0 means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// Dial connects to an address, host:port, for [Pool.Dial]; nil means by TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Secure makes the connection one that is secured, such as by a handshake of TLS,
	// for [Pool.Dial]; nil leaves it as it is. Pool.Dial returns what it returns,
	// whose Close must close the connection that it was given. Where it fails the
	// Pool closes that.
	Secure func(ctx context.Context, conn net.Conn) (net.Conn, error)
	// Logger is told when instances or the registry fail and when they are back; nil
	// means slog.Default().
	Logger *slog.Logger
}

// DefaultConnectTimeout is how long a connection to an instance may take where
// [PoolConfig.ConnectTimeout] is zero.
const DefaultConnectTimeout = 5 * time.Second

func (c *PoolConfig) check() error {
	switch {
	case !registry.ValidService(c.Service):
		return fmt.Errorf("service name %.64q: must be letters, digits, dots, dashes or underscores", c.Service)
	case c.Kind == "" && c.Target == "":
		return fmt.Errorf("service %s: say of what kind its instances are, such as %s", c.Service, registry.KindTCP)
	case c.Registry == nil && c.Target == "":
		return fmt.Errorf("service %s: there is no registry to find it in: name one, or give a target such as host:port", c.Service)
	case c.ConnectTimeout < 0:
		return fmt.Errorf("service %s: the time that a connection may take is negative", c.Service)
	}
	c.MaxWait = cmp.Or(c.MaxWait, DefaultMaxWait)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	if c.Dial == nil {
		c.Dial = dialPlain
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// dialPlain connects by TCP. Who is not there any more is noticed within 30 s by
// connections on which nothing is sent.
func dialPlain(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	return d.DialContext(ctx, "tcp", addr)
}

// source names where the instances come from, for messages.
func (c *PoolConfig) source() string {
	if c.Target != "" {
		return "target " + c.Target
	}
	return c.Registry.String()
}

// Pool chooses instances of a service for connections that are not gRPC's: those of
// TCP services, and of a proxy to HTTP services. Its methods may be called
// concurrently.
//
// Instances with an owner, or with tags other than the zone, are left out. Of the
// others those are chosen that are READY; those that are STOPPING while there is no
// other that can be reached; where none of these is listed, those that were known
// last: as long as they are listed with whatever health, and for a minute after that.
// Among these the ones in the own zone go first, and of two random ones the one with
// less picks that are not done.
//
// One that fails is left out for 1 s, and twice as long each further time, 30 s at
// most; then one pick at a time tries it, until it works. Never more than half of the
// instances are left out, and never the last: what has no other to go to, goes there.
type Pool struct {
	config  PoolConfig
	journal *journal
	minute  budget // of what the journal is told of instances
	ended   context.Context
	end     context.CancelFunc
	started time.Time

	mu      sync.Mutex
	work    sync.WaitGroup
	closed  bool
	changed chan struct{} // closed when there is something new to choose from
	stock   stock
	inUse   int    // picks that are not done
	note    string // on what is listed, for messages

	listed        int
	listedAt      time.Time // zero before the first answer
	registryError error     // why the registry cannot be asked, or nil
	lastErr       string    // of a connection to any instance
	lastErrAt     time.Time
}

// NewPool returns a pool of the instances of a service, and begins to look for them.
// The caller closes it.
func NewPool(config PoolConfig) (*Pool, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	p := &Pool{
		config: config, journal: newJournal(config.Logger), started: time.Now(),
		changed: make(chan struct{}), stock: newStock(&config),
	}
	p.ended, p.end = context.WithCancel(context.Background())
	if config.Target != "" {
		p.stock.fix(config.Target)
		p.listedAt, p.note = p.started, "its address is that of "+config.source()
		return p, nil
	}
	p.note = "not known yet from " + config.source()
	p.work.Go(func() { config.Registry.Watch(p.ended, config.Service, p.update) })
	return p, nil
}

// Close ends what waits, and the attempts to connect that are under way, with an
// error that is [net.ErrClosed]. Connections that were made stay open.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	p.work.Wait()
	p.journal.close()
	return nil
}

// InUse returns how many picks are not done, and connections not closed, of instances
// that are listed and of others.
func (p *Pool) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inUse
}

// begin runs work that Close waits for, unless it was called already.
func (p *Pool) begin(work func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.work.Go(work)
	}
	return !p.closed
}

func (p *Pool) errClosed() error {
	return fmt.Errorf("service %s: the pool of its instances: %w", p.config.Service, net.ErrClosed)
}

// update takes in what the registry says. After an error it goes on with what is
// known.
func (p *Pool) update(listed []registry.Instance, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.registryError == nil {
			p.journal.warn("registry fails, going on with the instances that are known", "service", p.config.Service, "err", err)
		}
		p.registryError = err
		p.note = fmt.Sprintf("%s cannot be asked: %v", p.config.source(), err)
		return
	}
	if p.registryError != nil {
		p.journal.info("registry answers again", "service", p.config.Service, "registry", p.config.source())
	}
	p.registryError, p.listed, p.listedAt = nil, len(listed), time.Now()
	p.note = fmt.Sprintf("%s lists %s", p.config.source(), p.stock.learn(listed, p.listedAt))
	p.newsLocked()
}

// newsLocked wakes who waits for something to choose.
func (p *Pool) newsLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}
