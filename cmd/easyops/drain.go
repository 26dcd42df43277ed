package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

const (
	namePage       = "/internal/service-info/name"
	unregisterPage = "/internal/unregister"
)

// drainRequest is what a command line of easyops drain, or undrain, asks for.
type drainRequest struct {
	lookup
	statusClient
	undo bool
}

func drainCommand() *cobra.Command {
	var r drainRequest
	return r.command(&cobra.Command{
		Use:   "drain INSTANCE|ADDRESS",
		Short: "Take an instance out of the registry; it goes on serving.",
		Long: `
Asks an instance to take itself out of the registry, and waits until the registry
has it no longer. It goes on serving: clients that know it leave it, calls that it
has begun are finished, and it can be looked at. easyops undrain puts it back.

Where it lists itself in another registry than --registry nothing is waited for,
and the exit code is not 0: 1 where the server itself says that it is done, 2
where it is not known. So it is where the registry cannot be asked, or is none.

An instance is named by its ID or the beginning of it, as easyops ls lists it, or
by its address, host:port.
` + identityHelp,
		Example: `  easyops drain k3v5q7
  easyops drain --ca ca.pem --token-file alice.token 10.0.0.7:4100`,
	})
}

func undrainCommand() *cobra.Command {
	r := drainRequest{undo: true}
	return r.command(&cobra.Command{
		Use:   "undrain ADDRESS",
		Short: "Put an instance back into the registry.",
		Long: `
Asks an instance that easyops drain took out of the registry to list itself again,
and waits until the registry has it. As it is not listed, it is named by its
address, host:port; easyops drain has printed that. The registry is the one that
it lists itself in; with another the exit code is not 0, as of easyops drain.
` + identityHelp,
		Example: `  easyops undrain 127.0.0.1:4100
  easyops undrain --ca ca.pem --service echo.v1.EchoService --token-file alice.token 10.0.0.7:4100`,
	})
}

func (r *drainRequest) command(c *cobra.Command) *cobra.Command {
	c.Args = oneArgument("instance")
	c.RunE = func(c *cobra.Command, args []string) error {
		return r.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0])
	}
	c.ValidArgsFunction = cobra.NoFileCompletions
	r.lookup.flags(c.Flags())
	r.statusClient.flags(c)
	r.reasonFlag(c.Flags())
	return c
}

func (r *drainRequest) run(ctx context.Context, out, warn io.Writer, arg string) (err error) {
	if err := r.statusClient.open(warn); err != nil {
		return err
	}
	if err := r.lookup.open(warn); err != nil {
		return err
	}
	defer r.lookup.close(&err)
	s, unasked := r.one(ctx, arg) // a server at an address can be asked all the same
	if s == nil {
		return unasked
	}
	names, answer, err := r.ask(ctx, s)
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", s.name(), err), unasked)
	}
	if unasked != nil || r.isNone() {
		return r.unchecked(s, answer, unasked)
	}
	if err := r.checkable(s, answer); err != nil {
		return err
	}
	if err := r.wait(ctx, s, names, answer); err != nil {
		return err
	}
	_, err = fmt.Fprint(out, r.outcome(s))
	return err
}

// ask has the server change its entries, and returns the services that it has
// them for, and what it says of its registry. It makes sure before that it is
// the right one.
func (r *drainRequest) ask(ctx context.Context, s *server) (services []string, answer status.RegistryData, err error) {
	ctx, cancel := r.within(ctx)
	defer cancel()
	c := r.connect(s)
	defer c.close()
	var is status.VersionData
	var has status.NameData
	if err := s.hint(c.ask(ctx, http.MethodGet, versionPage, &is)); err != nil {
		return nil, answer, err
	}
	if err := wrongServer(s, is.Instance); err != nil {
		return nil, answer, err
	}
	if err := c.ask(ctx, http.MethodGet, namePage, &has); err != nil {
		return nil, answer, err
	}
	s.id = printable(is.Instance)
	query := url.Values{}
	if r.undo {
		query.Set("undo", "")
	}
	services = slices.Concat(s.services, has.Services)
	slices.Sort(services)
	return slices.Compact(services), answer, c.post(ctx, r.why(unregisterPage, query), nil, &answer, http.StatusAccepted)
}

