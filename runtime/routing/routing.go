// Package routing is the client's side of discovery: which instance a call
// goes to, and how long it waits for one.
//
// It is built from gRPC's own parts: a resolver that watches the registry, and
// a balancer around gRPC's own, which make the connections. In between:
//
//   - Instances are of classes: those that a user owns, those with a set of tags,
//     and the plain ones. A call goes to one class, which is connected when a first
//     call asks for it, and left 5 minutes after the last one; the plain class always
//     is.
//   - Of a class those are connected that are READY, else those that are STOPPING,
//     else those that were known last; of these the ones in the own zone, else all;
//     and of these at most [Config.Subset]. Where none of them can be reached, as
//     many others, of any zone, are connected as well.
//   - Of two random ones that are connected the call goes to the one with less under
//     way, weighed with how long unary calls take there.
//   - Instances that fail are left out for a while: after 5 failures in a row, or
//     where many more calls fail than at the others; for 1 s, and up to 30 s where
//     that does not help. Then they are tried with one call at a time. Never more
//     than half of those that are connected are left out.
//   - While there is none, calls wait.
package routing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"

	"github.com/go-easyops/easyops/runtime/registry"
)

// DefaultMaxWait is how long a call waits for an instance where
// [Config.MaxWait] is zero.
const DefaultMaxWait = 30 * time.Second

// Config says where the instances of a service are.
type Config struct {
	// Service is the full name of the gRPC service. It is required.
	Service string
	// Registry lists the instances. It is required unless there is a Target,
	// and must stay open until the Conn is closed.
	Registry registry.Registry
	// Target is a target of gRPC's own, such as "dns:///echo.example.com:443".
	// Where it is set, the registry is not asked.
	Target string
	// Personal makes calls of a user go to the instances that she owns, where one
	// can be reached. Without it instances with an owner are left out.
	Personal bool
	// User returns the ID of the user whose call it is, "" for none. It is asked
	// for each call where Personal is set, by goroutines of the callers.
	User func(context.Context) string
	// Zone is where this process runs: instances whose tag "zone" is the same are
	// preferred. "" means that it does not matter.
	Zone string
	// Subset is how many instances of a class, such as those with the same tags,
	// the Conn connects to; 0 means DefaultSubset, -1 all.
	Subset int
	// Idempotent names the methods of the service, such as "Echo", that may be sent
	// to another instance where one is UNAVAILABLE. See [Idempotent].
	Idempotent []string
	// MaxWait is how long a call waits for an instance that can be reached,
	// from its start; 0 means DefaultMaxWait.
	MaxWait time.Duration
	// Logger is told when the registry fails and when it is back, and why
	// instances cannot be reached: each reason once, until the instance that it
	// was told of can be reached again; and of instances that are left out because
	// they fail, and are back. With a Target whose resolver is not one of
	// dns and passthrough only the calls tell of these. It is told without locks, so
	// it may use the Conn; where it is slow, records are left out. nil means
	// slog.Default().
	Logger *slog.Logger
}

