package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/status"
)

// The pages that commands ask.
const (
	healthPage   = "/internal/health"
	versionPage  = "/internal/service-info/version"
	overviewPage = "/internal/"
)

// statusRequest is what a command line of easyops status asks for.
type statusRequest struct {
	lookup
	statusClient
	json bool
}

func statusCommand() *cobra.Command {
	var r statusRequest
	c := &cobra.Command{
		Use:   "status [SERVICE|INSTANCE|ADDRESS]",
		Short: "Ask instances how they are.",
		Long: `
Asks the status API of each instance of a service, or of one instance, for its
health, its version and what is wrong with it. An instance is named by its ID or
the beginning of it, or by its address, host:port. Without an argument all
instances are asked that the registry has.

LISTED is the health that the registry has, HEALTH what the instance itself says.
PROBLEMS is how many things are wrong by the overview of the instance, and how many
to be looked at; they stand below the table.
The exit code is 0 where each instance has answered, whatever its health, and 1
where one has not or there is none, and 2 where the registry cannot be asked.
` + identityHelp,
		Example: `  easyops status echo.v1.EchoService
  easyops status
  easyops status --json 127.0.0.1:4100
  easyops status --ca ca.pem --token-file alice.token echo.v1.EchoService`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && r.service != "" {
				args = []string{r.service}
			}
			if len(args) > 1 {
				return usagef("%w", oneArgument("service or instance")(c, args))
			}
			return r.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r.lookup.flags(c.Flags())
	r.statusClient.flags(c)
	c.Flags().BoolVar(&r.json, "json", false, "print JSON")
	return c
}

func (r *statusRequest) run(ctx context.Context, out, warn io.Writer, args []string) (err error) {
	if err := r.statusClient.open(warn); err != nil {
		return err
	}
	if err := r.lookup.open(warn); err != nil {
		return err
	}
	defer r.lookup.close(&err)
	servers, err := r.named(ctx, args)
	switch {
	case err != nil && len(servers) == 0:
		return err
	case err != nil: // the server can be asked all the same
		fmt.Fprintf(warn, "easyops: warning: %v\n", err)
	}
	reports := make([]report, len(servers))
	each(len(servers), func(n int) {
		ctx, cancel := r.within(ctx)
		defer cancel()
		reports[n] = r.report(ctx, servers[n])
	})
	if err := r.print(out, reports); err != nil {
		return err
	}
	return faults(reports)
}

// named are the servers that an argument names, without one those of the registry.
func (r *statusRequest) named(ctx context.Context, args []string) (all []*server, err error) {
	if len(args) > 0 {
		return r.find(ctx, args[0])
	}
	list, err := r.all(ctx)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("nothing is listed in the %s", r.reg)
	}
	for _, s := range r.serversOf(list) {
		all = addServer(all, s)
	}
	return all, err
}

// report is what there is to tell of an instance: the JSON of easyops status.
type report struct {
	Instance string              `json:"instance"` // its ID, "" where neither the registry nor it says so
	Addr     string              `json:"addr"`     // of its status API
	Listed   string              `json:"listed"`   // the health in the registry, "" where it is not listed
	Health   *status.HealthData  `json:"health"`   // null where it did not answer
	Info     *status.VersionData `json:"info"`
	Problems []status.Problem    `json:"problems"` // null where they are not known, as of an older server
	Error    string              `json:"error"`    // why something is null
}

func (r *statusRequest) report(ctx context.Context, s *server) report {
	rep := report{Addr: s.addr}
	c := r.connect(s)
	defer c.close()
	var health status.HealthData
	var info status.VersionData
	err := s.hint(c.ask(ctx, http.MethodGet, healthPage, &health, http.StatusServiceUnavailable))
	if err == nil {
		rep.Health = &health
		if err = c.ask(ctx, http.MethodGet, versionPage, &info); err == nil {
			rep.Info = &info
			err = wrongServer(s, info.Instance)
		}
		if err == nil {
			rep.Problems, err = problemsOf(ctx, c)
		}
	}
	entry := s.listing(info.Instance)
	rep.Instance, rep.Listed = cmp.Or(s.id, info.Instance, entry.ID), string(entry.Health)
	if err != nil {
		rep.Error = err.Error()
	}
	return rep
}

