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
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/status"
)

const parametersPage = "/internal/parameters"

// allRows asks for all of a list, as far as servers give it in one answer.
const allRows = "10000"

// flagsRequest is what a command line of easyops flags asks for.
type flagsRequest struct {
	several
	filter  string
	changed bool
}

func flagsCommand() *cobra.Command {
	var r flagsRequest
	c := &cobra.Command{
		Use:   "flags TARGET...",
		Short: "List the flags of instances.",
		Long: `
Lists the flags of instances and their values. Of several instances a flag has a
line for each value that it has at some of them, which are named then.

CHANGES says whether easyops flags set can change it while the server runs, BACK
what it goes back to, and when. Values of secret flags are not shown by servers.
` + severalHelp + identityHelp,
		Example: `  easyops flags echo.v1.EchoService
  easyops flags --filter log 127.0.0.1:4100
  easyops flags --changed --service echo.v1.EchoService`,
		RunE: func(c *cobra.Command, args []string) error {
			return r.with(c, args, func(all []*server) error { return r.run(c, all) })
		},
	}
	r.flags(c)
	c.Flags().StringVar(&r.filter, "filter", "", "only flags with the `text` in name, value or usage")
	c.Flags().BoolVar(&r.changed, "changed", false, "only flags that have another value than by default")
	c.AddCommand(flagsGetCommand(), flagsSetCommand())
	c.SuggestionsMinimumDistance = 2
	return c
}

func (r *flagsRequest) run(c *cobra.Command, all []*server) error {
	query := url.Values{"limit": {allRows}}
	if r.filter != "" {
		query.Set("filter", r.filter)
	}
	answers := answersOf(c.Context(), &r.several, all, get[status.ParametersData](parametersPage+"?"+query.Encode()))
	for _, a := range answers {
		if a.Page == nil {
			continue
		}
		shownOf(c.ErrOrStderr(), a.named(), len(a.Page.Parameters), a.Page.Listed, "--filter asks for fewer")
		if r.changed {
			a.Page.Parameters = slices.DeleteFunc(a.Page.Parameters, func(p status.Parameter) bool { return p.Value == p.Default && p.Reverts.IsZero() })
		}
	}
	return show(c.OutOrStdout(), &r.several, answers, func(w io.Writer, answers []answer[status.ParametersData]) error {
		return flagTable(w, answers, time.Now())
	})
}

// flagTable has a line for each value of a flag.
func flagTable(w io.Writer, answers []answer[status.ParametersData], now time.Time) error {
	t := &columns{rows: [][]string{{"FLAG", "VALUE", "DEFAULT", "TYPE", "CHANGES", "SOURCE", "BACK"}}}
	values := valuesOf(answers)
	asked := 0
	for _, a := range answers {
		if a.Page != nil {
			asked++
		}
	}
	if asked > 1 {
		t.rows[0] = append(t.rows[0], "INSTANCES")
	}
	for _, v := range values {
		p := v.parameter
		cells := []string{p.Name, quoteEmpty(p.Value), quoteEmpty(p.Default), p.Type, yes(p.Dynamic), p.Source, reverts(p, now)}
		if asked > 1 {
			cells = append(cells, someOrAll(v.instances, asked))
		}
		t.add("", cells...)
	}
	return t.print(w, "There are no such flags.")
}

// flagValue is a flag as it is at some instances.
type flagValue struct {
	parameter status.Parameter
	instances []string
}

// valuesOf puts the same values together, in the order of the flags' names. Of
// values that go back, the first says when.
func valuesOf(answers []answer[status.ParametersData]) (all []*flagValue) {
	for _, a := range answers {
		if a.Page == nil {
			continue
		}
		for _, p := range a.Page.Parameters {
			n := slices.IndexFunc(all, func(v *flagValue) bool { return sameValue(v.parameter, p) })
			if n < 0 {
				n = len(all)
				all = append(all, &flagValue{parameter: p})
			}
			all[n].instances = append(all[n].instances, cmp.Or(a.Instance, a.Addr))
		}
	}
	slices.SortStableFunc(all, func(a, b *flagValue) int { return strings.Compare(a.parameter.Name, b.parameter.Name) })
	return all
}

