package export

import (
	"strings"
	"testing"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/registry"
)

// What a proxy cannot do is an error that says what to do.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, &Options{})
	write(t, dir+"/empty.pem", "")
	for _, c := range []struct {
		name   string
		proxy  Proxy
		change func(*routes.File)
		says   string
	}{
		{"no address", HAProxy, func(f *routes.File) { f.Listen = "" }, `listen: ":8443"`},
		{"no certificate", Nginx, func(f *routes.File) { f.TLS[0].Cert = dir + "/none.pem" }, "edge.yaml:2: certificate: open"},
		{"empty certificate", Nginx, func(f *routes.File) { f.TLS[0].Cert = dir + "/empty.pem" }, "no certificate in PEM"},
		{"key elsewhere", HAProxy, func(f *routes.File) { f.TLS[0].Key = dir + "/other.key" }, "name it so, or write to a file (-o)"},
		{"both without TLS", Nginx, func(f *routes.File) { f.TLS = nil }, "name a certificate (tls:)"},
		{"another proxy", "apache", func(*routes.File) {}, "haproxy or nginx"},
	} {
		f, have := shop(dir)
		c.change(f)
		if _, err := (Options{Proxy: c.proxy}).Render(f, have); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", c.name, err, c.says)
		}
	}
}

func TestCertLinks(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, &Options{})
	f, have := shop(dir)
	o := Options{Proxy: HAProxy, Links: dir + "/links"}
	if links := o.CertLinks(f); links != nil {
		t.Errorf("links that are not needed: %v", links)
	}
	f.TLS[0].Key = dir + "/other.key"
	want := []Link{{dir + "/links/1.pem", dir + "/shop.pem"}, {dir + "/links/1.pem.key", dir + "/other.key"}}
	if links := o.CertLinks(f); len(links) != 2 || links[0] != want[0] || links[1] != want[1] {
		t.Errorf("%v, want %v", links, want)
	}
	text, err := o.Render(f, have)
	if err != nil || !strings.Contains(string(text), "crt "+dir+"/links/1.pem ") {
		t.Errorf("the link is not used: %v", err)
	}
	if links := (Options{Proxy: Nginx}).CertLinks(f); links != nil {
		t.Errorf("links for nginx: %v", links)
	}
}

// nginx does not start where a host has no address.
func TestUnknownHosts(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, &Options{})
	f, have := shop(dir)
	asked := ""
	for _, p := range []Proxy{Nginx, HAProxy} {
		text, err := Options{Proxy: p, Resolves: func(host string) bool { asked += host; return false }}.Render(f, have)
		if err != nil {
			t.Fatal(err)
		}
		if left := strings.Contains(string(text), "server echo.internal.example:4100"); left {
			t.Errorf("%s: an unknown host is there", p)
		}
	}
	if asked != "echo.internal.example" {
		t.Errorf("asked for %q", asked)
	}
}

// Names that differ in case are one for nginx.
func TestNames(t *testing.T) {
	b := &backends{names: map[string]bool{}}
	for _, c := range []struct{ service, want string }{{"Page", "http_Page"}, {"page", "http_page_2"}, {"other", "http_other"}} {
		if got := b.of(Key{c.service, registry.KindHTTP}, 1, 0).Name; got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	if len(b.all) != 3 || b.of(Key{"page", registry.KindHTTP}, 1, 0) != b.all[1] {
		t.Error("a backend is not there once")
	}
}
