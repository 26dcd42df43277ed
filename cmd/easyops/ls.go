package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/registry"
)

// lsRequest is what a command line of easyops ls asks for.
type lsRequest struct {
	lookup
	service     string // "" for all
	json, watch bool
}

func lsCommand() *cobra.Command {
	var r lsRequest
	c := &cobra.Command{
		Use:   "ls [SERVICE]",
		Short: "List the instances in the registry.",
		Long: `
Lists the instances of a service, or of all services, as the registry has them:
whether they are ready is what they say of themselves.

With --watch it goes on and prints what changes, a line each: + is an instance
that was added (= one that was there at first), ~ one that changed, - one that is
gone, ! a registry that cannot be asked, so that the list may be old.

The exit code is 0 where the question was answered, 1 where the SERVICE has no
instance, and 2 where the registry cannot be asked.`,
		Example: `  easyops ls
  easyops ls echo.v1.EchoService
  easyops ls --registry etcd://h1:2379,h2:2379 --json
  easyops ls --watch echo.v1.EchoService`,
		Args: atMostOne("service"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				r.service = args[0]
			}
			return r.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := c.Flags()
	r.flags(f)
	f.BoolVar(&r.json, "json", false, "print JSON; with --watch an object a line")
	f.BoolVar(&r.watch, "watch", false, "go on, and print changes as they come")
	return c
}

// atMostOne wants none or one.
func atMostOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("%s: name one %s, or none for all", words(c), what)
		}
		return nil
	}
}

func (r *lsRequest) run(ctx context.Context, out, warn io.Writer) (err error) {
	if err := checkService(r.service); r.service != "" && err != nil {
		return err
	}
	if err := r.open(warn); err != nil {
		return err
	}
	defer r.close(&err)
	if err := r.somewhere(); err != nil {
		return err
	}
	if r.watch {
		r.warned.release()
		return r.follow(ctx, out, warn)
	}
	list, err := r.list(ctx)
	if err != nil {
		return err
	}
	none := len(list) == 0 && r.service != ""
	if r.json || !none {
		err = r.print(out, list)
	}
	if err == nil && none {
		err = r.noInstance(ctx, r.service)
	}
	return err
}

func (r *lsRequest) list(ctx context.Context) ([]registry.Instance, error) {
	if r.service == "" {
		return r.all(ctx)
	}
	return r.instances(ctx, r.service)
}

// checkService finds what cannot be the name of a service.
func checkService(name string) error {
	if registry.ValidService(name) {
		return nil
	}
	return usagef("%q is no name of a service: write it as in the .proto file, such as echo.v1.EchoService", name)
}

// listDocument is the JSON of easyops ls.
type listDocument struct {
	Version   int                 `json:"version"`
	Registry  string              `json:"registry"`
	Instances []registry.Instance `json:"instances"`
}

func (r *lsRequest) print(w io.Writer, list []registry.Instance) error {
	if r.json {
		return printJSON(harmless{w}, listDocument{1, r.reg.String(), append([]registry.Instance{}, list...)})
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "There are no instances in the %s.\n", r.reg)
		return err
	}
	return printTable(w, instanceTable(list, time.Now()))
}

func instanceTable(list []registry.Instance, now time.Time) [][]string {
	rows := [][]string{{"SERVICE", "INSTANCE", "ADDRESS", "HEALTH", "UP", "VERSION", "TAGS", "OWNER", "KINDS"}}
	for _, i := range list {
		rows = append(rows, []string{
			i.Service, i.ID, i.Addr, string(i.Health), age(now.Sub(i.Started)),
			dash(i.Version), dash(tagText(i.Tags)), dash(i.Owner), kindText(i.Kinds),
		})
	}
	return rows
}

// tagText writes the zone first, because it is what people look for.
func tagText(tags map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, k+"="+tags[k])
	}
	if i := slices.IndexFunc(all, func(s string) bool { return strings.HasPrefix(s, "zone=") }); i > 0 {
		zone := all[i]
		all = slices.Insert(slices.Delete(all, i, i+1), 0, zone)
	}
	return strings.Join(all, ",")
}

func kindText(kinds []registry.Kind) string {
	var all []string
	for _, k := range kinds {
		all = append(all, string(k))
	}
	return strings.Join(all, ",")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// age writes a time since with its two largest units.
func age(d time.Duration) string {
	unit := func(of time.Duration) time.Duration { return d / of }
	switch {
	case d < 0: // the clocks differ
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", unit(time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", unit(time.Minute), unit(time.Second)%60)
	case d < day:
		return fmt.Sprintf("%dh%dm", unit(time.Hour), unit(time.Minute)%60)
	}
	return fmt.Sprintf("%dd%dh", unit(day), unit(time.Hour)%24)
}