func sameValue(a, b status.Parameter) bool {
	return a.Name == b.Name && a.Value == b.Value && a.Default == b.Default && a.Type == b.Type && a.Dynamic == b.Dynamic &&
		a.Source == b.Source && a.Reverts.IsZero() == b.Reverts.IsZero() && a.RevertsTo == b.RevertsTo
}

func someOrAll(instances []string, of int) string {
	if len(instances) == of {
		return fmt.Sprintf("all %d", of)
	}
	return someOf(instances)
}

// quoteEmpty shows an empty value as what it is.
func quoteEmpty(value string) string {
	if value == "" {
		return `""`
	}
	return value
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func reverts(p status.Parameter, now time.Time) string {
	if p.Reverts.IsZero() {
		return ""
	}
	return "to " + quoteEmpty(p.RevertsTo) + " in " + age(p.Reverts.Sub(now))
}

// getRequest is what a command line of easyops flags get asks for.
type getRequest struct{ several }

func flagsGetCommand() *cobra.Command {
	var r getRequest
	c := &cobra.Command{
		Use:   "get TARGET NAME...",
		Short: "Print the values of flags.",
		Long: `
Prints the values of flags. Where one flag is asked for and all instances have the
same value, that is all that is printed; else it is a table.

A TARGET is a service, which stands for all of its instances, the ID of an instance
or the beginning of it, or its address, host:port. With --service NAME it is left
out, unless it is an address.
` + identityHelp,
		Example: `  easyops flags get echo.v1.EchoService easyops.log-level
  easyops flags get --service echo.v1.EchoService easyops.log-level easyops.drain-delay`,
		RunE: func(c *cobra.Command, args []string) error {
			targets, names := r.split(args)
			if err := r.wantTarget(c, targets); err != nil {
				return err
			}
			if len(names) == 0 {
				return usagef("%s: name a flag, as in: %s", words(c), firstExample(c))
			}
			return r.with(c, targets, func(all []*server) error { return r.run(c, all, names) })
		},
	}
	r.flags(c)
	return c
}

func (r *getRequest) run(c *cobra.Command, all []*server, names []string) error {
	answers := answersOf(c.Context(), &r.several, all, func(ctx context.Context, c *conn, page *status.ParametersData) error {
		if err := c.ask(ctx, http.MethodGet, parametersPage+"?limit="+allRows, page); err != nil {
			return err
		}
		return pick(page, names)
	})
	return show(c.OutOrStdout(), &r.several, answers, func(w io.Writer, answers []answer[status.ParametersData]) error {
		if values := valuesOf(answers); len(names) == 1 && oneValue(values) {
			_, err := fmt.Fprintln(w, printable(values[0].parameter.Value))
			return err
		}
		t := newColumns(answers, "FLAG", "VALUE", "SOURCE", "BACK")
		for _, a := range answers {
			if a.Page == nil {
				continue
			}
			for _, p := range a.Page.Parameters {
				t.add(a.Instance, p.Name, quoteEmpty(p.Value), p.Source, reverts(p, time.Now()))
			}
		}
		return t.print(w, "There are no such flags.")
	})
}

func oneValue(values []*flagValue) bool {
	return !slices.ContainsFunc(values, func(v *flagValue) bool { return v.parameter.Value != values[0].parameter.Value })
}

// pick leaves of a page the flags with the names, in their order.
func pick(page *status.ParametersData, names []string) error {
	var picked []status.Parameter
	var there []string
	for _, p := range page.Parameters {
		there = append(there, p.Name)
	}
	var errs []error
	for _, name := range names {
		n := slices.Index(there, name)
		if n >= 0 {
			picked = append(picked, page.Parameters[n])
			continue
		}
		advice := "easyops flags lists those it has"
		if like := near(name, there); len(like) > 0 {
			advice = "did you mean " + strings.Join(like, " or ") + "?"
		}
		errs = append(errs, fmt.Errorf("it has no flag %s: %s", printable(name), advice))
	}
	page.Parameters, page.History = picked, nil
	return errors.Join(errs...)
}
