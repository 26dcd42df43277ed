package main

import (
	"cmp"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/cmd/easyops/internal/export"
	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
)

// exportRequest is what a command line of easyops export asks for.
type exportRequest struct {
	lookup
	export.Options
	routes, out, command string
	watch                bool
}

const exportHelp = `
For those who have a proxy already: writes its whole configuration from the routes
file of easyops edge and the instances that the registry lists. It leads to the
READY instances of each service, else to those that are STOPPING, and not to
those with an owner or with tags other than zone. The paths of the services' own
pages are refused, X-Forwarded-* are set, headers that tell who calls are removed.
What the edge does and the proxy cannot stands at the beginning of the file: above
all, nobody is authenticated before the services do it.

With --watch it goes on and writes the file anew, in one piece, when the
instances, the routes file or a certificate change, and runs the command of
--reload each time. That must be running while services are rolled. A routes file
that is wrong and a registry that cannot be asked leave everything as it is. A
reload that fails is tried again.

With --ca services are asked by TLS, and must have a certificate for the name of
the service. Without, the proxy passes no token on to a service on another
machine, unless --insecure-plaintext.`

func exportCommand() *cobra.Command {
	return group("export", "Configurations of other proxies.", exportHelp,
		exportTo(export.HAProxy, "HAProxy 2.6 and later", "haproxy", "/etc/haproxy/haproxy.cfg", "systemctl reload haproxy"),
		exportTo(export.Nginx, "nginx 1.22 and later", "", "/etc/nginx/nginx.conf", "nginx -s reload"))
}

// exportTo is the command for a proxy, of which it knows whom it runs as, where its
// file is and how it reads it again.
func exportTo(p export.Proxy, name, user, file, reload string) *cobra.Command {
	r := exportRequest{Options: export.Options{Proxy: p}}
	c := &cobra.Command{
		Use:   string(p) + " --routes FILE",
		Short: "Write a configuration of " + name + ".",
		Long:  exportHelp + "\n\nFor " + file + " the reload command is\n\n  " + reload,
		Example: "  easyops export " + string(p) + " --routes edge.yaml\n" +
			"  easyops export " + string(p) + " --routes edge.yaml -o " + filepath.Base(file) + " --watch --reload ./reload",
		Args:              noArguments,
		RunE:              func(c *cobra.Command, _ []string) error { return r.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr()) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := c.Flags()
	f.StringVar(&r.routes, "routes", "", "the routes `file`, as of easyops edge")
	f.StringVarP(&r.out, "output", "o", "", "write to the `file`, and not to standard output")
	f.BoolVar(&r.watch, "watch", false, "go on, and write anew what changes")
	f.StringVar(&r.command, "reload", "", "`command` for a shell that has the proxy read the file again")
	r.lookup.flags(f)
	f.StringVar(&r.CA, "ca", "", "`file` of the authorities that verify services, or system; also in $"+caVariable)
	f.BoolVar(&r.InsecurePlaintext, "insecure-plaintext", false, "pass tokens on to other machines without TLS")
	f.StringVar(&r.Zone, "zone", "", "the `zone` of the proxy: instances elsewhere are for when it has none")
	f.StringVar(&r.User, "user", user, "`name` of whom the proxy's workers run as; empty: whom it takes by itself")
	f.DurationVar(&r.Linger, "linger", export.DefaultLinger, "`time` that what is under way at a reload may go on, also TCP connections")
	if p == export.Nginx {
		f.BoolVar(&r.KeepHTTP1, "http1-keepalive", false, "keep connections of HTTP/1.1, though a reload can lose what clients do not send again")
		f.StringVar(&r.Include, "include", "", "`file` of more settings of the http block")
		_ = c.MarkFlagFilename("include")
	}
	for _, name := range []string{"routes", "output", "ca"} {
		_ = c.MarkFlagFilename(name)
	}
	return c
}

func (r *exportRequest) run(ctx context.Context, out, warn io.Writer) (err error) {
	if err := r.check(); err != nil {
		return err
	}
	file, err := routes.Load(r.routes)
	if err != nil {
		return err
	}
	if err := r.open(warn); err != nil {
		return err
	}
	defer r.close(&err)
	if err := r.somewhere(); err != nil {
		return err
	}
	r.CA = cmp.Or(r.CA, os.Getenv(caVariable))
	r.Registry = comment(r.reg.String())
	r.Resolves = (&resolver{ctx: ctx}).knows
	if r.watch {
		r.warned.release()
		return r.follow(ctx, out, warn)
	}
	have, err := r.have(ctx, file)
	if err != nil {
		return err
	}
	text, err := r.Render(file, have)
	if err != nil {
		return err
	}
	if r.out == "" {
		_, err = out.Write(text)
		return err
	}
	w := &exportWriter{request: r, out: out, warn: warn}
	return w.write(ctx, file, text)
}

// check finds what does not fit together.
func (r *exportRequest) check() error {
	switch {
	case r.routes == "":
		return usagef("export %s: name the routes file: --routes edge.yaml", r.Proxy)
	case r.Linger < time.Second:
		return usagef("export %s: --linger %v is no time to end in: at least 1s", r.Proxy, r.Linger)
	case r.watch && r.out == "":
		return usagef("export %s: --watch writes to a file: name it with -o", r.Proxy)
	case r.command != "" && r.out == "":
		return usagef("export %s: --reload is run when a file was written: name it with -o", r.Proxy)
	}
	if r.out != "" {
		r.Links = r.out + ".certs"
	}
	return nil
}

// have asks the registry once.
func (r *exportRequest) have(ctx context.Context, file *routes.File) (export.Instances, error) {
	var names []string
	if export.Patterns(file) {
		var err error
		if names, err = r.services(ctx); err != nil {
			return nil, err
		}
	}
	keys := export.Keys(file, names)
	have, errs := make([]export.Instances, len(keys)), make([]error, len(keys))
	each(len(keys), func(n int) {
		list, err := r.instances(ctx, keys[n].Service)
		have[n], errs[n] = export.Instances{keys[n]: export.Choose(list, keys[n].Kind, nil)}, err
	})
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	all := export.Instances{}
	for n, key := range keys {
		all[key] = have[n][key]
	}
	return all, nil
}

// resolver looks up hosts, and remembers them for a while. It is not for
// concurrent use.
type resolver struct {
	ctx   context.Context
	known map[string]resolved
}

type resolved struct {
	ok bool
	at time.Time
}

// The bounds of a lookup and of how long its answer holds.
const (
	resolveTime  = 2 * time.Second
	resolveAgain = 30 * time.Second
)

// knows reports whether a host has an address.
func (r *resolver) knows(host string) bool {
	if last, ok := r.known[host]; ok && time.Since(last.at) < resolveAgain {
		return last.ok
	}
	ctx, cancel := context.WithTimeout(r.ctx, resolveTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if r.known == nil {
		r.known = map[string]resolved{}
	}
	r.known[host] = resolved{err == nil && len(addrs) > 0, time.Now()}
	return r.known[host].ok
}

// comment is a text for a comment of a configuration.
func comment(s string) string { return printable(s) }
