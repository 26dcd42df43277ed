package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/status"
)

// setRequest is what a command line of easyops flags set asks for.
type setRequest struct {
	several
	consent
	ttl    lifetime
	dryRun bool
}

func flagsSetCommand() *cobra.Command {
	var r setRequest
	c := &cobra.Command{
		Use:   "set TARGET NAME=VALUE...",
		Short: "Change flags while servers run.",
		Long: `
Changes flags of running servers. An instance takes all of the values or none.

Where it concerns several instances, each is asked first whether it would take
them: if one would not, none is changed. What would change is shown, and asked
whether it may, unless --yes. Then one is changed after the other. If one fails,
those behind it are left as they are: what happened at each is printed.

With --ttl a flag goes back to what it was after that time. What is changed holds
until the server ends; a new process begins with its own flags again.
` + severalHelp + turnHelp + identityHelp,
		Example: `  easyops flags set --service echo.v1.EchoService easyops.log-level=debug --ttl 5m
  easyops flags set 127.0.0.1:4100 easyops.drain-delay=5s --reason "slow clients"
  easyops flags set echo.v1.EchoService --dry-run easyops.access-log-sample=1`,
		RunE: func(c *cobra.Command, args []string) error {
			targets, values, err := assignments(c, args)
			if err != nil {
				return err
			}
			return r.with(c, targets, func(all []*server) error { return r.run(c, all, values) })
		},
	}
	r.several.flags(c)
	f := c.Flags()
	f.Var(&r.ttl, "ttl", "change it for this long only")
	r.reasonFlag(f)
	f.BoolVar(&r.dryRun, "dry-run", false, "show what would change, and change nothing")
	r.consent.flags(c)
	return c
}

// assignments tells targets, which have no equals sign, from values.
func assignments(c *cobra.Command, args []string) (targets []string, values url.Values, err error) {
	values = url.Values{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		switch {
		case !ok:
			targets = append(targets, arg)
		case name == "" || name[0] == '-':
			return nil, nil, usagef("%s: %q has no name of a flag: write NAME=VALUE, without dashes", words(c), arg)
		case values.Has(name):
			return nil, nil, usagef("%s: there are two values of %s", words(c), name)
		default:
			values.Set(name, value)
		}
	}
	if len(values) == 0 {
		return nil, nil, usagef("%s: say what to change, as in: %s", words(c), firstExample(c))
	}
	return targets, values, nil
}

func (r *setRequest) run(c *cobra.Command, all []*server, values url.Values) error {
	ctx, many := c.Context(), len(all) > 1
	what := "change flags of " + instances(all)
	if many && !r.dryRun {
		if err := r.possible(c, what); err != nil {
			return err
		}
	}
	if many || r.dryRun {
		tried := answersOf(ctx, &r.several, all, r.post(values, true))
		if r.dryRun {
			return show(c.OutOrStdout(), &r.several, tried, changeTable)
		}
		if err := failures(tried); err != nil {
			return fmt.Errorf("nothing was changed, as not all would take it:\n%w", err)
		}
		if !r.yes {
			if err := changeTable(c.ErrOrStderr(), tried); err != nil {
				return err
			}
		}
		if err := r.ask(c, what); err != nil {
			return err
		}
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	return show(c.OutOrStdout(), &r.several, inTurn(ctx, &r.several, all, true, r.post(values, false)), changeTable)
}

// post asks a server to take the values.
func (r *setRequest) post(values url.Values, dryRun bool) func(context.Context, *conn, *status.ParametersData) error {
	query := url.Values{}
	if r.ttl > 0 {
		query.Set("ttl", time.Duration(r.ttl).String())
	}
	if dryRun {
		query.Set("dry_run", "true")
	}
	path := r.why(parametersPage, query)
	return func(ctx context.Context, c *conn, page *status.ParametersData) error {
		err := c.post(ctx, path, values, page)
		if dryRun {
			return err
		}
		return doubtful(err)
	}
}

// instances counts them for a question.
func instances(all []*server) string {
	if len(all) == 1 {
		return all[0].name()
	}
	var services []string
	for _, s := range all {
		services = append(services, s.services...)
	}
	slices.Sort(services)
	text := fmt.Sprintf("%d instances", len(all))
	if services = slices.Compact(services); len(services) > 0 {
		text += " of " + someOf(services)
	}
	return printable(text)
}

func changeTable(w io.Writer, answers []answer[status.ParametersData]) error {
	t := newColumns(answers, "FLAG", "OLD", "NEW", "BACK")
	for _, a := range answers {
		if a.Page == nil {
			continue
		}
		for _, change := range a.Page.Changed {
			back := ""
			if !change.Reverts.IsZero() {
				back = "in " + age(time.Until(change.Reverts).Round(time.Second))
			}
			t.add(a.Instance, change.Name, quoteEmpty(change.Old), quoteEmpty(change.New), back)
		}
	}
	return t.print(w, "Nothing was changed.")
}
