// Package etcd is a registry in an etcd cluster, for services on many
// machines. A program that uses it links it in with a blank import:
//
//	import _ "github.com/go-easyops/easyops/runtime/registry/etcd"
//
// and names the cluster by a URL:
//
//	etcd://[user@]host:port,host:port[/prefix][?parameter=value&…]
//
// Hosts are the client addresses of some or all members, of etcd 3.4 or later;
// the port is 2379 where none is said. The prefix, easyops by default, is what
// the keys begin with: clusters that share an etcd have one each. Parameters:
//
//	user           the user of etcd to be, where it is not before the hosts
//	password-file  a file with the user's password, read again for each login
//	ca             a PEM file with the certificates of the authorities to
//	               trust, or system for those of the operating system; TLS is
//	               spoken where one of ca, cert and key is named
//	cert, key      PEM files of the client's certificate and its key
//	insecure-plaintext
//	               true to log in without TLS at hosts off loopback
//
// The files are read again for each connection; where they cannot be, the last
// good ones count. A URL with a fault in it is an error when it is opened,
// which names all of them. Whether etcd can be reached is not: Register and
// Watch say so, and it may come and go.
//
// # Keys and values
//
// They follow etcd's own gRPC naming (package
// go.etcd.io/etcd/client/v3/naming), whose resolver finds our instances, and
// whose entries are found by ours. The key is PREFIX/SERVICE/ID, the value
//
//	{"Op":0,"Addr":"10.0.0.7:4100","Metadata":{"v":1,"id":"…","kinds":["grpc","status"],"health":"READY","version":"…","tags":{},"owner":"","status_addr":"","started":"…"}}
//
// Entries without such Metadata are instances of kind grpc that are READY.
// Those of a server are on one lease of 10 s.
//
// Where etcd has users, a program needs a role that may read PREFIX/ to find
// services, and one that may read and write PREFIX/SERVICE/ for each service
// that it registers. One role that may write all lets it pose as any service;
// clients see that by its certificate alone. It logs in once, and again where
// etcd refuses its token; a login that takes long is waited for, for a minute,
// and one that fails is tried again later and later.
//
// # Outages
//
// After an outage of more than 3 s, and where the cluster is another one or an
// older one than before, an instance that is no longer listed is kept for one
// more lease, in which its server comes back if it still runs. Otherwise a key
// that is gone is believed at once.
//
// A watch that breaks, as where a member is restarted, goes on where it was.
// Where that is compacted, the service is listed again, by all clients of the
// member within a second. How far a watch has come it learns from the changes of
// its service, and where there are none from etcd, which by itself says so each
// ten minutes (--watch-progress-notify-interval). So lists are not read again
// where etcd keeps history for longer than that, however quiet the service. What
// etcd says when it is asked for a sign of life does not count: before 3.4.25
// and 3.5.8 that may overtake changes.
package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	scheme = "etcd"
	// leaseTime is how long the entries of a server that died stay.
	leaseTime = 10 * time.Second
	// askTimeout is for one question to etcd. A lease outlives some.
	askTimeout = 3 * time.Second
)

func init() {
	registry.RegisterDriver(scheme, func(url string, logger *slog.Logger) (registry.Registry, error) {
		return Open(url, logger)
	})
}

// Registry is a registry in etcd. Make it with [Open].
type Registry struct {
	config config
	logger *slog.Logger
	client *client
	close  func()
}

var (
	_ registry.Registry = (*Registry)(nil)
	_ registry.Lister   = (*Registry)(nil)
)

// Open returns the registry that the URL names; it neither asks etcd nor waits
// for it. All that the same process opens with the same URL shares connections
// and watches; what goes on there is logged for each who watches at the time, by
// equal loggers once. No logger means slog.Default(). The caller closes it.
func Open(url string, logger *slog.Logger) (*Registry, error) {
	if logger == nil {
		logger = slog.Default()
	}
	cfg, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", registry.Redact(url), err)
	}
	c, release, err := acquire(cfg)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", registry.Redact(url), err)
	}
	return &Registry{config: cfg, logger: logger, client: c, close: release}, nil
}

// String implements [registry.Registry].
func (r *Registry) String() string { return r.config.String() }

// LastAnswer implements [registry.Registry].
func (r *Registry) LastAnswer() time.Time { return r.client.lastAnswer() }

// Close implements [registry.Registry].
func (r *Registry) Close() error {
	r.close()
	return nil
}

// Register implements [registry.Registry].
func (r *Registry) Register(ctx context.Context, instances []registry.Instance) (registry.Lease, error) {
	values, err := r.config.encodeAll(instances)
	if err != nil {
		return nil, err
	}
	c, release, err := acquire(r.config)
	if err != nil {
		return nil, err
	}
	l, err := grant(ctx, c, values, instances[0].ID, r.logger.With("registry", r.String()))
	if err != nil {
		release()
		return nil, err
	}
	l.release = release
	return l, nil
}

// Watch implements [registry.Registry].
func (r *Registry) Watch(ctx context.Context, service string, update func([]registry.Instance, error)) {
	if !registry.ValidService(service) {
		update(nil, fmt.Errorf("no service can have the name %.64q", service))
		<-ctx.Done()
		return
	}
	c, release, err := acquire(r.config)
	if err != nil {
		update(nil, err)
		<-ctx.Done()
		return
	}
	defer release()
	f, news := c.subscribe(service, r.logger)
	defer c.unsubscribe(f, news)

	var seen int
	var failing bool
	for ctx.Err() == nil {
		list, version, err := f.current()
		if version != seen {
			update(slices.Clone(list), nil)
			seen = version
		}
		if err != nil && !failing {
			update(nil, err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
		case <-news:
		}
	}
}

// Services implements [registry.Lister], with a question for each 1,000 keys,
// and with fewer where a service has more of them.
func (r *Registry) Services(ctx context.Context) ([]string, error) {
	return r.client.services(ctx, r.config.prefix+"/")
}

// rangeEnd returns the first key after all that begin with the prefix, which
// ends in a slash.
func rangeEnd(prefix string) string { return prefix[:len(prefix)-1] + "0" }