// checkable is the error where the registry that is asked here cannot tell what
// became of the instance: the server lists itself in another one. What has listed
// it before can tell, by whatever name the server calls it: endpoints of etcd may
// be named in many ways.
func (r *drainRequest) checkable(s *server, answer status.RegistryData) error {
	if s.id != "" && s.listing(s.id).ID == s.id {
		return nil
	}
	where := cmp.Or(printable(answer.Registry), "registry that it does not name")
	if where != r.reg.String() {
		said, code := r.said(answer)
		return exitError{code, fmt.Errorf("%s did what it was asked, but it lists itself in the %s and --registry is the %s, so it was not checked: %s%s",
			s.name(), where, r.reg, said, r.elsewhere(s))}
	}
	if !r.undo && answer.State == string(registry.Registered) {
		// The same name on two machines is two registries, such as local.
		return exitError{2, fmt.Errorf("%s did what it was asked, but the %s as it is here has never listed it, and it says that it is still listed: whether it is out is not known", s.name(), r.reg)}
	}
	return nil
}

// unchecked is the error where no registry can be asked what became of a server.
func (r *drainRequest) unchecked(s *server, answer status.RegistryData, unasked error) error {
	why := "--registry is none"
	if unasked != nil {
		why = unasked.Error()
	}
	said, code := r.said(answer)
	return exitError{code, fmt.Errorf("%s did what it was asked, but it was not checked, as %s: %s", s.name(), why, said)}
}

// said is what the server itself says of its registry, and the exit code where
// that is all there is.
func (r *drainRequest) said(answer status.RegistryData) (text string, code int) {
	switch settled := answer.State == string(registry.Registered) == r.undo && answer.State != string(registry.Lost); {
	case !settled && r.undo:
		return "whether it is listed again is not known", 2
	case !settled:
		return "whether it is out is not known", 2
	case r.undo:
		return "it says that it is listed there again", 1
	}
	return "it says that it is not listed there any more", 1
}

// elsewhere is how to put back what is listed in a registry whose URL is not known.
func (r *drainRequest) elsewhere(s *server) string {
	if r.undo {
		return ""
	}
	return "; to put it back: easyops undrain --registry URL " + r.serviceFlag(s) + s.addr + ", with the URL of the registry it lists itself in"
}

// wait waits until the registry has the instance no longer, or again.
func (r *drainRequest) wait(ctx context.Context, s *server, services []string, answer status.RegistryData) error {
	var mu sync.Mutex
	var errs []error
	var late []string
	each(len(services), func(n int) {
		ok, err := r.until(ctx, services[n], func(list []registry.Instance) bool {
			return slices.ContainsFunc(list, func(i registry.Instance) bool { return i.ID == s.id }) == r.undo
		})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = append(errs, err)
		} else if !ok {
			late = append(late, printable(services[n]))
		}
	})
	const done = "%s did what it was asked, but "
	switch {
	case len(errs) > 0:
		return fmt.Errorf(done+"whether it is listed is not known: %w", s.name(), errs[0])
	case len(late) > 0 && r.undo:
		return fmt.Errorf(done+"after %v the %s does not list it for %s: it lists itself in the %s", s.name(), &r.timeout, r.reg, someOf(late), printable(answer.Registry))
	case len(late) > 0:
		return fmt.Errorf(done+"after %v the %s still lists it for %s", s.name(), &r.timeout, r.reg, someOf(late))
	}
	return nil
}

func (r *drainRequest) outcome(s *server) string {
	if r.undo {
		return fmt.Sprintf("%s is in the %s again\n", s.name(), r.reg)
	}
	return fmt.Sprintf("%s is out of the %s and goes on serving\nto put it back, with the same flags: easyops undrain %s%s%s\n", s.name(), r.reg, r.registryFlag(), r.serviceFlag(s), s.addr)
}

// serviceFlag is what undrain needs with TLS for a server that is not listed.
func (r *drainRequest) serviceFlag(s *server) string {
	if r.certs == nil || len(s.services) == 0 {
		return ""
	}
	return "--service " + s.services[0] + " "
}
