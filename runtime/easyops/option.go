package easyops

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/status"
)

// A ServerOption configures a [Server].
type ServerOption interface{ applyServer(*config) }

// A DialOption configures a [Conn].
type DialOption interface{ applyDial(*config) }

// An Option configures servers and clients alike. An option wins over its
// flag, a flag over its environment variable.
type Option interface {
	ServerOption
	DialOption
}

type (
	serverOption func(*config)
	dialOption   func(*config)
	option       func(*config)
)

func (o serverOption) applyServer(c *config) { o(c) }
func (o dialOption) applyDial(c *config)     { o(c) }
func (o option) applyServer(c *config)       { o(c) }
func (o option) applyDial(c *config)         { o(c) }

// given is an option in place of a setting: its flag and its environment
// variable are not read.
func given(name string, set func(*config)) option {
	return func(c *config) {
		c.given[name] = true
		set(c)
	}
}

func givenServer(name string, set func(*config)) ServerOption {
	return serverOption(given(name, set))
}

// WithOptions makes one option of several.
func WithOptions(opts ...Option) Option {
	return option(func(c *config) {
		for _, o := range opts {
			if o != nil {
				o.applyServer(c)
			}
		}
	})
}

// WithFlags reads the settings from another FlagSet than [flag.CommandLine];
// [RegisterFlags] prepares it, the program parses it. With nil neither flags
// nor environment variables are read.
func WithFlags(fs *flag.FlagSet) Option {
	return option(func(c *config) { c.flags, c.isolated = fs, fs == nil })
}

// WithLogger sets the logger. The default is [slog.Default]. What operators change
// is told to its handler whatever the level, and whether or not the handler's
// Enabled lets INFO through: see the line "audit".
func WithLogger(l *slog.Logger) Option {
	return option(func(c *config) { c.logger = l })
}

// WithLogLevel sets the least level that is logged.
func WithLogLevel(level slog.Level) Option {
	return given("log-level", func(c *config) { c.logLevel = &level })
}

// WithRegistry names the registry: "local", "local:DIR", "none", or the URL of one
// that is linked in, such as "etcd://h1:2379,h2:2379/prefix". That of etcd is
// linked in by
//
//	import _ "github.com/go-easyops/easyops/runtime/registry/etcd"
func WithRegistry(url string) Option {
	return given("registry", func(c *config) { c.registry = url })
}

// WithAddr sets the address to listen on, as host:port. The default is
// 127.0.0.1:0 standalone, :0 otherwise.
func WithAddr(addr string) ServerOption {
	return givenServer("addr", func(c *config) { c.addr = addr })
}

// WithAdvertise sets the address that the registry lists, as host:port. The
// default is the listener's. Of a listener on all interfaces it is the loopback
// address where the registry is local, and otherwise the address from which this
// machine reaches the registry.
func WithAdvertise(addr string) ServerOption {
	return givenServer("advertise", func(c *config) { c.advertise = addr })
}

// WithTags describes the instance by pairs of keys and values; "zone" is one
// of them. Tags are listed in the registry. Calls go only to instances whose tags,
// but for the zone, are those of the call (see WithTags of package routing): to an
// instance that has any goes no call without them.
//
// The zone is also where the clients of the process are, which prefer instances in
// their own. They read it from -easyops.tags and EASYOPS_TAGS alone.
func WithTags(pairs ...string) ServerOption {
	return givenServer("tags", func(c *config) {
		if len(pairs)%2 != 0 {
			c.fault(fmt.Errorf("WithTags: %d arguments: pass pairs of keys and values, such as WithTags(\"zone\", \"a\")", len(pairs)))
			return
		}
		tags, err := tagsOf(pairs...)
		if err != nil {
			c.fault(fmt.Errorf("WithTags: %w", err))
			return
		}
		c.tags = tags
	})
}

