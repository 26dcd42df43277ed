package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestNear(t *testing.T) {
	names := []string{"echo.v1.EchoService", "echo.v2.EchoService", "greeter.v1.GreeterService", "bill\x1b[1m"}
	for name, want := range map[string]string{
		"echo.v1.EchoServic":      "echo.v1.EchoService echo.v2.EchoService",
		"echoservice":             "echo.v1.EchoService echo.v2.EchoService",
		"greeter":                 "greeter.v1.GreeterService",
		"greter.v1.GreterService": "greeter.v1.GreeterService",
		"bil":                     `bill\x1b[1m`,
		"shop.v1.ShopService":     "",
		"":                        "",
	} {
		if got := strings.Join(near(name, names), " "); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("%s, %s: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// A registry that cannot be asked is told from one that is empty.
func TestRegistryThatCannotBeAsked(t *testing.T) {
	bad := "local:" + tempFile(t, "")
	lines := []string{"ls", "ls echo", "ls --watch", "target echo", "status echo", "drain abc", "drain 127.0.0.1:1"}
	each(len(lines), func(n int) {
		code, stdout, stderr := call(append(strings.Fields(lines[n]), "--registry", bad)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, "cannot be asked") || !strings.Contains(stderr, "choose another directory") {
			t.Errorf("%s: code %d, %q, %q", lines[n], code, stdout, stderr)
		}
	})
}

func TestRegistryThatIsNone(t *testing.T) {
	newFleet(t)
	for url, says := range map[string]string{
		"none":                 "the registry is none",
		"nix:":                 "--registry or EASYOPS_REGISTRY",
		"nix://alice:secret@h": "--registry or EASYOPS_REGISTRY",
	} {
		code, stdout, stderr := call("ls", "--registry", url)
		if code != 2 || stdout != "" || !strings.Contains(stderr, says) || strings.Contains(stderr, "secret") {
			t.Errorf("%s: code %d, %q, %q", url, code, stdout, stderr)
		}
	}
}

// A server that is named by its address is asked where there is no registry, or
// none that answers. The rest is the control.
func TestAddressWithoutRegistry(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	bad := "local:" + tempFile(t, "")
	at := a.ID + " at " + a.Addr
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"status", 0, a.ID},
		{"flags", 0, "easyops.log-level"},
		{"flags get --service " + echoService, 2, "name a flag"},
		{"drain", 1, at + " did what it was asked, but it was not checked, as --registry is none: it says that it is not listed there any more\n"},
		{"undrain", 1, at + " did what it was asked, but it was not checked, as --registry is none: it says that it is listed there again\n"},
		{"shutdown --replaced", 2, "--replaced needs a registry"},
	} {
		code, stdout, stderr := call(append(strings.Fields(test.args), a.Addr, "--registry", "none")...)
		if code != test.code || !strings.Contains(stdout+stderr, test.says) {
			t.Errorf("%s: code %d, %q, %q", test.args, code, stdout, stderr)
		}
	}
	for command, says := range map[string]string{"drain": "it says that it is not listed there any more", "undrain": "it says that it is listed there again"} {
		code, stdout, stderr := call(command, a.Addr, "--registry", bad)
		if code != 1 || stdout != "" || !strings.Contains(stderr, at+" did what it was asked, but it was not checked, as ") || !strings.Contains(stderr, "cannot be asked: ") || !strings.Contains(stderr, says) {
			t.Errorf("%s: code %d, %q, %q", command, code, stdout, stderr)
		}
	}
	for _, line := range []string{"ls", "ls --watch", "ls --watch " + echoService, "target " + echoService, "status " + echoService, "status " + a.ID, "drain " + a.ID, "flags " + echoService, "open " + a.ID, "flags --service " + echoService} {
		code, stdout, stderr := call(append(strings.Fields(line), "--registry", "none")...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, "the registry is none, so nothing can be found") {
			t.Errorf("%s: code %d, %q, %q", line, code, stdout, stderr)
		}
	}
}

func TestFind(t *testing.T) {
	l := func(entries ...registry.Instance) (*server, error) { return merge(entries) }
	grpc, both := []registry.Kind{registry.KindGRPC}, []registry.Kind{registry.KindGRPC, registry.KindStatus}
	s, err := l(
		registry.Instance{ID: "a", Service: "x", Addr: "h:1", Kinds: grpc},
		registry.Instance{ID: "a", Service: "y", Addr: "h:2", Kinds: both, StatusAddr: "h:3"},
		registry.Instance{ID: "a", Service: "z", Addr: "h:3", Kinds: both},
	)
	if err != nil || s.addr != "h:3" || !slices.Equal(slices.Sorted(slices.Values(s.services)), []string{"x", "y", "z"}) {
		t.Errorf("%+v, %v", s, err)
	}
	// Whoever can add an entry must not be asked in the place of another.
	_, err = l(
		registry.Instance{ID: "a", Service: "x", Addr: "h:1", Kinds: both},
		registry.Instance{ID: "a", Service: "y", Addr: "other:1", Kinds: both},
	)
	if err == nil || !strings.Contains(err.Error(), "h:1 and other:1") {
		t.Errorf("%v", err)
	}
	if s, err := l(); s != nil || err != nil {
		t.Errorf("%v, %v", s, err)
	}
}
