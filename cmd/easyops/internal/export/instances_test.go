package export

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/registry"
)

func TestChoose(t *testing.T) {
	with := func(id string, change func(*registry.Instance)) registry.Instance {
		i := instance(id, "echo", "10.0.0.1:"+id, registry.KindGRPC)
		if change != nil {
			change(&i)
		}
		return i
	}
	health := func(h registry.Health) func(*registry.Instance) {
		return func(i *registry.Instance) { i.Health = h }
	}
	plain := with("1", nil)
	for name, c := range map[string]struct {
		listed []registry.Instance
		want   string
	}{
		"ready":                {[]registry.Instance{with("2", nil), plain}, "1 2"},
		"none":                 {nil, "before"},
		"stopping beside":      {[]registry.Instance{plain, with("2", health(registry.Stopping))}, "1"},
		"stopping alone":       {[]registry.Instance{with("2", health(registry.Stopping)), with("3", health(registry.NotReady))}, "2"},
		"neither":              {[]registry.Instance{with("2", health(registry.Starting)), with("3", health(registry.NotReady))}, "before"},
		"another kind":         {[]registry.Instance{plain, with("2", func(i *registry.Instance) { i.Kinds = []registry.Kind{registry.KindHTTP} })}, "1"},
		"an owner":             {[]registry.Instance{plain, with("2", func(i *registry.Instance) { i.Owner = "alice" })}, "1"},
		"tags":                 {[]registry.Instance{plain, with("2", func(i *registry.Instance) { i.Tags = map[string]string{"release": "next"} })}, "1"},
		"a zone":               {[]registry.Instance{plain, with("2", func(i *registry.Instance) { i.Tags = map[string]string{"zone": "a"} })}, "1 2"},
		"a zone and tags":      {[]registry.Instance{plain, with("2", func(i *registry.Instance) { i.Tags = map[string]string{"zone": "a", "b": "c"} })}, "1"},
		"no address":           {[]registry.Instance{plain, with("2", func(i *registry.Instance) { i.Addr = "a b:1" })}, "1"},
		"a zone of IPv6":       {[]registry.Instance{plain, with("2", func(i *registry.Instance) { i.Addr = "[fe80::1%eth0]:1" })}, "1"},
		"one that was there":   {[]registry.Instance{with("2", func(i *registry.Instance) { i.Addr = plain.Addr; i.Started = i.Started.Add(time.Second) }), plain}, "2"},
		"words for the proxy":  {[]registry.Instance{plain, with("2", func(i *registry.Instance) { i.Addr = "h;}:80" })}, "1"},
		"lines for the proxy":  {[]registry.Instance{plain, with("2", func(i *registry.Instance) { i.Addr = "h\nserver:80" })}, "1"},
		"probes of a stranger": {[]registry.Instance{with("2", func(i *registry.Instance) { i.StatusAddr = "x y:1" })}, "2"},
	} {
		got := ids(Choose(c.listed, registry.KindGRPC, []registry.Instance{{ID: "before"}}))
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func ids(list []registry.Instance) string {
	var all []string
	for _, i := range list {
		all = append(all, i.ID)
	}
	return strings.Join(all, " ")
}

func TestKeys(t *testing.T) {
	f := &routes.File{
		HTTP: []routes.HTTPRoute{{Service: "b"}, {Service: "b"}, {Service: "a"}},
		GRPC: []routes.GRPCRoute{{Service: "x.v1.*"}, {Service: "y.v1.Y"}},
		TCP:  []routes.TCPRoute{{Service: "a"}},
	}
	got := Keys(f, []string{"a", "x.v1.X", "x.v2.X", "y.v1.Z"})
	want := []Key{
		{"x.v1.X", registry.KindGRPC},
		{"y.v1.Y", registry.KindGRPC},
		{"a", registry.KindHTTP},
		{"b", registry.KindHTTP},
		{"a", registry.KindTCP},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if !Patterns(f) || Patterns(&routes.File{GRPC: f.GRPC[1:]}) {
		t.Error("patterns are not told")
	}
}

func TestQuotes(t *testing.T) {
	for _, c := range []struct{ in, haproxy, nginx, regexp string }{
		{"/greet/", "/greet/", "/greet/", "/greet/"},
		{"a b", "'a b'", `"a b"`, "a b"},
		{`it's`, `'it'\''s'`, `"it's"`, `it's`},
		{`a"b\c`, `'a"b\c'`, `"a\"b\\c"`, `a\"b\\\\c`},
		{"$a.b", "'$a.b'", `"$a.b"`, `\\$a\\.b`},
		{"", "''", `""`, ""},
	} {
		if h, n, r := haproxyWord(c.in), nginxString(c.in), nginxRegexp(c.in); h != c.haproxy || n != c.nginx || r != c.regexp {
			t.Errorf("%q: %s %s %s, want %s %s %s", c.in, h, n, r, c.haproxy, c.nginx, c.regexp)
		}
	}
	if got := comment("a\nb"); got != "a?b" {
		t.Errorf("a comment over two lines: %q", got)
	}
}
