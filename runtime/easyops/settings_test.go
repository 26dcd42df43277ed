package easyops

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
)

// samples has a value of each setting for each place that can give it. Of a
// setting that knows one value only, the others are wrong, and are told apart
// by the fault.
var samples = map[string]struct {
	option    ServerOption
	text      string // what the option gives
	flag, env string
}{
	"addr":               {WithAddr("127.0.0.1:1"), "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
	"advertise":          {WithAdvertise("a:1"), "a:1", "b:2", "c:3"},
	"registry":           {WithRegistry("local:a"), "local:a", "local:b", "none"},
	"auth":               {WithAuth("insecure-none"), "insecure-none", "mtls,jwks:file", ","},
	"tls-cert":           {WithTLSFiles("a", "", ""), "a", "b", "c"},
	"tls-key":            {WithTLSFiles("", "a", ""), "a", "b", "c"},
	"tls-ca":             {WithTLSFiles("", "", "a"), "a", "b", "system"},
	"service-token":      {WithServiceToken("a"), "a", "b", "c"},
	"tags":               {WithTags("zone", "a", "rack", ""), "zone=a,rack=", "zone=b", "zone=c"},
	"owner":              {WithOwner("ann"), "ann", "bob", "cid"},
	"personal":           {WithPersonal(), "true", "false", "true"},
	"operators":          {WithOperators("group:sre", "user:ann"), "group:sre,user:ann", "service:a", "wrong-env"},
	"status-addr":        {WithStatusAddr("127.0.0.1:1"), "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
	"metrics":            {WithMetricsAccess("everyone"), "everyone", "authenticated", "operators"},
	"drain-delay":        {WithDrainDelay(time.Second), "1s", "2s", "3s"},
	"stream-grace":       {WithStreamGrace(time.Minute), "1m", "2m", "3m"},
	"shutdown-timeout":   {WithShutdownTimeout(time.Hour), "1h", "2h", "3h"},
	"insecure-plaintext": {WithInsecurePlaintext(), "true", "false", "true"},
	"heap-dump":          {WithHeapDump(), "true", "false", "true"},
	"message-sizes":      {WithMessageSizes(), "true", "false", "true"},
	"mixed-http2":        {WithMixedHTTP2(), "true", "false", "true"},
	"access-log-sample":  {WithAccessLogSample(7), "7", "0", "12"},
	"log-level":          {WithLogLevel(slog.LevelDebug), "debug", "warn", "error"},
}

// TestPrecedence: option over flag over environment over default, for every
// setting there is.
func TestPrecedence(t *testing.T) {
	for _, s := range settings {
		sample, ok := samples[s.name]
		if !ok {
			t.Errorf("%s: no sample", s.name)
			continue
		}
		for given := range 8 {
			option, onLine, inEnv := given&4 != 0, given&2 != 0, given&1 != 0
			t.Run(fmt.Sprintf("%s/option=%t,flag=%t,env=%t", s.name, option, onLine, inEnv), func(t *testing.T) {
				fs, want := newFlags(t), (*string)(nil)
				opts := []ServerOption{WithFlags(fs)}
				if inEnv {
					t.Setenv(s.env(), sample.env)
					want = &sample.env
				}
				if onLine {
					parse(t, fs, "-"+s.flag()+"="+sample.flag)
					want = &sample.flag
				}
				if option {
					opts = append(opts, sample.option)
					want = &sample.text
				}
				same(t, serverConfig(opts), expected(s, want))
				if dial, ok := sample.option.(DialOption); ok && s.client {
					client := []DialOption{WithFlags(fs)}
					if option {
						client = append(client, dial)
					}
					same(t, clientConfig(client), expected(s, want))
				}
			})
		}
	}
}

// expected is a configuration in which one setting, at the most, is given.
func expected(s setting, value *string) *config {
	c := newConfig()
	if value != nil {
		if err := s.set(c, *value); err != nil {
			c.fault(fmt.Errorf("%q", *value))
		}
	}
	return c
}

// same compares what was read, whatever gave it.
func same(t *testing.T, got, want *config) {
	t.Helper()
	if len(got.faults) != len(want.faults) {
		t.Fatalf("faults %v, want %v", got.faults, want.faults)
	}
	for i, f := range want.faults {
		if !strings.Contains(got.faults[i].Error(), f.Error()) {
			t.Errorf("fault %q, want one with %v", got.faults[i], f)
		}
	}
	g, w := *got, *want
	for _, c := range []*config{&g, &w} {
		c.given, c.from, c.faults, c.flags = nil, nil, nil, nil
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("read %+v\nwant %+v", g, w)
	}
}

func newFlags(t *testing.T) *flag.FlagSet {
	fs := flag.NewFlagSet(t.Name(), flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	RegisterFlags(fs)
	return fs
}

func parse(t *testing.T, fs *flag.FlagSet, args ...string) {
	t.Helper()
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
}

// TestSettingsAreDocumented: each has its flag on the program's command line,
// in the help text, and a usage that names its value.
func TestSettingsAreDocumented(t *testing.T) {
	var help strings.Builder
	fs := newFlags(t)
	fs.SetOutput(&help)
	fs.PrintDefaults()
	for _, s := range settings {
		if flag.Lookup(s.flag()) == nil {
			t.Errorf("-%s is not on flag.CommandLine", s.flag())
		}
		if name, _ := flag.UnquoteUsage(fs.Lookup(s.flag())); !s.isBool && (name == "value" || name == "string") {
			t.Errorf("-%s: the usage names no value: %q", s.flag(), s.usage)
		}
		if !strings.Contains(help.String(), "-"+s.flag()) {
			t.Errorf("-%s is not in the help:\n%s", s.flag(), &help)
		}
	}
	if len(samples) != len(settings) {
		t.Errorf("%d samples for %d settings", len(samples), len(settings))
	}
}

// TestWrongSettings: each wrong value is reported, and all at once, by flag,
// environment variable and value.
func TestWrongSettings(t *testing.T) {
	wrong := map[string]string{
		"auth": "mtls,", "operators": "alice", "tags": "zone", "metrics": "all", "drain-delay": "soon", "stream-grace": "-1s",
		"shutdown-timeout": "25", "log-level": "loud", "access-log-sample": "-1",
	}
	laterOn := []string{"addr", "advertise", "registry", "tls-cert", "tls-key", "tls-ca", "service-token", "owner", "status-addr"}
	fs := newFlags(t)
	for i, s := range settings {
		if s.isBool {
			wrong[s.name] = "perhaps"
		}
		value, ok := wrong[s.name]
		if ok == slices.Contains(laterOn, s.name) {
			t.Errorf("%s: what is a wrong value, and who finds it?", s.name)
		}
		if !ok {
			continue // TestAllFaultsAtOnce has these
		}
		if i%2 == 0 {
			parse(t, fs, "-"+s.flag()+"="+value)
		} else {
			t.Setenv(s.env(), value)
		}
	}
	err := serverConfig([]ServerOption{WithFlags(fs)}).err()
	lines := strings.Split(fmt.Sprint(err), "\n")
	if len(lines) != len(wrong) {
		t.Errorf("%d lines for %d faults:\n%v", len(lines), len(wrong), err)
	}
	for _, s := range settings {
		if value, ok := wrong[s.name]; ok && !anyLine(lines, "-"+s.flag(), s.env(), fmt.Sprintf("%q", value)) {
			t.Errorf("no line names -%s, %s and %q:\n%v", s.flag(), s.env(), value, err)
		}
	}
}

func anyLine(lines []string, texts ...string) bool {
	for _, line := range lines {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			return true
		}
	}
	return false
}

// TestWrongOptions: options are checked like flags, and named.
func TestWrongOptions(t *testing.T) {
	err := serverConfig([]ServerOption{
		WithFlags(nil), WithAuth(""), WithOperators("group:"), WithAuthenticator(nil), WithTags("zone"), WithMetricsAccess("all"), WithDrainDelay(-1),
		WithStreamGrace(-1), WithShutdownTimeout(-1), WithAccessLogSample(-1), WithHTTP("/x", nil, auth.Access{}, auth.Access{}),
	}).err()
	lines := strings.Split(fmt.Sprint(err), "\n")
	for _, option := range []string{
		`WithAuth("")`, `WithOperators("group:")`, "WithAuthenticator", "WithTags", `WithMetricsAccess("all")`, "WithDrainDelay(-1ns)",
		"WithStreamGrace(-1ns)", "WithShutdownTimeout(-1ns)", `WithAccessLogSample("-1")`, `WithHTTP("/x")`,
	} {
		if !anyLine(lines, option) {
			t.Errorf("no line names %s:\n%v", option, err)
		}
	}
}

// TestIsolated: with WithFlags(nil) neither flags nor environment are read.
func TestIsolated(t *testing.T) {
	for _, s := range settings {
		t.Setenv(s.env(), "wrong")
	}
	same(t, serverConfig([]ServerOption{WithFlags(nil)}), isolatedConfig())
	same(t, clientConfig([]DialOption{WithFlags(nil)}), isolatedConfig())
	if serverConfig(nil).err() == nil {
		t.Error("without the option wrong settings are not seen either")
	}
}

func isolatedConfig() *config {
	c := newConfig()
	c.isolated = true
	return c
}

// TestClientsReadTheirOwn: what is a server's alone does not trouble a client.
func TestClientsReadTheirOwn(t *testing.T) {
	for _, s := range settings {
		if !s.client {
			t.Setenv(s.env(), "wrong")
		}
	}
	if err := clientConfig(nil).err(); err != nil {
		t.Error(err)
	}
}

// TestEmptyEnvironment: a variable that is set to nothing is like one that is
// not set, as deployment templates leave it.
func TestEmptyEnvironment(t *testing.T) {
	for _, s := range settings {
		t.Setenv(s.env(), "")
	}
	same(t, serverConfig(nil), newConfig())
}

// TestFlagSetWithoutFlags: a FlagSet that was not prepared is an error.
func TestFlagSetWithoutFlags(t *testing.T) {
	err := serverConfig([]ServerOption{WithFlags(flag.NewFlagSet("bare", flag.ContinueOnError))}).err()
	if err == nil || !strings.Contains(err.Error(), "RegisterFlags") {
		t.Errorf("got %v", err)
	}
}

// TestCommandLine: the flags of the program itself are read where nothing else
// is said.
func TestCommandLine(t *testing.T) {
	f := flag.Lookup("easyops.owner").Value.(*flagValue)
	t.Cleanup(func() { *f = flagValue{} })
	if err := flag.CommandLine.Set("easyops.owner", "ann"); err != nil {
		t.Fatal(err)
	}
	if got := serverConfig(nil).owner; got != "ann" {
		t.Errorf("owner %q", got)
	}
	if got := serverConfig([]ServerOption{WithFlags(newFlags(t))}).owner; got != "" {
		t.Errorf("owner %q, though another FlagSet is given", got)
	}
}

// TestOtherParsers: packages such as pflag set values without flag's own
// Parse, and ask for the value's type.
func TestOtherParsers(t *testing.T) {
	fs := newFlags(t)
	for name, value := range map[string]string{"easyops.owner": "ann", "easyops.heap-dump": "true"} {
		if err := fs.Lookup(name).Value.Set(value); err != nil {
			t.Fatal(err)
		}
	}
	c := serverConfig([]ServerOption{WithFlags(fs)})
	if c.owner != "ann" || !c.heapDump || c.err() != nil {
		t.Errorf("owner %q, heap dump %t, %v", c.owner, c.heapDump, c.err())
	}
	if err := unparsedIn([]string{"-easyops.owner=ann", "--easyops.heap-dump"}, fs); err != nil {
		t.Error(err)
	}
	for name, kind := range map[string]string{"easyops.owner": "string", "easyops.heap-dump": "bool"} {
		if got := fs.Lookup(name).Value.(interface{ Type() string }).Type(); got != kind {
			t.Errorf("-%s is a %s, want %s", name, got, kind)
		}
	}
}

func TestUnparsed(t *testing.T) {
	for _, test := range []struct {
		args, parsed []string
		want         string // in the error; empty for none
	}{
		{args: nil},
		{args: []string{"serve", "-other=1"}},
		{args: []string{"easyops.addr", "--", "-easyops.addr=:1"}},
		{args: []string{"-easyops.addr=:1"}, parsed: []string{"-easyops.addr=:1"}},
		{args: []string{"-easyops.addr", ":1"}, parsed: []string{"-easyops.addr", ":1"}},
		{args: []string{"-easyops.heap-dump"}, parsed: []string{"-easyops.heap-dump"}},
		{args: []string{"-easyops.addr=:1"}, want: `"-easyops.addr=:1"`},
		{args: []string{"--easyops.addr", ":1"}, want: `"--easyops.addr"`},
		{args: []string{"-easyops.heap-dump"}, want: "-easyops.heap-dump"},
		{args: []string{"serve", "-easyops.owner=ann"}, parsed: []string{"serve", "-easyops.owner=ann"}, want: "-easyops.owner"},
		{args: []string{"-easyops.addr=:1", "-easyops.owner=ann"}, parsed: []string{"-easyops.addr=:1"}, want: "-easyops.owner"},
		{args: []string{"-easyops.adr=:1"}, want: "-easyops.adr"},
	} {
		fs := newFlags(t)
		parse(t, fs, test.parsed...)
		err := unparsedIn(test.args, fs)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%q: %v", test.args, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "flag.Parse()")):
			t.Errorf("%q after parsing %q: %v", test.args, test.parsed, err)
		}
	}
	if err := unparsed(flag.CommandLine); err != nil {
		t.Errorf("in a test binary: %v", err)
	}
}

// TestLevel: the level that is set counts, whatever the logger's own is.
func TestLevel(t *testing.T) {
	for _, test := range []struct {
		option *slog.Level
		want   string
	}{
		{nil, "info warn"},
		{new(slog.LevelDebug), "debug info warn"},
		{new(slog.LevelWarn), "warn"},
	} {
		var out strings.Builder
		opts := []ServerOption{WithFlags(nil), WithLogger(slog.New(slog.NewTextHandler(&out, nil)))}
		if test.option != nil {
			opts = append(opts, WithLogLevel(*test.option))
		}
		log := serverConfig(opts).log().With("k", "v").WithGroup("g")
		log.Debug("debug")
		log.Info("info")
		log.Warn("warn")
		var got []string
		for line := range strings.Lines(out.String()) {
			_, msg, _ := strings.Cut(line, "msg=")
			got = append(got, strings.Fields(msg)[0])
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%v: logged %s, want %s", test.option, s, test.want)
		}
	}
}

// TestNilOptions: an option that is not there is none.
func TestNilOptions(t *testing.T) {
	defer func() {
		if p := recover(); p != nil {
			t.Error(p)
		}
	}()
	same(t, serverConfig([]ServerOption{nil, WithFlags(nil), WithOptions(nil, nil)}), isolatedConfig())
	same(t, clientConfig([]DialOption{nil, WithFlags(nil), WithOptions(nil)}), isolatedConfig())
}

// TestOptionsAreNotShared: options are values that may be used again.
func TestOptionsAreNotShared(t *testing.T) {
	opts := []ServerOption{WithTags("zone", "a"), WithFlags(nil)}
	serverConfig(opts).tags["zone"] = "b"
	if got := serverConfig(opts).tags["zone"]; got != "a" {
		t.Errorf("zone %q", got)
	}
}
