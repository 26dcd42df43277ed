package main

import (
	"flag"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/go-easyops/easyops/cmd/easyops/internal/edge"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// edgeRequest is what a command line of easyops edge asks for.
type edgeRequest struct {
	handover string
	anyway   bool
	check    bool
	flags    *flag.FlagSet // those that every server has
}

func edgeCommand() *cobra.Command {
	r := edgeRequest{flags: flag.NewFlagSet("edge", flag.ContinueOnError)}
	easyops.RegisterFlags(r.flags)
	c := &cobra.Command{
		Use:   "edge ROUTES.yaml",
		Short: "Serve HTTPS, gRPC and TCP in front of services that the registry lists.",
		Long: `
Leads requests, calls and connections to services by the routes of a file, which
docs/edge.md describes. It is a server like any other and takes the flags of one,
with one dash or two: -easyops.auth says who is let in, -easyops.registry where
services are found, -easyops.addr where to listen if not where the file says. The
status pages are at the file's admin address.

The file is read again when it changes, and at SIGHUP. One that is not in order
leaves everything as it was, and the log says why; --check looks at a file and
serves nothing.

An edge that starts where one runs takes over its listeners and has it leave, so
that no connection is refused: to replace one, start the next. SIGTERM stops it in
an orderly way. The exit code is 0 after an orderly stop and after a hand-over.`,
		Example: `  easyops edge --check routes.yaml
  easyops edge routes.yaml
  easyops edge routes.yaml --easyops.registry=etcd://h1:2379,h2:2379`,
		Args: oneArgument("routes file"),
		RunE: func(c *cobra.Command, args []string) error { return r.run(c, args[0]) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	f := c.Flags()
	f.BoolVar(&r.check, "check", false, "check the file and what it names, and serve nothing")
	f.StringVar(&r.handover, "handover", "", "`path` of the socket by which an edge takes over from another, none for no such thing (one in the directory of the local registry, named after the address)")
	f.BoolVar(&r.anyway, "take-over-anyway", false, "take over also from an edge with another registry, or with authentication or TLS that this one is without, and while the registry does not answer")
	f.AddGoFlagSet(r.flags)
	for name, usage := range map[string]string{
		"easyops.addr":        "`host:port` to listen on for HTTPS and gRPC (listen in the routes file)",
		"easyops.status-addr": "`host:port` of the status pages (admin in the routes file, else a free port of 127.0.0.1)",
	} {
		f.Lookup(name).Usage = usage
	}
	for _, name := range notForEdges {
		_ = f.MarkHidden(flagPrefix + name)
	}
	return c
}

const flagPrefix = "easyops."

// notForEdges are the settings of servers that an edge has no use for: it is not
// listed, and shows services no identity of its own.
var notForEdges = []string{"owner", "personal", "advertise", "service-token"}

// meaningless refuses flags that would do nothing.
func meaningless(f *pflag.FlagSet) error {
	for _, name := range notForEdges {
		if f.Changed(flagPrefix + name) {
			return usagef("edge: -%s means nothing to an edge, which is not listed and shows services no identity of its own: leave it out", flagPrefix+name)
		}
	}
	return nil
}

func (r *edgeRequest) run(c *cobra.Command, file string) error {
	if r.check {
		if err := edge.Check(file); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s is in order (settings, such as -easyops.auth, are looked at when the edge starts)\n", file)
		return nil
	}
	if err := meaningless(c.Flags()); err != nil {
		return err
	}
	return edge.Run(edge.Config{File: file, Handover: r.handover, Anyway: r.anyway, Flags: r.flags, Logger: slog.Default()})
}

// serverFlags gives the flags of an edge a second dash, which Go programs do without.
func serverFlags(args []string) []string {
	var all []string
	for n, arg := range args {
		if arg == "--" {
			return append(all, args[n:]...)
		}
		name, _, _ := strings.Cut(arg, "=")
		if strings.HasPrefix(arg, "-"+flagPrefix) || name == "-handover" || name == "-check" {
			arg = "-" + arg
		}
		all = append(all, arg)
	}
	return all
}