// problemsOf are those of the overview, nil of a server that is too old to have one
// or to list them there.
func problemsOf(ctx context.Context, c *conn) ([]status.Problem, error) {
	var page struct {
		Problems []status.Problem `json:"problems"`
	}
	err := c.ask(ctx, http.MethodGet, overviewPage, &page)
	if refused, ok := errors.AsType[refusedError](err); ok && refused.code == http.StatusNotFound {
		return nil, nil
	}
	return page.Problems, err
}

// wrongServer is the error where another server has come to an address that the
// registry still has for one that is gone.
func wrongServer(s *server, id string) error {
	if s.id == "" || s.id == id {
		return nil
	}
	return fmt.Errorf("at %s is instance %s now, and not %s: what the registry says is old", s.addr, printable(id), s.id)
}

func (r *statusRequest) print(w io.Writer, reports []report) error {
	if r.json {
		return printJSON(harmless{w}, struct {
			Version   int      `json:"version"`
			Instances []report `json:"instances"`
		}{1, reports})
	}
	rows := [][]string{{"INSTANCE", "ADDRESS", "LISTED", "HEALTH", "PROBLEMS", "FAILING", "UP", "BUILD", "REVISION", "RUNTIME", "GO"}}
	for _, rep := range reports {
		rows = append(rows, rep.row())
	}
	if err := printTable(w, rows); err != nil {
		return err
	}
	for _, rep := range reports {
		rep.printProblems(w)
	}
	return nil
}

// printProblems prints a line each.
func (rep report) printProblems(w io.Writer) {
	const most = 300
	for i, p := range rep.Problems {
		if i == 0 {
			fmt.Fprintf(w, "\n%s at %s:\n", printable(cut(dash(rep.Instance), widestCell)), rep.Addr)
		}
		level := map[string]string{"bad": "wrong"}[p.Level]
		fmt.Fprintf(w, "  %-7s  %s: %s\n", cmp.Or(level, "look at"), printable(cut(p.What, most)), printable(cut(p.Why, most)))
	}
}

// problems is how many there are, in a cell.
func (rep report) problems() string {
	if rep.Problems == nil {
		return ""
	}
	bad := 0
	for _, p := range rep.Problems {
		if p.Level == "bad" {
			bad++
		}
	}
	var parts []string
	if bad > 0 {
		parts = append(parts, fmt.Sprintf("%d wrong", bad))
	}
	if n := len(rep.Problems) - bad; n > 0 {
		parts = append(parts, fmt.Sprintf("%d to look at", n))
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

func (rep report) row() []string {
	row := []string{rep.Instance, rep.Addr, rep.Listed, "", rep.problems(), "", "", "", "", "", ""}
	if rep.Health == nil && rep.Addr != "" {
		row[3] = "no answer"
	}
	if h := rep.Health; h != nil {
		row[3], row[5] = h.State, failing(h.Checks)
		if h.TakenOut && rep.Listed == "" {
			row[2] = "taken out"
		}
	}
	if v := rep.Info; v != nil {
		up := age(time.Duration(v.UptimeSeconds) * time.Second)
		copy(row[6:], []string{up, v.BuildVersion, revision(v), v.RuntimeVersion, v.GoVersion})
	}
	for i, cell := range row {
		row[i] = dash(cut(cell, widestCell))
	}
	return row
}

// widestCell is how much a table has of what a server says of itself, in bytes.
const widestCell = 64

// cut is the beginning of a text that may be long.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func failing(checks []status.CheckData) string {
	var names []string
	for _, c := range checks {
		if !c.OK {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ",")
}

// revision is short, as people write it.
func revision(v *status.VersionData) string {
	const short = 12
	s := v.Revision[:min(short, len(v.Revision))]
	if v.Modified {
		s += "+changes"
	}
	return s
}

// faults says which instances did not answer, those of one reason together.
func faults(reports []report) error { return faultsAs(reports, someOf) }

// faultsAs does it with a list that names are written as.
func faultsAs(reports []report, list func([]string) string) error {
	var reasons []string
	of := map[string][]string{}
	for _, rep := range reports {
		if rep.Error == "" {
			continue
		}
		if of[rep.Error] == nil {
			reasons = append(reasons, rep.Error)
		}
		of[rep.Error] = append(of[rep.Error], cmp.Or(rep.Addr, rep.Instance))
	}
	var errs []error
	for _, reason := range reasons {
		errs = append(errs, fmt.Errorf("%s: %s", list(of[reason]), reason))
	}
	return errors.Join(errs...)
}
