package easyops

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

// config is what options, flags and the environment say together.
type config struct {
	given    map[string]bool   // settings that an option has set
	from     map[string]string // where the others were read: flag or environment
	faults   []error
	flags    *flag.FlagSet
	isolated bool // neither flags nor environment

	// Settings of servers and clients.
	registry               string
	tlsCert, tlsKey, tlsCA string
	tlsConfig              *tls.Config
	serviceToken           string
	insecurePlaintext      bool
	personal               bool
	tags                   map[string]string // clients want to know the zone
	logger                 *slog.Logger
	logLevel               *slog.Level
	fastCodec              bool
	level                  *level // see log

	// Settings of servers.
	addr, advertise, statusAddr string
	owner                       string
	authSpecs                   []string
	insecureNone                bool
	operators                   []operator
	metricsAccess               string
	drainDelay                  time.Duration
	streamGrace                 time.Duration
	shutdownTimeout             time.Duration
	heapDump, mixedHTTP2        bool
	messageSizes                bool
	accessLogSample             int

	ctx         context.Context
	listener    net.Listener
	statusLis   net.Listener // in place of statusAddr
	limits      Limits
	grpcOptions []grpc.ServerOption
	prometheus  *prometheus.Registry
	routes      []route
	tcp         []*tcpService
	proxy       Proxy
	ownPages    []status.Page
	unlisted    bool
	noStatus    bool
	onReady     []func(*Server)
	onStop      []hook
	onError     []func(context.Context, string, error)
	checks      []*check
	infos       []info
	problems    []func() []status.Problem

	authenticators []auth.Authenticator
	overrides      []override

	// Settings of clients.
	target      string
	dialOptions []grpc.DialOption
	dialing
}

// hook is a named function of the user's.
type hook struct {
	name string
	f    func(context.Context) error
}

// info is a text of the user's for operators.
type info struct {
	name string
	text func() string
}

// route is an HTTP handler of the user's.
type route struct {
	pattern string
	service string // that it is listed as in the registry, where it is named
	named   bool
	handler http.Handler
	access  auth.Access
}

// unset marks a duration whose default depends on other settings.
const unset = time.Duration(-1)

func newConfig() *config {
	return &config{
		given:           map[string]bool{},
		from:            map[string]string{},
		flags:           flag.CommandLine,
		ctx:             context.Background(),
		registry:        "local",
		metricsAccess:   "operators",
		drainDelay:      unset,
		streamGrace:     5 * time.Second,
		shutdownTimeout: 25 * time.Second,
		accessLogSample: 100,
	}
}

func serverConfig(opts []ServerOption) *config {
	c := newConfig()
	for _, o := range opts {
		if o != nil {
			o.applyServer(c)
		}
	}
	c.readSettings(func(setting) bool { return true })
	return c
}

func clientConfig(opts []DialOption) *config {
	c := newConfig()
	for _, o := range opts {
		if o != nil {
			o.applyDial(c)
		}
	}
	c.readSettings(func(s setting) bool { return s.client })
	return c
}

// fault keeps a wrong setting, so that all are reported at once.
func (c *config) fault(err error) {
	if err != nil {
		c.faults = append(c.faults, err)
	}
}

// faultEach keeps what is wrong with a setting, a line for each fault.
func (c *config) faultEach(setting string, err error) {
	if err == nil {
		return
	}
	for _, e := range faults(err) {
		c.fault(fmt.Errorf("%s: %s", setting, strings.ReplaceAll(e.Error(), "\n", "; ")))
	}
}

// err returns all faults as one error.
func (c *config) err() error { return errors.Join(c.faults...) }

// try sets a value that an option gives as text.
func (c *config) try(option, value string, set func(string) error) {
	if err := set(value); err != nil {
		c.fault(fmt.Errorf("%s(%q): %w", option, value, err))
	}
}

// present reports an option that was given a nil function.
func (c *config) present(option string, ok bool) bool {
	if !ok {
		c.fault(fmt.Errorf("%s: the function is nil", option))
	}
	return ok
}

func (c *config) notNegative(option string, d time.Duration) time.Duration {
	if d < 0 {
		c.fault(fmt.Errorf("%s(%v): a duration cannot be negative", option, d))
	}
	return d
}

// tagsOf makes tags of pairs of keys and values.
func tagsOf(pairs ...string) (map[string]string, error) {
	tags := make(map[string]string, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		k, v := pairs[i], pairs[i+1]
		if _, twice := tags[k]; twice {
			return nil, fmt.Errorf("the tag %q is given twice: an instance has one value of it", k)
		}
		tags[k] = v
	}
	return tags, nil
}

// tagText is tags as the setting has them.
func tagText(tags map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, k+"="+tags[k])
	}
	return strings.Join(all, ",")
}

// zone is where the process runs, as far as it was told.
func (c *config) zone() string { return c.tags["zone"] }

// openRegistry opens the registry that is named. Its error has a line for each
// fault.
func openRegistry(c *config) (registry.Registry, error) {
	r, err := registry.Open(c.registry, c.log())
	if err != nil {
		return nil, errors.Join(faults(fmt.Errorf("-easyops.registry or EASYOPS_REGISTRY: %w", err))...)
	}
	return r, nil
}

// log returns the logger with the level applied. All loggers that it returns have
// the same level, which may change.
func (c *config) log() *slog.Logger {
	if c.level == nil {
		c.level = &level{}
		c.level.Store(c.logLevel)
	}
	return slog.New(leveled{c.handler(), c.level})
}

// withoutLevel returns the logger for what operators do, from one of log's: who may
// turn the level up must not be able to do so, or anything else, unseen. Its lines go
// to Handle even where the handler's Enabled refuses them, as those below the
// handler's level do that a lower one of the server lets through: a handler that is
// to leave them out must do so in Handle.
func withoutLevel(log *slog.Logger) *slog.Logger {
	h := log.Handler()
	if l, ok := h.(leveled); ok {
		h = l.Handler
	}
	return slog.New(unfiltered{h})
}

// unfiltered is a handler without a level.
type unfiltered struct{ slog.Handler }

func (unfiltered) Enabled(context.Context, slog.Level) bool { return true }

func (h unfiltered) WithAttrs(attrs []slog.Attr) slog.Handler {
	return unfiltered{h.Handler.WithAttrs(attrs)}
}

func (h unfiltered) WithGroup(name string) slog.Handler {
	return unfiltered{h.Handler.WithGroup(name)}
}

// handler is the handler that the program's logger has.
func (c *config) handler() slog.Handler {
	if c.logger == nil {
		return slog.Default().Handler()
	}
	return c.logger.Handler()
}

// level is the least level that is logged: nil leaves it to the handler.
type level struct{ atomic.Pointer[slog.Level] }

// leveled is a handler with a level of its own, which may be lower than that
// of the handler below it.
type leveled struct {
	slog.Handler
	level *level
}

func (h leveled) Enabled(ctx context.Context, l slog.Level) bool {
	if least := h.level.Load(); least != nil {
		return l >= *least
	}
	return h.Handler.Enabled(ctx, l)
}

func (h leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(attrs), h.level}
}

func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.level}
}

// leastLevel is the name of the least usual level that a handler logs.
func leastLevel(h slog.Handler) string {
	for _, name := range logLevels {
		l, _ := parseLevel(name)
		if h.Enabled(context.Background(), l) {
			return name
		}
	}
	return "none"
}

var logLevels = []string{"debug", "info", "warn", "error"}
