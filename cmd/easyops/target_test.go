package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestTarget(t *testing.T) {
	f := newFleet(t)
	expect(t, 1, "easyops: no instance of echo.v1.EchoService is listed in the local registry in "+f.url[len("local:"):]+": nothing else is listed there either\n", "target", echoService)
	list := func(id, addr string, change func(*registry.Instance)) {
		i := entry(id, echoService)
		i.Addr = addr
		change(&i)
		f.list(i)
	}
	list("a", "127.0.0.1:11", func(i *registry.Instance) { i.Health = registry.NotReady })
	list("b", "127.0.0.1:12", func(i *registry.Instance) { i.Owner = "alice" })
	list("c", "127.0.0.1:13", func(i *registry.Instance) { i.Tags = map[string]string{"release": "next", "zone": "eu-1"} })
	list("d", "127.0.0.1:14", func(i *registry.Instance) { i.Kinds = []registry.Kind{registry.KindTCP} })
	expect(t, 1, "easyops: of 4 instances of echo.v1.EchoService none is fit: 127.0.0.1:11 NOT_READY; 127.0.0.1:12 READY owner alice; "+
		"127.0.0.1:13 READY tags zone=eu-1,release=next; 127.0.0.1:14 READY no gRPC: --owner and --tags choose others than plain ones\n", "target", echoService)

	list("e", "127.0.0.1:15", func(i *registry.Instance) { i.Tags = map[string]string{"zone": "eu-1"} })
	list("f", "127.0.0.1:16", func(*registry.Instance) {})
	for _, test := range []struct {
		want string
		args []string
	}{
		{"127.0.0.1:15\n", nil},
		{"127.0.0.1:15\n127.0.0.1:16\n", []string{"--all"}},
		{"127.0.0.1:12\n", []string{"--all", "--owner", "alice"}},
		{"127.0.0.1:13\n", []string{"--all", "--tags", "release=next"}},
		{"127.0.0.1:13\n", []string{"--all", "--tags", "release=next, zone=eu-1"}},
		{"127.0.0.1:15\n", []string{"--all", "--tags", "zone=eu-1"}},
	} {
		expect(t, 0, test.want, append([]string{"target", echoService}, test.args...)...)
	}
	for _, args := range [][]string{{"--owner", "bob"}, {"--tags", "release=last"}, {"--tags", "release=next,zone=us-1"}, {"--tags", "release=next", "--owner", "alice"}} {
		if code, stdout, _ := call(append([]string{"target", echoService}, args...)...); code != 1 || stdout != "" {
			t.Errorf("%q: code %d, %q", args, code, stdout)
		}
	}
	expect(t, 2, "easyops: target: --tags \"next\": write tags as key=value, with commas between them\n", "target", echoService, "--tags", "next")
	expect(t, 2, "easyops: target: name one service, as in: easyops target echo.v1.EchoService\n", "target")
}

// given is a registry that has what strangers wrote, unchecked.
type given []registry.Instance

func (g given) Register(context.Context, []registry.Instance) (registry.Lease, error) {
	return nil, errors.ErrUnsupported
}

func (g given) Watch(ctx context.Context, service string, changed func([]registry.Instance, error)) {
	var of []registry.Instance
	for _, i := range g {
		if i.Service == service {
			of = append(of, i)
		}
	}
	changed(of, nil)
	<-ctx.Done()
}

func (g given) Services(context.Context) ([]string, error) { return []string{echoService}, nil }
func (g given) LastAnswer() time.Time                      { return time.Now() }
func (g given) String() string                             { return "given" }
func (g given) Close() error                               { return nil }

var givenRegistries atomic.Int32

// open returns its URL.
func (g given) open() string {
	scheme := fmt.Sprint("given-", givenRegistries.Add(1))
	registry.RegisterDriver(scheme, func(string, *slog.Logger) (registry.Registry, error) { return g, nil })
	return scheme + ":"
}

// What is printed goes into shells: nothing but host:port, whatever the registry
// lets through.
func TestTargetPrintsPlainAddressesOnly(t *testing.T) {
	at := func(id, addr string) registry.Instance {
		i := entry(id, echoService)
		i.Addr = addr
		return i
	}
	const says = "easyops: the address is not printed where it is no plain host:port: evil at "
	for _, addr := range []string{
		"[fe80::1%eth0]:1", "[fe80::1%\x1b[2J]:1", "[fe80::1% -plaintext evil:1 ]:1", "a b:1", "a:1\nb:1", "\x1b[2J:1", "-plaintext:1",
		"[-x]:1", "$(id):1", "[a]:1", "a:1 ", "a", "a:", "a:http", "a:0", "", "[::]:1", "a\u202e:1",
	} {
		code, stdout, stderr := call("target", "--registry", given{at("evil", addr)}.open(), echoService)
		if code != 1 || stdout != "" || !strings.HasPrefix(stderr, says) || strings.ContainsAny(stderr, "\x1b\u202e") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: code %d, %q, %q", addr, code, stdout, stderr)
		}
	}
	// Others are found all the same, and all plain ones are printed.
	all := []registry.Instance{at("evil", "[fe80::1%a b]:1")}
	want := ""
	for n, addr := range []string{"127.0.0.1:1", "[::1]:65535", "[fd00::1]:1", "echo-1.example.com:1", "localhost:1"} {
		all = append(all, at(fmt.Sprint("good", n), addr))
		want += addr + "\n"
	}
	code, stdout, stderr := call("target", "--all", "--registry", given(all).open(), echoService)
	if code != 0 || stdout != want || stderr != strings.Replace(says, ": ", ": warning: ", 1)+"[fe80::1%a b]:1\n" {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, _ := call("target", "--registry", given(all).open(), echoService); code != 0 || stdout != "127.0.0.1:1\n" {
		t.Errorf("code %d, %q", code, stdout)
	}
}

// An instance that was killed is still listed: another one is printed.
func TestTargetThatAnswers(t *testing.T) {
	f := newFleet(t)
	list := func(id, addr string) {
		i := entry(id, echoService)
		i.Addr = addr
		f.list(i)
	}
	dead, live := unused(t), listen(t, "127.0.0.1:0")
	t.Cleanup(func() { _ = live.Close() })
	list("a", dead)
	code, stdout, stderr := call("target", echoService)
	if code != 0 || stdout != dead+"\n" || stderr != "easyops: warning: "+dead+" is printed as the registry lists it: of 1 tried none accepts connections from here\n" {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	list("b", live.Addr().String())
	for range 2 {
		if code, stdout, stderr := call("target", echoService); code != 0 || stdout != live.Addr().String()+"\n" || stderr != "" {
			t.Errorf("code %d, %q, %q", code, stdout, stderr)
		}
	}
	expect(t, 0, dead+"\n"+live.Addr().String()+"\n", "target", "--all", echoService)
}
