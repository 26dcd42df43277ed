// Package etcdserver runs etcd inside this process, one member or three, for
// tests and for trying things: real etcd, which can be stopped, started again
// and wiped.
package etcdserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"
)

const startTimeout = 30 * time.Second

// Cluster is an etcd of one or more members, each on ports of its own on
// loopback, which it keeps. A member that stops while it has clients waits some
// 5 s for them. Its methods may be called concurrently, but those
// that stop and start members wait for each other.
type Cluster struct {
	dir     string
	change  []func(*embed.Config)
	members []member

	mu      sync.Mutex
	servers []*embed.Etcd // nil where stopped
	token   string        // tells clusters apart
}

type member struct {
	name         string
	client, peer string // host:port
}

// Leftovers are goroutines that members leave when they are stopped or killed
// while another one asks them something: these wait for ever for the lock of a
// file that is closed. They are etcd's, and none of what is tested.
func Leftovers() []goleak.Option {
	const storage = "go.etcd.io/etcd/server/v3/storage/"
	return []goleak.Option{
		goleak.IgnoreAnyFunction(storage + "backend.(*baseReadTx).UnsafeRange"),
		goleak.IgnoreAnyFunction(storage + "schema.DetectSchemaVersion"),
	}
}

// Start starts an etcd of n members, whose data is below the directory, and
// waits until it has a leader. Each function may change the configuration of
// each member. The caller closes the cluster.
func Start(dir string, n int, change ...func(*embed.Config)) (*Cluster, error) {
	c := &Cluster{dir: dir, change: change, servers: make([]*embed.Etcd, n)}
	for i := range n {
		client, err := freeAddr()
		if err != nil {
			return nil, err
		}
		peer, err := freeAddr()
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, member{name: "m" + strconv.Itoa(i), client: client, peer: peer})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newToken()
	return c, c.startAll()
}

// Endpoints returns host:port of each member, those that are stopped included.
func (c *Cluster) Endpoints() []string {
	list := make([]string, len(c.members))
	for i, m := range c.members {
		list[i] = m.client
	}
	return list
}

// URL returns the registry URL of the cluster, without a prefix.
func (c *Cluster) URL() string { return "etcd://" + strings.Join(c.Endpoints(), ",") }

// Leader returns the index of the member that leads, or -1.
func (c *Cluster) Leader() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.servers {
		if s != nil && s.Server.Leader() == s.Server.MemberID() {
			return i
		}
	}
	return -1
}

// Stop stops a member in order: where it leads, another one takes over first.
// Its data stays.
func (c *Cluster) Stop(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop(i)
}

// Kill stops a member at once: where it led, the others have to find out. Its
// data stays.
func (c *Cluster) Kill(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.servers[i]; s != nil {
		s.Server.HardStop()
	}
	c.stop(i)
}

// Restart starts a member that is stopped, with its data and on its ports, and
// waits until it takes part in a cluster that has a leader.
func (c *Cluster) Restart(i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.servers[i] != nil {
		return fmt.Errorf("member %d runs", i)
	}
	if err := c.start(i); err != nil {
		return err
	}
	return c.await(i)
}

// Wipe stops all members, removes all data and starts a new cluster on the
// same ports.
func (c *Cluster) Wipe() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopAll()
	for i := range c.members {
		if err := os.RemoveAll(c.dataDir(i)); err != nil {
			return err
		}
	}
	c.newToken()
	return c.startAll()
}

// Close stops all members. The data stays. Of several, the one that leads waits
// some 6 s for another to take over. That is not cut short: the connections
// between members that stop together end 5 s later, by a timeout of etcd's, and
// tests that look for what is left over would find them.
func (c *Cluster) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopAll()
}

func (c *Cluster) newToken() { c.token = fmt.Sprintf("t%x", rand.Uint64()) }

func (c *Cluster) dataDir(i int) string { return filepath.Join(c.dir, c.members[i].name) }

// startAll starts all members together, because the first waits for a second.
func (c *Cluster) startAll() error {
	errs := make([]error, len(c.members))
	var wg sync.WaitGroup
	for i := range c.members {
		wg.Go(func() { errs[i] = c.start(i) })
	}
	wg.Wait()
	for i := range c.members {
		if errs[i] == nil {
			errs[i] = c.await(i)
		}
	}
	err := errors.Join(errs...)
	if err != nil {
		c.stopAll()
	}
	return err
}

func (c *Cluster) stopAll() {
	var wg sync.WaitGroup
	for i := range c.members {
		wg.Go(func() { c.stop(i) })
	}
	wg.Wait()
}

func (c *Cluster) start(i int) (err error) {
	if c.servers[i], err = embed.StartEtcd(c.config(i)); err != nil {
		return fmt.Errorf("etcd member %d: %w", i, err)
	}
	return nil
}

func (c *Cluster) await(i int) error {
	select {
	case <-c.servers[i].Server.ReadyNotify():
		return nil
	case err := <-c.servers[i].Err():
		return fmt.Errorf("etcd member %d: %w", i, err)
	case <-time.After(startTimeout):
		return fmt.Errorf("etcd member %d is not ready after %v", i, startTimeout)
	}
}

func (c *Cluster) stop(i int) {
	if s := c.servers[i]; s != nil {
		s.Close()
		c.servers[i] = nil
	}
}

func (c *Cluster) config(i int) *embed.Config {
	m := c.members[i]
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = m.name, c.dataDir(i)
	cfg.LogLevel, cfg.LogOutputs = "fatal", []string{"/dev/null"}
	cfg.ListenClientUrls, cfg.ListenPeerUrls = urls(m.client), urls(m.peer)
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = urls(m.client), urls(m.peer)
	cfg.InitialClusterToken = c.token
	var all []string
	for _, m := range c.members {
		all = append(all, m.name+"=http://"+m.peer)
	}
	cfg.InitialCluster = strings.Join(all, ",")
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.UnsafeNoFsync = true // the data need not survive the machine
	for _, f := range c.change {
		f(cfg)
	}
	return cfg
}

func urls(addr string) []url.URL { return []url.URL{{Scheme: "http", Host: addr}} }

// freeAddr returns an address that nobody listens at. Its port is none of
// those that the kernel gives away, which might be taken while a member is
// stopped.
func freeAddr() (string, error) {
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(12_000+rand.IntN(20_000)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		return addr, l.Close()
	}
	return "", errors.New("no port is free")
}
