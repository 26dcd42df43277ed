package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/status"
)

const cachesPage = "/internal/clearcache"

func cacheCommand() *cobra.Command {
	var m several
	c := &cobra.Command{
		Use:   "cache TARGET...",
		Short: "List the caches of instances.",
		Long: `
Lists the caches of instances: how many entries they have and may have, how often
what was looked for was there, and who has cleared them last. Of caches of other
libraries only the name and that is known.
` + severalHelp + identityHelp,
		Example: `  easyops cache echo.v1.EchoService
  easyops cache --json 127.0.0.1:4100`,
		RunE: func(c *cobra.Command, args []string) error {
			return m.with(c, args, func(all []*server) error {
				answers := answersOf(c.Context(), &m, all, get[status.CachesData](cachesPage))
				return show(c.OutOrStdout(), &m, answers, cacheTable)
			})
		},
	}
	m.flags(c)
	c.AddCommand(cacheClearCommand())
	c.SuggestionsMinimumDistance = 2
	return c
}

func cacheTable(w io.Writer, answers []answer[status.CachesData]) error {
	t := newColumns(answers, "CACHE", "ENTRIES", "MOST", "TTL", "HITS", "MISSES", "HIT RATE", "EVICTED", "CLEARED", "BY")
	for _, a := range answers {
		if a.Page == nil {
			continue
		}
		for _, cache := range a.Page.Caches {
			t.add(a.Instance, cacheRow(cache, time.Now())...)
		}
	}
	return t.print(w, "There are no caches.")
}

func cacheRow(c status.Cache, now time.Time) []string {
	row := []string{c.Name, "", "", "", "", "", "", "", "", c.ClearedBy}
	if c.Counted {
		row[1], row[4], row[5], row[7] = fmt.Sprint(c.Entries), fmt.Sprint(c.Hits), fmt.Sprint(c.Misses), fmt.Sprint(c.Evictions)
		if c.Max > 0 {
			row[2] = fmt.Sprint(c.Max)
		}
		if c.TTL > 0 {
			row[3] = time.Duration(c.TTL).String()
		}
		if n := float64(c.Hits) + float64(c.Misses); n > 0 {
			row[6] = fmt.Sprintf("%.1f %%", 100*float64(c.Hits)/n)
		}
	}
	if !c.ClearedAt.IsZero() {
		row[8] = age(now.Sub(c.ClearedAt)) + " ago"
	}
	return row
}

// clearRequest is what a command line of easyops cache clear asks for.
type clearRequest struct {
	several
	consent
}

func cacheClearCommand() *cobra.Command {
	var r clearRequest
	c := &cobra.Command{
		Use:   "clear TARGET [CACHE]",
		Short: "Clear one cache of instances, or all.",
		Long: `
Clears a cache at each instance, one after the other, or all of their caches where
none is named. It asks before it clears several caches, or at several instances,
unless --yes. One that fails does not keep the others from being cleared.

A TARGET is a service, which stands for all of its instances, the ID of an instance
or the beginning of it, or its address, host:port. With --service NAME it is left
out, unless it is an address.
` + turnHelp + identityHelp,
		Example: `  easyops cache clear 127.0.0.1:4100 users
  easyops cache clear --yes --reason "wrong prices" --service shop.v1.Shop prices`,
		RunE: func(c *cobra.Command, args []string) error {
			targets, names := r.split(args)
			switch {
			case len(names) > 1:
				return usagef("%s: name one cache, or none for all", words(c))
			case len(names) == 1 && strings.ContainsAny(names[0], "/ \t"):
				return usagef("%s: %q is no name of a cache", words(c), names[0])
			}
			return r.with(c, targets, func(all []*server) error { return r.run(c, all, names) })
		},
	}
	r.several.flags(c)
	r.reasonFlag(c.Flags())
	r.consent.flags(c)
	return c
}

func (r *clearRequest) run(c *cobra.Command, all []*server, names []string) error {
	path, what := cachesPage, "clear all caches of "+instances(all)
	if len(names) > 0 {
		path, what = cachesPage+"/"+url.PathEscape(names[0]), "clear the cache "+names[0]+" of "+instances(all)
	}
	if len(all) > 1 || len(names) == 0 {
		if err := r.possible(c, what); err != nil {
			return err
		}
		if err := r.ask(c, what); err != nil {
			return err
		}
	}
	ctx, stop := interruptible(c.Context())
	defer stop()
	answers := inTurn(ctx, &r.several, all, false, func(ctx context.Context, c *conn, page *status.CachesData) error {
		return doubtful(c.post(ctx, r.why(path, nil), nil, page))
	})
	return show(c.OutOrStdout(), &r.several, answers, clearedTable)
}

func clearedTable(w io.Writer, answers []answer[status.CachesData]) error {
	t := newColumns(answers, "CLEARED")
	for _, a := range answers {
		if a.Page == nil {
			continue
		}
		for _, name := range a.Page.Cleared {
			t.add(a.Instance, name)
		}
	}
	return t.print(w, "There are no caches.")
}
