// Package export writes configurations of other proxies, HAProxy and nginx, from a
// routes file and what a registry lists.
package export

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"path/filepath"
	"text/template"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
)

// Proxy is a program that configurations are written for.
type Proxy string

// The proxies. The names are those of their programs.
const (
	HAProxy Proxy = "haproxy" // 2.6 and later
	Nginx   Proxy = "nginx"   // 1.22 and later
)

// Options are what a configuration says besides the routes.
type Options struct {
	Proxy    Proxy
	Registry string // as messages name it

	// CA is the file of the authorities that verify services, or "system". Where
	// it is not empty services speak TLS, but for those of kind tcp, of which
	// bytes are passed on as they are.
	CA string
	// InsecurePlaintext lets tokens go to other machines without TLS.
	InsecurePlaintext bool
	// Zone is where the proxy runs: instances of other zones are for when none of
	// its own is there. With "" all are alike.
	Zone string
	// User is who the proxy runs as once it listens; "" leaves that to the proxy.
	User string
	// KeepHTTP1 keeps connections of clients of HTTP/1.1 for further requests, by
	// nginx: each reload can then lose requests that clients do not send again.
	// HAProxy keeps them in any case, and loses none.
	KeepHTTP1 bool
	// Linger is how long the processes of before a reload may go on with what they
	// have; zero means DefaultLinger.
	Linger time.Duration
	// Include is a file of settings of the user's, of nginx only.
	Include string
	// Resolves reports whether a host has an address. nginx does not start with one
	// that has none, so such instances are left out; nil leaves out none.
	Resolves func(host string) bool
	// Links is a directory for what HAProxy finds keys by; see [Options.CertLinks].
	Links string
}

// DefaultLinger is how long what is under way may go on after a reload.
const DefaultLinger = 10 * time.Minute

//go:embed haproxy.cfg.tmpl nginx.conf.tmpl
var templates embed.FS

var parsed = template.Must(template.New("").Funcs(template.FuncMap{
	"word":    haproxyWord,
	"string":  nginxString,
	"regexp":  nginxRegexp,
	"secs":    seconds,
	"comment": comment,
}).ParseFS(templates, "*.tmpl"))

// Render writes the configuration for the instances that there are. The same
// arguments give the same bytes. An error names what the proxy cannot do.
func (o Options) Render(f *routes.File, have Instances) ([]byte, error) {
	o.Linger = cmp.Or(o.Linger, DefaultLinger)
	p, err := o.plan(f, have)
	if err != nil {
		return nil, err
	}
	name := map[Proxy]string{HAProxy: "haproxy.cfg.tmpl", Nginx: "nginx.conf.tmpl"}[o.Proxy]
	if name == "" {
		return nil, fmt.Errorf("there is no proxy %q: it is %s or %s", o.Proxy, HAProxy, Nginx)
	}
	var b bytes.Buffer
	if err := parsed.ExecuteTemplate(&b, name, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Link is a symbolic link that a configuration needs.
type Link struct{ Name, Target string }

// CertLinks returns the links that let HAProxy find the keys of certificates: it
// looks for that of a.pem in a.pem.key. Nothing is needed where they are so
// named, or for another proxy.
func (o Options) CertLinks(f *routes.File) (links []Link) {
	if o.Proxy != HAProxy {
		return nil
	}
	for n, c := range f.TLS {
		if c.Key == c.Cert || c.Key == c.Cert+".key" {
			continue
		}
		name := o.linkName(n)
		links = append(links, Link{name, absolute(c.Cert)}, Link{name + ".key", absolute(c.Key)})
	}
	return links
}

func (o Options) linkName(n int) string {
	return filepath.Join(absolute(o.Links), fmt.Sprintf("%d.pem", n+1))
}

// absolute is a path for programs that run in another directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
