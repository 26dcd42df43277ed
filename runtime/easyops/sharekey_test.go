package easyops

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"testing"

	"google.golang.org/grpc"
)

// keyOf is the key of a client that reads neither flags nor environment.
func keyOf(service string, opts ...DialOption) *channelKey {
	return sharedKey(clientConfig(append([]DialOption{WithFlags(nil)}, opts...)), service)
}

// TestSharedKey: settings that make another connection make another key, and what
// cannot be compared makes none.
func TestSharedKey(t *testing.T) {
	base := []DialOption{WithRegistry("local:a")}
	with := func(more ...DialOption) []DialOption { return append(base[:len(base):len(base)], more...) }
	config := &tls.Config{}
	log := slog.New(slog.DiscardHandler)
	for name, test := range map[string]struct {
		service  string
		one, two []DialOption
	}{
		"service":        {"a.B", base, base},
		"target":         {"a.A", base, with(DialTarget("a:1"))},
		"server ID":      {"a.A", base, with(DialServerID("a"))},
		"forwarding":     {"a.A", with(DialTarget("a:1")), with(DialTarget("a:1"), DialForwardUser())},
		"subset":         {"a.A", base, with(DialSubset(3))},
		"all":            {"a.A", base, with(DialSubset(-1))},
		"logger":         {"a.A", base, with(WithLogger(log))},
		"default level":  {"a.A", base, with(WithLogLevel(0))},
		"TLS":            {"a.A", base, with(WithTLSConfig(config))},
		"another config": {"a.A", with(WithTLSConfig(config)), with(WithTLSConfig(config.Clone()))},
	} {
		one, two := keyOf("a.A", test.one...), keyOf(test.service, test.two...)
		if one == nil || two == nil {
			t.Errorf("%s: no key: %v, %v", name, one, two)
		} else if *one == *two {
			t.Errorf("%s makes no difference", name)
		}
		if same := keyOf(test.service, test.two...); *same != *two {
			t.Errorf("%s: the same settings share nothing", name)
		}
	}
	for name, opt := range map[string]DialOption{
		"DialGRPC":      DialGRPC(grpc.WithUserAgent("a")),
		"DialUserToken": DialUserToken(func(context.Context) (string, error) { return "", nil }),
		"a fault":       DialSubset(0),
	} {
		if keyOf("a.A", opt) != nil {
			t.Errorf("%s: it is shared", name)
		}
	}
}

// TestSharedKeyHasEachSetting: one that is added and forgotten there would have
// clients get the connections of others.
func TestSharedKeyHasEachSetting(t *testing.T) {
	for _, s := range settings {
		if !s.client {
			continue
		}
		one, two := newConfig(), newConfig()
		if err := s.set(two, samples[s.name].text); err != nil {
			t.Fatal(err)
		}
		if *sharedKey(one, "a.A") == *sharedKey(two, "a.A") {
			t.Errorf("%s makes no difference", s.name)
		}
	}
}

// TestSharedKeyOfChangedConfig: a configuration must not be changed, but whoever
// does so gets no connection that trusts others.
func TestSharedKeyOfChangedConfig(t *testing.T) {
	config := &tls.Config{}
	seen := map[channelKey]string{}
	for _, change := range []struct {
		name string
		do   func()
	}{
		{"nothing", func() {}},
		{"roots", func() { config.RootCAs = x509.NewCertPool() }},
		{"name", func() { config.ServerName = "a" }},
		{"trust", func() { config.InsecureSkipVerify = !config.InsecureSkipVerify }},
	} {
		change.do()
		key := *keyOf("a.A", WithTLSConfig(config))
		if before, ok := seen[key]; ok {
			t.Errorf("%s: the same as after %s", change.name, before)
		}
		seen[key] = change.name
	}
}
