package main

import (
	"testing"

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
