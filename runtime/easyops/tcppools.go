package easyops

import (
	"cmp"
	"context"
	"net"
	"sort"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

// keepPool is how long a pool is kept that DialTCP does not use. With a connection that
// is open still it is kept as long again: which instance has how many is known by it.
const keepPool = time.Minute

// tcpPool knows the instances of a TCP service. DialTCPs with the same settings share
// one.
type tcpPool struct {
	key      tcpKey
	opened   sync.Once
	err      error // of the opening
	pool     servicePool
	registry registry.Registry // nil with a target

	// Of the pools.
	holders int
	ready   bool        // it was opened
	idle    *time.Timer // nil while there are holders
}

// servicePool is what is used of a [routing.Pool], as serviceConn of a Conn.
type servicePool interface {
	Dial(context.Context) (net.Conn, registry.Instance, error)
	InUse() int
	Status() routing.PoolStatus
	Close() error
}

// tcpKey is all that makes a difference to connections. Where the log goes does not:
// a pool has that of who came first.
type tcpKey struct {
	channelKey
	tls bool
}

// tcpPools are those that are kept. Their methods may be called concurrently.
type tcpPools struct {
	keep time.Duration
	mu   sync.Mutex
	all  map[tcpKey]*tcpPool
}

// dialledTCP are the pools of the process. They are global because who calls DialTCP
// does not know of others who do.
var dialledTCP = &tcpPools{keep: keepPool, all: map[tcpKey]*tcpPool{}}

// CloseIdleTCP ends what is kept of the calls of [DialTCP] that are over, which would
// end by itself a minute after the last one and its connections. Connections stay open.
// It is for tests that look for goroutines which are left; those with servers of package
// easyopstest need not call it.
func CloseIdleTCP() { dialledTCP.closeIdle() }

// hold returns the pool for the settings. Who holds it lets go of it.
func (t *tcpPools) hold(c *config, name string) (*tcpPool, error) {
	shared := sharedKey(c, name)
	if shared == nil { // only wrong settings cannot be shared, and open finds more of them
		return nil, new(tcpPool).open(c, name)
	}
	shared.logger, shared.hasLevel, shared.level = nil, false, 0
	p := t.find(tcpKey{*shared, c.dialTLS})
	p.opened.Do(func() {
		p.err = p.open(c, name)
		t.mu.Lock()
		defer t.mu.Unlock()
		p.ready = p.err == nil
	})
	if p.err != nil {
		t.forget(p)
		return nil, p.err
	}
	return p, nil
}

func (t *tcpPools) find(key tcpKey) *tcpPool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.all[key]
	if p == nil {
		p = &tcpPool{key: key}
		t.all[key] = p
	}
	p.holders++
	if p.idle != nil {
		p.idle.Stop() // where that is too late, end sees that it is held
		p.idle = nil
	}
	return p
}

// forget has nobody find a pool any more that could not be opened.
func (t *tcpPools) forget(p *tcpPool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[p.key] == p {
		delete(t.all, p.key)
	}
}

// letGo keeps a pool for a while that nobody else holds.
func (t *tcpPools) letGo(p *tcpPool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.holders--; p.holders == 0 {
		p.idle = time.AfterFunc(t.keep, func() { t.expire(p) })
	}
}

// expire ends a pool that was not used for a while, unless a connection is open.
func (t *tcpPools) expire(p *tcpPool) {
	t.mu.Lock()
	open := p.holders == 0 && t.all[p.key] == p && p.pool.InUse() > 0
	if open {
		p.idle.Reset(t.keep)
	}
	t.mu.Unlock()
	if !open {
		t.end(p)
	}
}

// end closes a pool, unless it is held.
func (t *tcpPools) end(p *tcpPool) {
	t.mu.Lock()
	idle := p.holders == 0 && t.all[p.key] == p
	if idle {
		p.idle.Stop()
		delete(t.all, p.key)
	}
	t.mu.Unlock()
	if idle {
		p.close()
	}
}

func (p *tcpPool) close() {
	_ = p.pool.Close()
	if p.registry != nil {
		_ = p.registry.Close() // nobody is left who could do anything about it
	}
}

func (t *tcpPools) closeIdle() {
	t.mu.Lock()
	var idle []*tcpPool
	for _, p := range t.all {
		if p.idle != nil {
			idle = append(idle, p)
		}
	}
	t.mu.Unlock()
	for _, p := range idle {
		t.end(p)
	}
}

// status describes the pools that are kept, by service.
func (t *tcpPools) status() []routing.PoolStatus {
	t.mu.Lock()
	var pools []servicePool
	for _, p := range t.all {
		if p.ready {
			pools = append(pools, p.pool)
		}
	}
	t.mu.Unlock()
	all := make([]routing.PoolStatus, 0, len(pools))
	for _, p := range pools {
		all = append(all, p.Status())
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Source, b.Source)) < 0
	})
	return all
}