// WithOwner names the developer whose personal instance this is, by the ID of a
// user. The owner is listed in the registry. The instance is for calls in the name
// of that user, by clients with [WithPersonal], and for no others.
func WithOwner(id string) ServerOption {
	return givenServer("owner", func(c *config) { c.owner = id })
}

// WithPersonal has clients send the calls of a user to the user's personal
// instance, where there is one (see [WithOwner]). Without it personal instances
// are left out. Servers have it for the clients of the same program.
//
// The user is that of the incoming call that is carried on, or the "sub" of the
// token that the call carries. Nothing verifies that here: it chooses an instance,
// which verifies whose call it is.
func WithPersonal() Option {
	return given("personal", func(c *config) { c.personal = true })
}

// WithStatusAddr moves the status pages to an address of their own, as
// host:port. The probes answer on both.
func WithStatusAddr(addr string) ServerOption {
	return givenServer("status-addr", func(c *config) { c.moveStatus(addr, nil) })
}

// WithMetricsAccess says who may read the metrics: "operators" (the default),
// "authenticated" or "everyone".
func WithMetricsAccess(who string) ServerOption {
	return givenServer("metrics", func(c *config) { c.try("WithMetricsAccess", who, c.setMetrics) })
}

// WithMessageSizes adds the sizes of messages to the metrics. It costs each call
// 10 to 20 % of the server's CPU time.
func WithMessageSizes() ServerOption {
	return givenServer("message-sizes", func(c *config) { c.messageSizes = true })
}

// WithDrainDelay sets how long a server that was told to stop goes on as
// before, so that clients can learn of it. The default is 0 standalone and 2 s
// otherwise.
func WithDrainDelay(d time.Duration) ServerOption {
	return givenServer("drain-delay", func(c *config) { c.drainDelay = c.notNegative("WithDrainDelay", d) })
}

// WithStreamGrace sets how long streams may go on once they were told to end
// (see [Draining]). The default is 5 s.
func WithStreamGrace(d time.Duration) ServerOption {
	return givenServer("stream-grace", func(c *config) { c.streamGrace = c.notNegative("WithStreamGrace", d) })
}

// WithShutdownTimeout bounds the whole of a shutdown. The default is 25 s.
func WithShutdownTimeout(d time.Duration) ServerOption {
	return givenServer("shutdown-timeout", func(c *config) { c.shutdownTimeout = c.notNegative("WithShutdownTimeout", d) })
}

// WithAccessLogSample says of how many calls that ended well one is logged; 0
// means none. The default is 100. Calls that failed are logged in any case, within
// bounds. It holds from the start until an operator changes it.
func WithAccessLogSample(n int) ServerOption {
	return givenServer("access-log-sample", func(c *config) {
		c.try("WithAccessLogSample", strconv.Itoa(n), c.setAccessLogSample)
	})
}

// WithMixedHTTP2 serves all of HTTP/2 by net/http, gRPC too, at two to three
// times the cost a call. Only a proxy that sends gRPC calls and plain HTTP
// requests over one connection needs it.
func WithMixedHTTP2() ServerOption {
	return givenServer("mixed-http2", func(c *config) { c.mixedHTTP2 = true })
}

// WithHeapDump offers full heap dumps, which hold every secret of the process,
// to operators.
func WithHeapDump() ServerOption {
	return givenServer("heap-dump", func(c *config) { c.heapDump = true })
}

// WithListener serves on a listener of the caller's, which the server closes,
// also when it cannot start.
func WithListener(l net.Listener) ServerOption {
	return serverOption(func(c *config) { c.listener = l })
}

// WithStatusListener moves the status pages to a listener of the caller's, as
// [WithStatusAddr] does to an address; the last of these options counts. The server
// closes it, also when it cannot start or does not need it.
func WithStatusListener(l net.Listener) ServerOption {
	return givenServer("status-addr", func(c *config) {
		if l == nil {
			c.fault(errors.New("WithStatusListener: the listener is nil"))
			return
		}
		c.moveStatus(l.Addr().String(), l)
	})
}

