package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/status"
)

const callersPage = "/internal/service-info/grpc-callers"

// rowsRequest is what commands have in common that print the rows of long lists.
type rowsRequest struct {
	several
	sort, filter string
	limit        int
}

func (r *rowsRequest) flags(c *cobra.Command, what string) {
	r.several.flags(c)
	f := c.Flags()
	f.StringVar(&r.sort, "sort", "", "`column` to sort by, with - before it the greatest first")
	f.StringVar(&r.filter, "filter", "", "only "+what+" with the `text` in them")
	f.IntVar(&r.limit, "limit", 500, "the most that are printed")
}

// path is the page with what is asked of it.
func (r *rowsRequest) path(page string) string {
	query := url.Values{"limit": {fmt.Sprint(r.limit)}}
	if r.sort != "" {
		query.Set("sort", r.sort)
	}
	if r.filter != "" {
		query.Set("filter", r.filter)
	}
	return page + "?" + query.Encode()
}

func callersCommand() *cobra.Command {
	var r rowsRequest
	c := &cobra.Command{
		Use:   "callers TARGET...",
		Short: "List who has called which methods.",
		Long: `
Lists who has called which methods of instances: the calling service, else the
user. Instances count by themselves, from their start, and list 1024 at most; the
calls of others are in the rows of "other".

P50 and P99 are how long calls take, half of them and 99 in 100.
` + severalHelp + identityHelp,
		Example: `  easyops callers echo.v1.EchoService
  easyops callers --sort -errors --limit 20 127.0.0.1:4100
  easyops callers --filter greeter echo.v1.EchoService`,
		RunE: func(c *cobra.Command, args []string) error {
			return r.with(c, args, func(all []*server) error {
				answers := answersOf(c.Context(), &r.several, all, get[status.CallersData](r.path(callersPage)))
				return show(c.OutOrStdout(), &r.several, answers, func(w io.Writer, answers []answer[status.CallersData]) error {
					return callerTable(w, c.ErrOrStderr(), answers, r.limit)
				})
			})
		},
	}
	r.flags(c, "rows")
	return c
}

// callerOrders are the columns that callers are sorted by, as servers name them.
var callerOrders = map[string]func(a, b status.Caller) int{
	"method": func(a, b status.Caller) int { return strings.Compare(a.Method, b.Method) },
	"caller": func(a, b status.Caller) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Caller, b.Caller))
	},
	"calls":  func(a, b status.Caller) int { return cmp.Compare(a.Calls, b.Calls) },
	"errors": func(a, b status.Caller) int { return cmp.Compare(a.Failed, b.Failed) },
	"last":   func(a, b status.Caller) int { return a.Last.Compare(b.Last) },
	"p50":    func(a, b status.Caller) int { return cmp.Compare(a.P50, b.P50) },
	"p99":    func(a, b status.Caller) int { return cmp.Compare(a.P99, b.P99) },
}

func callerTable(w, warn io.Writer, answers []answer[status.CallersData], limit int) error {
	rows := mergeRows(answers, callerOrders, func(d *status.CallersData) ([]status.Caller, status.Listed) { return d.Callers, d.Listed })
	t := newColumns(answers, "METHOD", "KIND", "CALLER", "CALLS", "ERRORS", "BY CODE", "LAST", "P50", "P99")
	for _, r := range rows.first(warn, limit) {
		c := r.row
		t.add(r.instance, c.Method, c.Kind, c.Caller, fmt.Sprint(c.Calls), fmt.Sprint(c.Failed), errorCodes(c.Errors), ago(c.Last, time.Now()), short(c.P50), short(c.P99))
	}
	return t.print(w, "There are no such calls.")
}

// errorCodes are errors by code, the most frequent first.
func errorCodes(errors map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(errors), func(a, b string) int {
		return cmp.Or(cmp.Compare(errors[b], errors[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, errors[name])
	}
	return strings.Join(names, ", ")
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(now.Sub(t)) + " ago"
}

// short is a duration with three digits, as far as they count.
func short(s status.Seconds) string {
	d := time.Duration(s)
	unit := time.Nanosecond
	for _, u := range []time.Duration{time.Microsecond, time.Millisecond, time.Second} {
		if d >= 100*u {
			unit = u
		} else if d >= u {
			unit = u / 100
		}
	}
	if d == 0 {
		return ""
	}
	return d.Round(unit).String()
}
