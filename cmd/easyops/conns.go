package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/status"
)

const connectionsPage = "/internal/service-info/grpc-connections"

// connsRequest is what a command line of easyops conns asks for.
type connsRequest struct {
	rowsRequest
	outbound bool
}

func connsCommand() *cobra.Command {
	var r connsRequest
	c := &cobra.Command{
		Use:   "conns TARGET...",
		Short: "List the connections of instances.",
		Long: `
Lists who is connected to instances, and with --outbound the clients that instances
have of other services. It says who made the last call of a connection.
` + severalHelp + identityHelp,
		Example: `  easyops conns echo.v1.EchoService
  easyops conns --sort -received --limit 20 127.0.0.1:4100
  easyops conns --outbound greeter.v1.GreeterService`,
		RunE: func(c *cobra.Command, args []string) error {
			if f := c.Flags(); r.outbound && (f.Changed("sort") || f.Changed("filter") || f.Changed("limit")) {
				return usagef("%s: --sort, --filter and --limit are not for --outbound", words(c))
			}
			return r.with(c, args, func(all []*server) error { return r.run(c, all) })
		},
	}
	r.flags(c, "connections")
	c.Flags().BoolVar(&r.outbound, "outbound", false, "list the clients that they have of other services")
	return c
}

func (r *connsRequest) run(c *cobra.Command, all []*server) error {
	page := r.path(connectionsPage)
	if r.outbound {
		page = connectionsPage
	}
	answers := answersOf(c.Context(), &r.several, all, get[status.ConnectionsData](page))
	return show(c.OutOrStdout(), &r.several, answers, func(w io.Writer, answers []answer[status.ConnectionsData]) error {
		if r.outbound {
			return outboundTable(w, answers)
		}
		return r.inboundTable(w, c.ErrOrStderr(), answers)
	})
}

// inboundOrders are the columns that connections are sorted by, as servers name
// them.
var inboundOrders = map[string]func(a, b status.Inbound) int{
	"peer":      func(a, b status.Inbound) int { return strings.Compare(a.Peer, b.Peer) },
	"identity":  func(a, b status.Inbound) int { return strings.Compare(whoCalls(a), whoCalls(b)) },
	"protocol":  func(a, b status.Inbound) int { return strings.Compare(a.Protocol, b.Protocol) },
	"tls":       func(a, b status.Inbound) int { return strings.Compare(a.TLS, b.TLS) },
	"age":       func(a, b status.Inbound) int { return b.Since.Compare(a.Since) },
	"in-flight": func(a, b status.Inbound) int { return cmp.Compare(a.InFlight, b.InFlight) },
	"calls":     func(a, b status.Inbound) int { return cmp.Compare(a.Calls, b.Calls) },
	"received":  func(a, b status.Inbound) int { return cmp.Compare(a.Received, b.Received) },
	"sent":      func(a, b status.Inbound) int { return cmp.Compare(a.Sent, b.Sent) },
}

func (r *connsRequest) inboundTable(w, warn io.Writer, answers []answer[status.ConnectionsData]) error {
	rows := mergeRows(answers, inboundOrders, func(d *status.ConnectionsData) ([]status.Inbound, status.Listed) { return d.Inbound, d.InboundListed })
	t := newColumns(answers, "PEER", "WHO", "PROTOCOL", "TLS", "AGE", "IN FLIGHT", "CALLS", "RECEIVED", "SENT")
	for _, row := range rows.first(warn, r.limit) {
		i := row.row
		t.add(row.instance, i.Peer, whoCalls(i), i.Protocol, i.TLS, age(time.Since(i.Since)),
			fmt.Sprint(i.InFlight), fmt.Sprint(i.Calls), size(i.Received), size(i.Sent))
	}
	return t.print(w, "Nobody is connected.")
}

// whoCalls is who made the last call of a connection.
func whoCalls(i status.Inbound) string {
	var who []string
	if i.User != "" {
		who = append(who, "user "+i.User)
	}
	if i.Service != "" {
		who = append(who, "service "+i.Service)
	}
	return strings.Join(who, " by ")
}

// size is a number of bytes for people.
func size(bytes uint64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, units := float64(bytes), "KMGTPE"
	for value /= unit; value >= unit && len(units) > 1; units = units[1:] {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}

func outboundTable(w io.Writer, answers []answer[status.ConnectionsData]) error {
	t := newColumns(answers, "SERVICE", "CLIENT", "TO", "ADDRESS", "CLASS", "HEALTH", "STATE", "FOR", "IN FLIGHT", "CALLS", "FAILED", "LATENCY", "LAST ERROR")
	for _, a := range answers {
		if a.Page == nil {
			continue
		}
		for _, client := range a.Page.Outbound {
			for _, row := range outboundRows(client, time.Now()) {
				t.add(a.Instance, row...)
			}
		}
	}
	return t.print(w, "There are no clients of other services.")
}

// outboundRows has a line for each instance that a client connects to, one where
// there is none.
func outboundRows(c status.Outbound, now time.Time) (rows [][]string) {
	if len(c.Instances) == 0 {
		return [][]string{{c.Service, c.State, "", "", "", "", "", "", "", "", "", "", c.Error}}
	}
	for _, i := range c.Instances {
		since := ""
		if !i.Since.IsZero() {
			since = age(now.Sub(i.Since))
		}
		state := i.State
		if i.EjectedUntil.After(now) {
			state += ", kept away"
		}
		rows = append(rows, []string{
			c.Service, c.State, i.ID, i.Addr, i.Class, i.Health, state, since,
			fmt.Sprint(i.InFlight), fmt.Sprint(i.Calls), fmt.Sprint(i.Failures), short(i.Latency), i.LastError,
		})
	}
	return rows
}
