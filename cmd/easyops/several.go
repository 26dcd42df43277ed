package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-easyops/easyops/runtime/status"
)

// several is what commands have in common that ask a page of several instances,
// or change something there.
type several struct {
	lookup
	statusClient
	json bool
}

const severalHelp = `
A TARGET is a service, which stands for all of its instances, the ID of an instance
or the beginning of it, or its address, host:port. --service NAME, alone, stands for
the service, too.
`

// turnHelp is for commands that change something.
const turnHelp = `
The exit code is 0 where all was done, 1 where something failed, which is named,
and 2 where nothing was tried, as the command line is wrong, the registry cannot
be asked, or nobody is there to answer a question and --yes is missing.
`

func (m *several) flags(c *cobra.Command) {
	m.findFlags(c)
	c.Flags().BoolVar(&m.json, "json", false, "print JSON")
}

// findFlags are those that say which instances are asked, and by whom.
func (m *several) findFlags(c *cobra.Command) {
	m.lookup.flags(c.Flags())
	m.statusClient.flags(c)
	c.Flags().Lookup("service").Usage = "`name` of the service whose instances are meant, and that their certificate must name"
	c.ValidArgsFunction = cobra.NoFileCompletions
}

// split tells the targets among the arguments from the names behind them. With
// --service the service is the target, unless an address is named.
func (m *several) split(args []string) (targets, names []string) {
	if len(args) == 0 || m.service != "" && !isAddr(args[0]) {
		return nil, args
	}
	return args[:1], args[1:]
}

// wantTarget is the error of a command line that names nobody.
func (m *several) wantTarget(c *cobra.Command, targets []string) error {
	if len(targets) > 0 || m.service != "" {
		return nil
	}
	return usagef("%s: name a service or an instance, as in: %s", words(c), firstExample(c))
}

// with opens what is needed, finds the servers that are named, and has them used.
func (m *several) with(c *cobra.Command, targets []string, use func([]*server) error) (err error) {
	warn := c.ErrOrStderr()
	if err := m.wantTarget(c, targets); err != nil {
		return err
	}
	if err := m.statusClient.open(warn); err != nil {
		return err
	}
	if err := m.lookup.open(warn); err != nil {
		return err
	}
	defer m.lookup.close(&err)
	all, err := m.findAll(c.Context(), warn, targets)
	if err != nil {
		return err
	}
	return use(all)
}

// findAll returns the servers that targets name, each once.
func (m *several) findAll(ctx context.Context, warn io.Writer, targets []string) (all []*server, err error) {
	if len(targets) == 0 {
		list, err := m.instances(ctx, m.service)
		if err == nil && len(list) == 0 {
			err = m.noInstance(ctx, m.service)
		}
		return m.serversOf(list), err
	}
	for _, target := range targets {
		found, err := m.find(ctx, target)
		switch {
		case err != nil && len(found) == 0:
			return nil, err
		case err != nil: // the server can be asked all the same
			fmt.Fprintf(warn, "easyops: warning: %v\n", err)
		}
		for _, s := range found {
			all = addServer(all, s)
		}
	}
	return all, nil
}

// addServer adds one that may be there already, for another of its services. One
// that is named by its address stays one of its own: it is proved otherwise.
func addServer(all []*server, s *server) []*server {
	for _, other := range all {
		if other.addr == s.addr && other.id == s.id && other.host == s.host {
			other.services = append(other.services, s.services...)
			return all
		}
	}
	return append(all, s)
}

// identify makes sure that the server is there, and the right one, and learns
// its ID.
func (m *several) identify(ctx context.Context, c *conn, s *server) error {
	ctx, cancel := m.within(ctx)
	defer cancel()
	var is status.VersionData
	if err := s.hint(c.ask(ctx, http.MethodGet, versionPage, &is)); err != nil {
		return err
	}
	if err := wrongServer(s, is.Instance); err != nil {
		return err
	}
	s.id = printable(cut(is.Instance, widestCell))
	return nil
}

// answer is what an instance says: the JSON of these commands.
type answer[T any] struct {
	Instance string `json:"instance"` // its ID, "" where it is not known
	Addr     string `json:"addr"`     // of its status API
	Page     *T     `json:"page"`     // the JSON of the page, null where there is none
	Error    string `json:"error"`    // why
}