func (c *Config) check() error {
	if !registry.ValidService(c.Service) {
		return fmt.Errorf("service name %.64q: must be letters, digits, dots, dashes or underscores", c.Service)
	}
	if c.Registry == nil && c.Target == "" {
		return fmt.Errorf("service %s: there is no registry to find it in: name one, or give a target such as dns:///host:port", c.Service)
	}
	if c.MaxWait < 0 {
		return errors.New("the time that calls wait is negative")
	}
	for _, m := range c.Idempotent {
		if m == "" || strings.Contains(m, "/") { // to gRPC no name is all methods
			return fmt.Errorf("idempotent method %.64q: must be the name alone, such as Echo", m)
		}
	}
	if c.Subset < -1 {
		return fmt.Errorf("a subset of %d instances: must be a number, 0 for %d, or -1 for all", c.Subset, DefaultSubset)
	}
	if c.Subset == 0 {
		c.Subset = DefaultSubset
	}
	if c.MaxWait == 0 {
		c.MaxWait = DefaultMaxWait
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// source names where the instances come from, for messages.
func (c *Config) source() string {
	if c.Target != "" {
		return "target " + c.Target
	}
	return c.Registry.String()
}

// Conn is a connection to all instances of a service. It implements
// [grpc.ClientConnInterface]; its methods may be called concurrently.
//
// A call goes to one of the instances that can be reached: to one that its user
// owns ([Config.Personal]), else to one with its tags ([WithTags]), else to one
// that has neither; among these, to the one of two random ones with less under way.
// Instances that fail again and again get no calls for a while, as long as there are
// others. With a [Config.Target] all instances are alike.
//
// Where there is none, a call waits, for [Config.MaxWait] at most, and then fails with
// UNAVAILABLE; where its own deadline ends first, with DEADLINE_EXCEEDED, up to
// 100 ms before that: callers further up, whose deadline is the same, then still
// get to know why. Both name the last error of a connection first, then the
// service and where its instances were looked for. A call with
// [grpc.WaitForReady](false) does not wait for instances that fail.
type Conn struct {
	cc         *grpc.ClientConn
	policy     *policyConfig
	finder     *finder // nil where there is a target
	marker     *marker
	roster     *roster
	journal    *journal
	user       func(context.Context) string // nil where personal instances are left out
	resendable map[string]bool              // the methods that may be sent again, as "/service/method"
}

// Dial returns a connection to the service. It connects with the first call,
// and does not fail because no instance runs. The options must have transport
// credentials; name resolution, balancing, the service config and whether all
// calls wait are not theirs to choose. The caller closes the Conn.
//
// A certificate must be for the name of the service, unless an option such as
// [grpc.WithAuthority] says otherwise; that of a target is for its host.
func Dial(config Config, opts ...grpc.DialOption) (*Conn, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	c := &Conn{
		policy: &policyConfig{Service: config.Service, Source: config.source(), MaxWait: config.MaxWait, Dialled: linkPolicy()},
		roster: newRoster(), journal: newJournal(config.Logger),
		resendable: methods(config.Service, config.Idempotent),
	}
	c.roster.told = &notices{journal: c.journal, service: config.Service}
	c.marker = &marker{failures: &failures{journal: c.journal, service: config.Service}, roster: c.roster}
	if config.Personal {
		c.user = config.User
	}
	opts = append(defaults(config.Target == ""), opts...)
	opts = append(opts,
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultServiceConfig(serviceConfig(c.policy, config.Idempotent)),
	)
	target := scheme + ":///" + config.Service
	if config.Target != "" {
		var more []grpc.DialOption
		target, more = steady(config.Target, c.marker)
		opts = append(opts, more...)
	} else {
		c.finder = newFinder(config, c.roster, c.marker, c.journal)
		// Instances are where the registry says, not behind the user's proxy.
		opts = append(opts, grpc.WithResolvers(c.finder), grpc.WithNoProxy())
	}
	var err error
	if c.cc, err = grpc.NewClient(target, opts...); err != nil {
		return nil, fmt.Errorf("service %s: %w", config.Service, err)
	}
	if c.finder != nil {
		c.finder.retryNow = c.cc.ResetConnectBackoff
	}
	return c, nil
}

// defaults are the options that a caller may override. Our servers allow pings
// every 5 s; an instance that does not answer any more is left within 20 s. What
// has a target may be a server that ends connections with pings and no calls, so
// those get none.
func defaults(listed bool) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                10 * time.Second,
			Timeout:             8 * time.Second,
			PermitWithoutStream: listed,
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
}

// Invoke implements [grpc.ClientConnInterface].
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.cc.Invoke(c.stamp(ctx, method, false, opts), method, args, reply, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.cc.NewStream(c.stamp(ctx, method, true, opts), desc, method, opts...)
}

// Close ends all calls and connections. It waits for the Logger to take what it
// was told, for a second at most.
func (c *Conn) Close() error {
	err := c.cc.Close()
	c.journal.close()
	return err
}

// Renew makes new connections in the place of those that are open. Each of these
// takes calls until its successor is ready, however long that takes, and ends with
// the calls that go over it. So it is for who has a new certificate to show:
// where a server refuses that, which is logged, the connection to it stays as it
// is until it breaks, and a new one is tried again and again. Connections by way
// of an HTTP proxy, and to sockets by their path, stay.
func (c *Conn) Renew() { c.marker.renew() }

// State returns the state of the connection as a whole: READY when there is an
// instance that can be reached.
func (c *Conn) State() connectivity.State { return c.cc.GetState() }

// Instances returns the instances that calls go to; none where the Conn has a
// target. They belong to the caller, but for what they refer to.
func (c *Conn) Instances() []registry.Instance {
	if c.finder == nil {
		return nil
	}
	return c.finder.instances()
}
