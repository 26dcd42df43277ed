package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
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
address, host:port; easyops drain has printed that.
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
	s, err := r.one(ctx, arg)
	if err != nil {
		return err
	}
	names, answer, err := r.ask(ctx, s)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name(), err)
	}
	if err := r.wait(ctx, s, names, answer); err != nil {
		return err
	}
	_, err = fmt.Fprint(out, r.outcome(s, answer))
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
	path := unregisterPage
	if r.undo {
		path += "?undo"
	}
	services = slices.Concat(s.services, has.Services)
	slices.Sort(services)
	return slices.Compact(services), answer, c.ask(ctx, http.MethodPost, path, &answer, http.StatusAccepted)
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

func (r *drainRequest) outcome(s *server, answer status.RegistryData) string {
	where := printable(answer.Registry)
	if r.undo {
		return fmt.Sprintf("%s is in the %s again\n", s.name(), where)
	}
	flags := ""
	if r.certs != nil && len(s.services) > 0 {
		flags = "--service " + s.services[0] + " "
	}
	return fmt.Sprintf("%s is out of the %s and goes on serving\nto put it back, with the same flags: easyops undrain %s%s\n", s.name(), where, flags, s.addr)
}
