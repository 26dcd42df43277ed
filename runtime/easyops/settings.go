package easyops

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/flags"
)

// flagPrefix is before the name of each setting on the command line.
const flagPrefix = "easyops."

// setting is a value that a flag or an environment variable can give.
type setting struct {
	name   string // "drain-delay" is -easyops.drain-delay and EASYOPS_DRAIN_DELAY
	usage  string // as flag.PrintDefaults shows it; the back-quoted word names the value
	isBool bool
	client bool // clients read it too
	value
}

// value is how a setting is read from text, and shown as text.
type value struct {
	kind string // for operators
	set  func(*config, string) error
	show func(*config) string // empty where nothing is set
}

func (s setting) flag() string { return flagPrefix + s.name }

func (s setting) env() string {
	return "EASYOPS_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// settings are all there are, in the order in which documentation lists them.
var settings = []setting{
	{name: "addr", usage: "`host:port` to listen on (127.0.0.1:0 standalone, :0 otherwise)", value: text(func(c *config) *string { return &c.addr })},
	{name: "advertise", usage: "`host:port` that the registry lists (the listener's; of one on all interfaces that from which the registry is reached)", value: text(func(c *config) *string { return &c.advertise })},
	{name: "registry", usage: "registry `URL`: local, local:DIR, etcd://host:port,host:port/prefix or none (local)", client: true, value: text(func(c *config) *string { return &c.registry })},
	{name: "auth", usage: "how callers are authenticated, comma-separated `specs`: mtls, jwks:PATH?.., oidc:ISSUER?.. or insecure-none, which lets everyone in", value: value{"list", (*config).parseAuth, (*config).authText}},
	{name: "tls-cert", usage: "`file` with the certificate, PEM", client: true, value: text(func(c *config) *string { return &c.tlsCert })},
	{name: "tls-key", usage: "`file` with the certificate's key, PEM", client: true, value: text(func(c *config) *string { return &c.tlsKey })},
	{name: "tls-ca", usage: "`file` with the authorities that servers and clients verify each other against, PEM, or system", client: true, value: text(func(c *config) *string { return &c.tlsCA })},
	{name: "service-token", usage: "`file` with the token by which this program's calls say what service it is", client: true, value: text(func(c *config) *string { return &c.serviceToken })},
	{name: "tags", usage: "tags of the instance, `k=v,k=v`; zone is one of them, and that of clients too", client: true, value: value{"list", (*config).setTags, func(c *config) string { return tagText(c.tags) }}},
	{name: "owner", usage: "`ID` of the developer whose personal instance this is", value: text(func(c *config) *string { return &c.owner })},
	{name: "personal", usage: "send the calls of a user to the personal instance of that user", isBool: true, client: true, value: truth(func(c *config) *bool { return &c.personal })},
	{name: "operators", usage: "`who` may see the status pages, such as group:sre,user:alice,service:deployer (nobody; standalone: who runs the server)", value: value{"list", (*config).setOperators, (*config).operatorsText}},
	{name: "status-addr", usage: "`host:port` of the status pages (the gRPC port)", value: text(func(c *config) *string { return &c.statusAddr })},
	{name: "metrics", usage: "`who` may read the metrics: operators, authenticated or everyone (operators)", value: value{"enum", (*config).setMetrics, func(c *config) string { return c.metricsAccess }}},
	{name: "message-sizes", usage: "measure the sizes of messages, which costs each call a little", isBool: true, value: truth(func(c *config) *bool { return &c.messageSizes })},
	{name: "drain-delay", usage: "`time` to go on serving once told to stop (0 standalone, 2s otherwise)", value: duration(func(c *config) *time.Duration { return &c.drainDelay })},
	{name: "stream-grace", usage: "`time` that streams have to end once told to (5s)", value: duration(func(c *config) *time.Duration { return &c.streamGrace })},
	{name: "shutdown-timeout", usage: "`time` for a shutdown as a whole (25s)", value: duration(func(c *config) *time.Duration { return &c.shutdownTimeout })},
	{name: "insecure-plaintext", usage: "serve authenticated callers of other machines without TLS, where something else encrypts", isBool: true, client: true, value: truth(func(c *config) *bool { return &c.insecurePlaintext })},
	{name: "mixed-http2", usage: "serve gRPC by net/http, for proxies that mix gRPC and HTTP on a connection", isBool: true, value: truth(func(c *config) *bool { return &c.mixedHTTP2 })},
	{name: "heap-dump", usage: "offer full heap dumps to operators", isBool: true, value: truth(func(c *config) *bool { return &c.heapDump })},
	{name: "access-log-sample", usage: "log one in `N` of the calls that ended well, 0 for none (100)", value: value{"int", (*config).setAccessLogSample, func(c *config) string { return strconv.Itoa(c.accessLogSample) }}},
	{name: "log-level", usage: "least `level` that is logged: debug, info, warn or error (info)", client: true, value: value{"enum", (*config).setLogLevel, (*config).levelText}},
}

func init() { RegisterFlags(flag.CommandLine) }

// RegisterFlags adds the flags of easyops to a FlagSet, for [WithFlags].
// [flag.CommandLine] has them already.
func RegisterFlags(fs *flag.FlagSet) {
	for _, s := range settings {
		fs.Var(&flagValue{isBool: s.isBool}, s.flag(), s.usage)
	}
}

// flagValue keeps what the command line says. It is checked at the start of a
// server or a client, with everything else, so that all faults are seen at once.
type flagValue struct {
	text   string
	isSet  bool
	isBool bool
}

func (v *flagValue) String() string     { return v.text }
func (v *flagValue) IsBoolFlag() bool   { return v.isBool }
func (v *flagValue) Set(s string) error { v.text, v.isSet = s, true; return nil }

// Type names the kind of the value for packages that ask, such as pflag.
func (v *flagValue) Type() string {
	if v.isBool {
		return "bool"
	}
	return "string"
}

// readSettings takes from flags and the environment what no option has set.
func (c *config) readSettings(use func(setting) bool) {
	if c.isolated {
		return
	}
	c.fault(unparsed(c.flags))
	c.fault(flags.Faults(c.flags))
	if c.flags.Lookup(settings[0].flag()) == nil && c.flags != flag.CommandLine {
		c.fault(errors.New("WithFlags: the FlagSet has no easyops flags: call easyops.RegisterFlags on it before it is parsed"))
	}
	for _, s := range settings {
		if use(s) && !c.given[s.name] {
			c.fault(c.read(s))
		}
	}
}

// read takes one setting from its flag, else from its environment variable.
func (c *config) read(s setting) error {
	source := "flag"
	value, ok := flagText(c.flags, s.flag())
	if !ok {
		source = "environment"
		value = os.Getenv(s.env())
		ok = value != "" // deployment templates leave variables empty
	}
	if !ok {
		return nil
	}
	if err := s.set(c, value); err != nil {
		return fmt.Errorf("-%s or %s: %q from the %s: %w", s.flag(), s.env(), value, source, err)
	}
	c.from[s.name] = source
	return nil
}

func flagText(fs *flag.FlagSet, name string) (string, bool) {
	f := fs.Lookup(name)
	if f == nil {
		return "", false
	}
	v, ok := f.Value.(*flagValue)
	if !ok || !v.isSet {
		return "", false
	}
	return v.text, true
}

// unparsed finds easyops flags on the command line that nobody has parsed. A
// test binary's command line is its own affair.
func unparsed(fs *flag.FlagSet) error {
	if fs != flag.CommandLine || flag.Lookup("test.v") != nil {
		return nil
	}
	return unparsedIn(os.Args[1:], fs)
}

func unparsedIn(args []string, fs *flag.FlagSet) error {
	for _, arg := range args {
		if arg == "--" {
			return nil
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		if !strings.HasPrefix(arg, "-") || !strings.HasPrefix(name, flagPrefix) {
			continue
		}
		if _, ok := flagText(fs, name); !ok {
			return fmt.Errorf("%q stands on the command line, but nobody has parsed it: call flag.Parse() at the beginning of main, before other arguments stop it", arg)
		}
	}
	return nil
}

func text(field func(*config) *string) value {
	return value{
		kind: "string",
		set:  func(c *config, s string) error { *field(c) = s; return nil },
		show: func(c *config) string { return *field(c) },
	}
}

func truth(field func(*config) *bool) value {
	return value{
		kind: "bool",
		set: func(c *config, s string) error {
			b, err := strconv.ParseBool(s)
			if err != nil {
				return errors.New("not a truth value: write true or false")
			}
			*field(c) = b
			return nil
		},
		show: func(c *config) string { return strconv.FormatBool(*field(c)) },
	}
}

func duration(field func(*config) *time.Duration) value {
	return value{
		kind: "duration",
		set: func(c *config, s string) error {
			d, err := parseDuration(s)
			if err == nil {
				*field(c) = d
			}
			return err
		},
		show: func(c *config) string {
			if d := *field(c); d != unset {
				return d.String()
			}
			return ""
		},
	}
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("not a duration: write it like 2s or 500ms")
	}
	return d, nil
}

func (c *config) authText() string {
	specs := c.authSpecs
	if c.insecureNone {
		specs = append(slices.Clip(specs), insecureNone)
	}
	return strings.Join(specs, ",")
}

func (c *config) operatorsText() string {
	var all []string
	for _, o := range c.operators {
		all = append(all, o.String())
	}
	return strings.Join(all, ",")
}

func (c *config) levelText() string {
	if c.logLevel == nil {
		return ""
	}
	return levelName(*c.logLevel)
}

func levelName(l slog.Level) string { return strings.ToLower(l.String()) }

func (c *config) setTags(s string) error {
	var pairs []string
	for pair := range strings.SplitSeq(s, ",") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" {
			return errors.New("not a list of tags: write it like zone=a,rack=7")
		}
		pairs = append(pairs, k, v)
	}
	tags, err := tagsOf(pairs...)
	if err == nil {
		c.tags = tags
	}
	return err
}

func (c *config) setMetrics(s string) error {
	if !slices.Contains([]string{"operators", "authenticated", "everyone"}, s) {
		return errors.New("not known: write operators, authenticated or everyone")
	}
	c.metricsAccess = s
	return nil
}

func (c *config) setLogLevel(s string) error {
	l, err := parseLevel(s)
	if err == nil {
		c.logLevel = &l
	}
	return err
}

func parseLevel(s string) (slog.Level, error) {
	var l slog.Level
	if l.UnmarshalText([]byte(s)) != nil {
		return l, errors.New("not a level: write debug, info, warn or error")
	}
	return l, nil
}

func (c *config) setAccessLogSample(s string) (err error) {
	n, err := parseSample(s)
	if err == nil {
		c.accessLogSample = n
	}
	return err
}

func parseSample(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, errors.New("not a number of calls: write it like 100, or 0 for none")
	}
	return int(n), nil
}