// answersOf asks each server, which makes sure before that it is the right one.
func answersOf[T any](ctx context.Context, m *several, all []*server, ask func(context.Context, *conn, *T) error) []answer[T] {
	answers := make([]answer[T], len(all))
	each(len(all), func(n int) { answers[n] = answerOf(ctx, m, all[n], ask) })
	return answers
}

func answerOf[T any](ctx context.Context, m *several, s *server, ask func(context.Context, *conn, *T) error) answer[T] {
	c := m.connect(s)
	defer c.close()
	a := answer[T]{Addr: s.addr}
	err := m.identify(ctx, c, s)
	if err == nil {
		ctx, cancel := m.within(ctx)
		defer cancel()
		page := new(T)
		if err = ask(ctx, c, page); err == nil {
			a.Page = page
		}
	}
	if a.Instance = s.id; err != nil {
		a.Error = err.Error()
	}
	return a
}

// get is an ask of [answersOf] for a page.
func get[T any](path string) func(context.Context, *conn, *T) error {
	return func(ctx context.Context, c *conn, page *T) error { return c.ask(ctx, http.MethodGet, path, page) }
}

// inTurn has the servers changed one after the other. Where stops is set, one that
// fails keeps those behind it from being tried: the change may be why it failed.
func inTurn[T any](ctx context.Context, m *several, all []*server, stops bool, change func(context.Context, *conn, *T) error) []answer[T] {
	var answers []answer[T]
	failed := false
	for _, s := range all {
		switch {
		case ctx.Err() != nil:
			answers = append(answers, answer[T]{Instance: s.id, Addr: s.addr, Error: "not tried: " + context.Cause(ctx).Error()})
		case failed && stops:
			answers = append(answers, answer[T]{Instance: s.id, Addr: s.addr, Error: "not tried, as one before it failed"})
		default:
			a := answerOf(ctx, m, s, change)
			failed = failed || a.Error != ""
			answers = append(answers, a)
		}
	}
	return answers
}

// failures names all instances that did not answer, those of one reason together.
func failures[T any](answers []answer[T]) error {
	var reports []report
	for _, a := range answers {
		reports = append(reports, report{Instance: a.Instance, Addr: cmp.Or(a.named(), "an instance without an address"), Error: a.Error})
	}
	return faultsAs(reports, func(names []string) string { return strings.Join(names, ", ") })
}

func (a answer[T]) named() string {
	if a.Instance == "" || a.Addr == "" {
		return a.Instance + a.Addr
	}
	return a.Instance + " at " + a.Addr
}

// show prints JSON or a table of the answers there are, and returns what failed.
func show[T any](w io.Writer, m *several, answers []answer[T], table func(io.Writer, []answer[T]) error) error {
	slices.SortStableFunc(answers, func(a, b answer[T]) int { return strings.Compare(a.Instance, b.Instance) })
	var err error
	if m.json {
		err = printJSON(harmless{w}, struct {
			Version   int         `json:"version"`
			Instances []answer[T] `json:"instances"`
		}{1, answers})
	} else if slices.ContainsFunc(answers, func(a answer[T]) bool { return a.Page != nil }) {
		err = table(w, answers)
	}
	return cmp.Or(err, failures(answers))
}

// columns are those of a table that names the instance of each row only where
// there are several.
type columns struct {
	rows    [][]string
	several bool
}

func newColumns[T any](answers []answer[T], heads ...string) *columns {
	t := &columns{several: len(answers) > 1}
	t.add("INSTANCE", heads...)
	return t
}

func (t *columns) add(instance string, cells ...string) {
	row := make([]string, 0, 1+len(cells))
	if t.several {
		row = append(row, dash(instance))
	}
	for _, cell := range cells {
		row = append(row, dash(cut(cell, widestCell)))
	}
	t.rows = append(t.rows, row)
}

// print prints the table, or in place of one without rows what it would hold.
func (t *columns) print(w io.Writer, none string) error {
	if len(t.rows) == 1 {
		_, err := fmt.Fprintln(w, none)
		return err
	}
	return printTable(w, t.rows)
}

// shownOf says on standard error where a page holds a part of a list only.
func shownOf(warn io.Writer, who string, rows int, l status.Listed, more string) {
	if rows < l.Matched {
		fmt.Fprintf(warn, "easyops: %s: %d of %d are shown: %s\n", who, rows, l.Matched, more)
	}
}
