package easyops

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

// channel is the connections to a service, and all that looks after them. Conns
// that were dialled with the same settings share one.
type channel struct {
	service  string
	key      *channelKey // nil where it is one Conn's own
	opened   sync.Once
	err      error // of the opening
	conn     serviceConn
	registry registry.Registry // nil with a target
	calls    any               // the *caller of conn, see serviceConn
	stop     func()            // of the upkeep

	holders int // of channels
}

// serviceConn is a [routing.Conn] without its calls. The status pages list channels, and
// by its own type every server would link all that makes connections.
type serviceConn interface {
	Status() routing.Status
	Renew()
	Close() error
}

// caller is what calls go by.
type caller struct {
	conn  *routing.Conn
	creds *sparingCreds // nil where gRPC asks for those of each call
}

// close ends all calls and connections.
func (ch *channel) close() error {
	ch.stop()
	err := ch.conn.Close()
	if ch.registry != nil {
		err = errors.Join(err, ch.registry.Close())
	}
	return err
}

// channels are those that are open. Their methods may be called concurrently.
type channels struct {
	mu     sync.Mutex
	shared map[channelKey]*channel
	open   map[*channel]struct{}
}

// dialled are the channels of the process. They are global because who dials a
// service does not know of others who dial it too.
var dialled = &channels{shared: map[channelKey]*channel{}, open: map[*channel]struct{}{}}

// hold returns a channel that was opened: the one that others with the same key
// hold, or a new one. Who holds it lets go of it.
func (c *channels) hold(service string, key *channelKey, open func(*channel) error) (*channel, error) {
	ch := c.find(service, key)
	ch.opened.Do(func() {
		if ch.err = open(ch); ch.err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.open[ch] = struct{}{}
		}
	})
	if ch.err != nil {
		c.forget(ch)
		return nil, ch.err
	}
	return ch, nil
}

func (c *channels) find(service string, key *channelKey) *channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key != nil {
		if ch := c.shared[*key]; ch != nil {
			ch.holders++
			return ch
		}
	}
	ch := &channel{service: service, key: key, holders: 1}
	if key != nil {
		c.shared[*key] = ch
	}
	return ch
}

// letGo closes a channel that nobody else holds.
func (c *channels) letGo(ch *channel) error {
	if c.forget(ch) {
		return ch.close()
	}
	return nil
}

// forget tells whether nobody holds the channel any more. Then nobody will find
// it either.
func (c *channels) forget(ch *channel) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.holders--; ch.holders > 0 {
		return false
	}
	delete(c.open, ch)
	if ch.key != nil {
		delete(c.shared, *ch.key)
	}
	return true
}

// conns returns the channels that are open in this process, by service.
func conns() []*channel {
	dialled.mu.Lock()
	all := slices.Collect(maps.Keys(dialled.open))
	dialled.mu.Unlock()
	slices.SortFunc(all, func(a, b *channel) int { return strings.Compare(a.service, b.service) })
	return all
}

// channelKey is all that makes a difference to connections. A setting that has a
// part in them and is not in the key must keep its Conn from sharing.
type channelKey struct {
	service                string
	registry, target       string
	tlsCert, tlsKey, tlsCA string
	tls                    tlsKey
	serverID               string
	serviceToken           string
	insecurePlaintext      bool
	forwardUser            bool
	personal               bool
	fastCodec              bool
	zone                   string
	subset                 int
	logger                 *slog.Logger
	hasLevel               bool
	level                  slog.Level
}

// tlsKey tells TLS configurations apart. One that is in use must not be changed
// (see [tls.Config]); whom it trusts is compared all the same.
type tlsKey struct {
	config     *tls.Config
	roots      *x509.CertPool
	serverName string
	trusting   bool
}

// sharedKey returns under which key Conns share, nil for none: what cannot be
// compared may differ, and settings that are wrong are for nobody else to see.
func sharedKey(c *config, service string) *channelKey {
	if len(c.dialOptions) > 0 || c.userTokens != nil || len(c.faults) > 0 {
		return nil
	}
	k := &channelKey{
		service: service, registry: c.registry, target: c.target,
		tlsCert: c.tlsCert, tlsKey: c.tlsKey, tlsCA: c.tlsCA,
		serverID: c.serverID, serviceToken: c.serviceToken,
		insecurePlaintext: c.insecurePlaintext, forwardUser: c.forwardUser,
		personal: c.personal, fastCodec: c.fastCodec, zone: c.zone(), subset: c.subset,
		logger: c.logger,
	}
	if t := c.tlsConfig; t != nil {
		k.tls = tlsKey{t, t.RootCAs, t.ServerName, t.InsecureSkipVerify}
	}
	if k.logger == nil {
		k.logger = slog.Default()
	}
	if c.logLevel != nil {
		k.hasLevel, k.level = true, *c.logLevel
	}
	return k
}
