package easyops

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/flags"
)

// parametersOf are the parameters of a server that is not started.
func parametersOf(t *testing.T, opts ...ServerOption) *flags.Set {
	t.Helper()
	s := NewServer(opts...)
	t.Cleanup(s.endLife)
	return s.parameters()
}

func parameter(t *testing.T, set *flags.Set, name string) flags.Info {
	t.Helper()
	p, ok := set.Lookup(flagPrefix + name)
	if !ok {
		t.Fatalf("%s is not listed", name)
	}
	return p
}

// TestParametersAreInForce: each setting is listed with the value that counts, and
// where it comes from.
func TestParametersAreInForce(t *testing.T) {
	shown := map[string]string{ // in other words than they were given
		"stream-grace 1m": "1m0s", "stream-grace 2m": "2m0s", "stream-grace 3m": "3m0s", "auth ,": "", "tags zone=a,rack=": "rack=,zone=a",
		"shutdown-timeout 1h": "1h0m0s", "shutdown-timeout 2h": "2h0m0s", "shutdown-timeout 3h": "3h0m0s",
	}
	for _, s := range settings {
		sample := samples[s.name]
		check := func(fs *flagSetting, value, source string) {
			t.Helper()
			if s.set(newConfig(), value) != nil {
				return // no server starts with it
			}
			if text, ok := shown[s.name+" "+value]; ok {
				value = text
			}
			if p := parameter(t, parametersOf(t, fs.opts...), s.name); p.Value != value || p.Source != source {
				t.Errorf("%s: %q by %s, want %q by %s", s.name, p.Value, p.Source, value, source)
			}
		}
		t.Run(s.name, func(t *testing.T) {
			fs := newFlags(t)
			unset := parameter(t, parametersOf(t, WithFlags(fs)), s.name)
			if unset.Source != "default" || unset.Default != unset.Value || unset.Usage != strings.ReplaceAll(s.usage, "`", "") || unset.Secret {
				t.Errorf("%+v", unset)
			}
			if want := slices.Contains([]string{"log-level", "access-log-sample", "drain-delay"}, s.name); unset.Dynamic != want {
				t.Errorf("%s is dynamic: %v", s.name, unset.Dynamic)
			}
			t.Setenv(s.env(), sample.env)
			check(&flagSetting{[]ServerOption{WithFlags(fs)}}, sample.env, "environment")
			parse(t, fs, "-"+s.flag()+"="+sample.flag)
			check(&flagSetting{[]ServerOption{WithFlags(fs)}}, sample.flag, "flag")
			check(&flagSetting{[]ServerOption{WithFlags(fs), sample.option}}, sample.text, "option")
		})
	}
}

type flagSetting struct{ opts []ServerOption }

// TestParametersOfTheProgram: flags of the FlagSet that is read are listed, and
// others are not.
func TestParametersOfTheProgram(t *testing.T) {
	fs := newFlags(t)
	flags.New("mine", 1, "", flags.In(fs))
	if p, ok := parametersOf(t, WithFlags(fs)).Lookup("mine"); !ok || !p.Dynamic {
		t.Errorf("%+v", p)
	}
	for _, p := range parametersOf(t, WithFlags(nil)).List() {
		if !strings.HasPrefix(p.Name, flagPrefix) {
			t.Errorf("%s is listed", p.Name)
		}
	}
}

func TestParametersKeepPasswords(t *testing.T) {
	const canary = "canary-31c0"
	set := parametersOf(t, WithFlags(nil), WithRegistry("etcd://root:"+canary+"@h1:2379,h2:2379/p"), WithServiceToken("/run/token"))
	if p := parameter(t, set, "registry"); strings.Contains(p.Value+p.Default, canary) || !strings.HasPrefix(p.Value, "etcd://REDACTED@h1") {
		t.Errorf("%+v", p)
	}
	if p := parameter(t, set, "service-token"); p.Value != "/run/token" {
		t.Errorf("%+v", p)
	}
}

// TestWrongSecretStopsTheStart: package flag is not told of it, because it would
// print it.
func TestWrongSecretStopsTheStart(t *testing.T) {
	fs := newFlags(t)
	flags.New("pin", 1, "", flags.In(fs), flags.Secret())
	parse(t, fs, "-pin=canary")
	for _, err := range []error{serverConfig([]ServerOption{WithFlags(fs)}).err(), clientConfig([]DialOption{WithFlags(fs)}).err()} {
		if err == nil || !strings.Contains(err.Error(), "-pin: the value is not valid") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
	}
}

// TestDynamicLevel: a level that an operator sets counts for all that logs through the
// server, and none has the handler decide again.
func TestDynamicLevel(t *testing.T) {
	for _, level := range []*slog.Level{nil, new(slog.LevelWarn)} {
		var out strings.Builder
		opts := []ServerOption{WithFlags(nil), WithLogger(slog.New(slog.NewTextHandler(&out, nil)))}
		want, before := "info", true
		if level != nil {
			opts, want, before = append(opts, WithLogLevel(*level)), "warn", false
		}
		s := NewServer(opts...)
		t.Cleanup(s.endLife)
		set := s.parameters()
		other := s.cfg.log().With("k", "v")
		logs := func() bool {
			out.Reset()
			s.log.Debug("debug")
			other.Debug("debug")
			return strings.Count(out.String(), "msg=debug") == 2
		}
		if p := parameter(t, set, "log-level"); p.Value != want || logs() {
			t.Errorf("%+v", p)
		}
		if _, err := set.Change(flags.Changes{Values: map[string]string{"easyops.log-level": "DEBUG"}, TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if p := parameter(t, set, "log-level"); p.Value != "debug" || !logs() {
			t.Errorf("%+v: %s", p, out.String())
		}
		s.cfg.level.Store(level)
		if s.log.Enabled(t.Context(), slog.LevelInfo) != before {
			t.Error("the handler does not decide")
		}
	}
}

func TestLeastLevel(t *testing.T) {
	for _, name := range logLevels {
		l, _ := parseLevel(name)
		if got := leastLevel(slog.NewTextHandler(nil, &slog.HandlerOptions{Level: l})); got != name {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := leastLevel(slog.DiscardHandler); got != "none" {
		t.Error(got)
	}
}
