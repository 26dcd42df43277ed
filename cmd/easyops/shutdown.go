package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

const shutdownPage = "/internal/pleaseshutdown"

// pollTime is how often a server that stops is asked whether it is there.
const pollTime = 100 * time.Millisecond

// shutdownRequest is what a command line of easyops shutdown asks for.
type shutdownRequest struct {
	several
	consent
	wait, atOnce, replaced bool
	within                 lifetime
}

func shutdownCommand() *cobra.Command {
	r := shutdownRequest{within: lifetime(2 * time.Minute)}
	c := &cobra.Command{
		Use:   "shutdown TARGET...",
		Short: "Have instances stop in an orderly way.",
		Long: `
Asks instances to stop in an orderly way: clients are told, calls in flight are
finished, then the process ends. Whether it is started again is up to what started
it.

Several stop one after the other: each must be gone before the next is asked, and
one that is not gone in time keeps those behind it from being asked. With
--replaced the next is asked only when the registry has as many READY instances
again as at first, so that a service whose processes are started again goes on.
--at-once asks all of them at the same time: the service is down then.

An instance is gone when nothing answers at its address any more, or another one
does, and the registry no longer lists it. For one alone that is waited for with
--wait only. It asks before it stops several, unless --yes.
` + severalHelp + turnHelp + identityHelp,
		Example: `  easyops shutdown 127.0.0.1:4100
  easyops shutdown --wait k3v5q7
  easyops shutdown --replaced --yes --reason "new kernel" echo.v1.EchoService`,
		RunE: func(c *cobra.Command, args []string) error {
			if r.atOnce && r.replaced {
				return usagef("%s: --at-once waits for no replacement: leave out one of --at-once and --replaced", words(c))
			}
			return r.with(c, args, func(all []*server) error {
				if r.replaced && r.isNone() {
					return usagef("%s: --replaced needs a registry to see replacements: name one by --registry", words(c))
				}
				return r.run(c, all)
			})
		},
	}
	r.several.flags(c)
	f := c.Flags()
	f.BoolVar(&r.wait, "wait", false, "wait until one alone is gone")
	f.BoolVar(&r.replaced, "replaced", false, "wait until another instance is READY in the place of each")
	f.BoolVar(&r.atOnce, "at-once", false, "ask all at the same time")
	f.Var(&r.within, "within", "how long each may take to be gone, and to be replaced")
	r.reasonFlag(f)
	r.consent.flags(c)
	return c
}

func (r *shutdownRequest) run(c *cobra.Command, all []*server) error {
	if len(all) > 1 {
		what := "shut down " + instances(all)
		if err := r.possible(c, what); err != nil {
			return err
		}
		if err := r.ask(c, what); err != nil {
			return err
		}
	}
	ctx, stop := interruptible(c.Context())
	defer stop()
	waits := r.wait || r.replaced || len(all) > 1 && !r.atOnce
	if r.atOnce {
		answers := answersOf(ctx, &r.several, all, r.stop)
		if r.wait {
			each(len(all), func(n int) { r.await(ctx, all[n], &answers[n]) })
		}
		return show(c.OutOrStdout(), &r.several, answers, r.table(r.wait))
	}
	var answers []answer[status.StateData]
	for n, s := range all {
		ready := r.ready(ctx, s)
		a := answerOf(ctx, &r.several, s, r.stop)
		if waits {
			r.await(ctx, s, &a)
			r.awaitOther(ctx, s, ready, &a)
		}
		if answers = append(answers, a); a.Error != "" {
			answers = append(answers, untried(all[n+1:])...)
			break
		}
		if len(all) > 1 && !r.json {
			fmt.Fprintf(c.ErrOrStderr(), "easyops: %s is gone\n", s.name())
		}
	}
	return show(c.OutOrStdout(), &r.several, answers, r.table(waits))
}

func untried(rest []*server) (answers []answer[status.StateData]) {
	for _, s := range rest {
		answers = append(answers, answer[status.StateData]{Instance: s.id, Addr: s.addr, Error: "not tried, as one before it failed"})
	}
	return answers
}