// moveStatus moves the status pages to an address, or to a listener there. One that
// they were at before is the server's, so it is closed.
func (c *config) moveStatus(addr string, l net.Listener) {
	if c.statusLis != nil && c.statusLis != l {
		_ = c.statusLis.Close()
	}
	c.statusAddr, c.statusLis = addr, l
}

// WithContext ties the server to a context: its end is a shutdown.
func WithContext(ctx context.Context) ServerOption {
	return serverOption(func(c *config) {
		if ctx == nil {
			c.fault(errors.New("WithContext: the context is nil"))
			return
		}
		c.ctx = ctx
	})
}

// WithGRPC passes options on to grpc-go. Interceptors run after identity is
// known; stream interceptors must be given by grpc.ChainStreamInterceptor.
// Credentials have no effect.
func WithGRPC(opts ...grpc.ServerOption) ServerOption {
	return serverOption(func(c *config) { c.grpcOptions = append(c.grpcOptions, opts...) })
}

// WithLimits sets the bounds on what clients may use.
func WithLimits(l Limits) ServerOption {
	return serverOption(func(c *config) { c.limits = l })
}

// WithoutRegistration keeps the server out of the registry.
func WithoutRegistration() ServerOption {
	return serverOption(func(c *config) { c.unlisted = true })
}

// WithoutStatus leaves out the status pages, the metrics and gRPC reflection.
// The probes stay.
func WithoutStatus() ServerOption {
	return serverOption(func(c *config) { c.noStatus = true })
}

// WithOnReady calls f in a goroutine of its own once the server is ready.
// Several are called one after the other.
func WithOnReady(f func(*Server)) ServerOption {
	return serverOption(func(c *config) {
		if c.present("WithOnReady", f != nil) {
			c.onReady = append(c.onReady, f)
		}
	})
}

// WithOnStop calls f after the last call has ended. Several are called in
// reverse order; the context ends with the time for the shutdown.
func WithOnStop(name string, f func(context.Context) error) ServerOption {
	return serverOption(func(c *config) {
		if c.present("WithOnStop("+strconv.Quote(name)+")", f != nil) {
			c.onStop = append(c.onStop, hook{name, f})
		}
	})
}

// WithOnError calls f for every call that ended with an error, in the call's
// goroutine. Method is in the form "package.Service/Method".
func WithOnError(f func(ctx context.Context, method string, err error)) ServerOption {
	return serverOption(func(c *config) {
		if c.present("WithOnError", f != nil) {
			c.onError = append(c.onError, f)
		}
	})
}

// WithCheck makes the readiness of the server depend on f, which is called 5 s
// after it has returned and must return before its context ends, in 3 s. While it returns
// an error the server is NOT_READY.
func WithCheck(name string, f func(context.Context) error) ServerOption {
	return serverOption(func(c *config) {
		if c.present("WithCheck("+strconv.Quote(name)+")", f != nil) {
			c.checks = append(c.checks, &check{hook: hook{name, f}})
		}
	})
}

// WithInfo shows a text of the program's own to operators, on the page
// /internal/service-info/infoproviders. It is asked for at each request, and
// may be asked for concurrently.
func WithInfo(name string, text func() string) ServerOption {
	return serverOption(func(c *config) {
		if c.present("WithInfo("+strconv.Quote(name)+")", text != nil) {
			c.infos = append(c.infos, info{name, text})
		}
	})
}

// WithProblems has the overview, and easyops status with it, name what the program
// finds wrong with itself, among what is wrong else. What a problem has to do with
// readiness is for [WithCheck]. find is asked at each request, and may be asked
// concurrently.
func WithProblems(find func() []status.Problem) ServerOption {
	return serverOption(func(c *config) {
		if c.present("WithProblems", find != nil) {
			c.problems = append(c.problems, find)
		}
	})
}

// WithPrometheus collects the server's metrics in a registry of the caller's.
func WithPrometheus(r *prometheus.Registry) ServerOption {
	return serverOption(func(c *config) { c.prometheus = r })
}
