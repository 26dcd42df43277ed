package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/registry"
)

// targetRequest is what a command line of easyops target asks for.
type targetRequest struct {
	lookup
	owner string
	tags  []string
	all   bool
}

func targetCommand() *cobra.Command {
	var r targetRequest
	c := &cobra.Command{
		Use:   "target SERVICE",
		Short: "Print the address of an instance, for grpcurl.",
		Long: `
Prints the address of an instance of the service that the registry lists as READY,
and nothing else. Of several it is the first, in the order of their IDs, that
accepts a connection: what was killed is listed for some seconds more. Where none
of the first 10 does within 300 ms each, the first is printed, with a warning.
With --all nothing is tried.

It is an instance that plain calls may go to: those with an owner or tags (other
than a zone) are left out unless --owner or --tags names theirs. The exit code is
1 where there is none.`,
		Example: `  easyops target echo.v1.EchoService
  grpcurl -plaintext $(easyops target echo.v1.EchoService) list
  easyops target --tags release=next echo.v1.EchoService`,
		Args: oneArgument("service"),
		RunE: func(c *cobra.Command, args []string) error {
			return r.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0])
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := c.Flags()
	r.flags(f)
	f.BoolVar(&r.all, "all", false, "print all addresses, a line each")
	f.StringVar(&r.owner, "owner", "", "`ID` of the user whose personal instance it is")
	f.StringSliceVar(&r.tags, "tags", nil, "`tags` of the instance, such as release=next,color=blue")
	return c
}

func (r *targetRequest) run(ctx context.Context, out, warn io.Writer, service string) (err error) {
	tags, err := r.parse()
	if err := errors.Join(err, checkService(service)); err != nil {
		return err
	}
	if err := r.open(warn); err != nil {
		return err
	}
	defer r.close(&err)
	list, err := r.instances(ctx, service)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return r.noInstance(ctx, service)
	}
	found := slices.DeleteFunc(slices.Clone(list), func(i registry.Instance) bool { return !r.fits(i, tags) })
	if len(found) == 0 {
		return noTarget(service, list)
	}
	found, wrong := plainTargets(found)
	switch {
	case wrong != nil && len(found) == 0:
		return wrong
	case wrong != nil:
		fmt.Fprintf(warn, "easyops: warning: %v\n", wrong)
	}
	if !r.all {
		found = reachable(ctx, found, warn)
	}
	for _, i := range found {
		if _, err := fmt.Fprintln(out, i.Addr); err != nil {
			return err
		}
	}
	return nil
}

func (r *targetRequest) parse() (map[string]string, error) {
	tags := map[string]string{}
	for _, tag := range trimmed(r.tags) {
		key, value, ok := strings.Cut(tag, "=")
		if !ok || key == "" {
			return nil, usagef("target: --tags %q: write tags as key=value, with commas between them", tag)
		}
		tags[key] = value
	}
	return tags, nil
}

// fits tells whether a call with the tags, of the owner, may go to an instance.
// The zone decides nothing: a person who asks is in none.
func (r *targetRequest) fits(i registry.Instance, tags map[string]string) bool {
	if i.Health != registry.Ready || i.Owner != r.owner || !slices.Contains(i.Kinds, registry.KindGRPC) {
		return false
	}
	for k, v := range i.Tags {
		if want, named := tags[k]; named && want != v || !named && k != "zone" {
			return false
		}
	}
	for k := range tags {
		if _, has := i.Tags[k]; !has {
			return false
		}
	}
	return true
}

// probeTime is how long an instance may take to accept a connection, and probes
// how many instances are tried.
const (
	probeTime = 300 * time.Millisecond
	probes    = 10
)

// reachable returns the first instance that accepts a connection: the registry
// lists for a while what was killed. Nothing is sent. Where none does it may be
// that only this machine does not reach them, and the first is as good as any.
func reachable(ctx context.Context, found []registry.Instance, warn io.Writer) []registry.Instance {
	dialer := net.Dialer{Timeout: probeTime}
	tried := found[:min(probes, len(found))]
	for n, i := range tried {
		if conn, err := dialer.DialContext(ctx, "tcp", i.Addr); err == nil {
			_ = conn.Close()
			return tried[n : n+1]
		}
	}
	fmt.Fprintf(warn, "easyops: warning: %s is printed as the registry lists it: of %d tried none accepts connections from here\n", found[0].Addr, len(tried))
	return found[:1]
}

// plainTargets leaves out what a shell should not be given in the place of an
// address, and says what that was.
func plainTargets(found []registry.Instance) (fit []registry.Instance, wrong error) {
	var out []string
	for _, i := range found {
		if plainAddr(i.Addr) {
			fit = append(fit, i)
		} else {
			out = append(out, printable(i.ID+" at "+cut(i.Addr, widestCell)))
		}
	}
	if len(out) > 0 {
		wrong = fmt.Errorf("the address is not printed where it is no plain host:port: %s", someOf(out))
	}
	return fit, wrong
}

// plainAddr tells whether an address is host:port and nothing else, whatever the
// registry has checked. A zone of IPv6 could be any text, and is good on one
// machine only.
func plainAddr(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	return err == nil && net.JoinHostPort(host, port) == addr && !strings.Contains(host, "%") && registry.ValidAddr(addr) == nil
}

// noTarget says what there is instead.
func noTarget(service string, list []registry.Instance) error {
	const most = 5
	var all []string
	for _, i := range list[:min(most, len(list))] {
		words := []string{i.Addr, string(i.Health)}
		if i.Owner != "" {
			words = append(words, "owner "+i.Owner)
		}
		if tags := tagText(i.Tags); tags != "" {
			words = append(words, "tags "+tags)
		}
		if !slices.Contains(i.Kinds, registry.KindGRPC) {
			words = append(words, "no gRPC")
		}
		all = append(all, printable(strings.Join(words, " ")))
	}
	if more := len(list) - most; more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("of %d instances of %s none is fit: %s: --owner and --tags choose others than plain ones", len(list), service, strings.Join(all, "; "))
}