func (r *shutdownRequest) stop(ctx context.Context, c *conn, page *status.StateData) error {
	return doubtful(c.post(ctx, r.why(shutdownPage, nil), nil, page, http.StatusAccepted))
}

func (r *shutdownRequest) table(waited bool) func(io.Writer, []answer[status.StateData]) error {
	return func(w io.Writer, answers []answer[status.StateData]) error {
		rows := [][]string{{"INSTANCE", "ADDRESS", "STATE"}}
		for _, a := range answers {
			if a.Page == nil {
				continue
			}
			state := a.Page.State
			if waited && a.Error == "" {
				state = "gone"
			}
			rows = append(rows, []string{dash(a.Instance), dash(a.Addr), dash(cut(state, widestCell))})
		}
		return printTable(w, rows)
	}
}

// await waits until a server that was asked to stop is gone.
func (r *shutdownRequest) await(ctx context.Context, s *server, a *answer[status.StateData]) {
	if a.Error != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.within))
	defer cancel()
	for !r.silent(ctx, s) {
		select {
		case <-ctx.Done():
			a.Error = fmt.Sprintf("it was asked to stop, and is still there after %v: --within gives it longer", &r.within)
			return
		case <-time.After(pollTime):
		}
	}
	if err := r.unlisted(ctx, s); err != nil {
		a.Error = "it was asked to stop, and " + err.Error()
	}
}

// silent tells whether nothing answers at the address of a server any more, or
// another does. No answer in time is none of that: a server that is busy, or one
// that drops connections.
func (r *shutdownRequest) silent(ctx context.Context, s *server) bool {
	c := r.connect(s)
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var is status.VersionData
	err := c.ask(ctx, http.MethodGet, versionPage, &is)
	return unreached(err) || err == nil && is.Instance != s.id
}

// unlisted waits until the registry no longer has a server.
func (r *shutdownRequest) unlisted(ctx context.Context, s *server) error {
	for _, service := range r.servicesOf(s) {
		ok, err := r.until(ctx, service, func(list []registry.Instance) bool {
			return !slices.ContainsFunc(list, func(i registry.Instance) bool { return i.ID == s.id })
		})
		if err != nil {
			return fmt.Errorf("whether it is still listed is not known: %w", err)
		}
		if !ok {
			return fmt.Errorf("nothing answers there any more, but the %s still lists it for %s", r.reg, printable(service))
		}
	}
	return nil
}

// servicesOf are those that the registry lists a server for, as far as it is known.
func (r *shutdownRequest) servicesOf(s *server) []string {
	services := slices.Clone(s.services)
	if entry := s.listing(s.id); entry.ID == s.id && entry.Service != "" {
		services = append(services, entry.Service)
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// ready counts the READY instances of the services of a server, before it stops.
func (r *shutdownRequest) ready(ctx context.Context, s *server) map[string]int {
	counts := map[string]int{}
	if !r.replaced {
		return counts
	}
	for _, service := range r.servicesOf(s) {
		list, err := r.instances(ctx, service)
		if err == nil {
			counts[service] = readyOf(list)
		}
	}
	return counts
}

func readyOf(list []registry.Instance) (n int) {
	for _, i := range list {
		if i.Health == registry.Ready {
			n++
		}
	}
	return n
}

// awaitOther waits until as many instances are READY as there were.
func (r *shutdownRequest) awaitOther(ctx context.Context, s *server, before map[string]int, a *answer[status.StateData]) {
	if a.Error != "" || !r.replaced {
		return
	}
	for service, wanted := range before {
		patient := r.lookup
		patient.timeout = r.within
		ok, err := patient.until(ctx, service, func(list []registry.Instance) bool { return readyOf(list) >= wanted })
		switch {
		case err != nil:
			a.Error = cmp.Or(a.Error, "it is gone, and whether it was replaced is not known: "+err.Error())
		case !ok:
			a.Error = fmt.Sprintf("it is gone, and after %v there are less than %d READY instances of %s", &r.within, wanted, printable(service))
		}
	}
}
