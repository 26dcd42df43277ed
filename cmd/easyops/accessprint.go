package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// printRules prints who may call each method.
func printRules(w io.Writer, format string, rules []rule) error {
	if format == "json" {
		if rules == nil {
			rules = []rule{}
		}
		return printJSON(w, document{1, rules})
	}
	if len(rules) == 0 {
		_, err := fmt.Fprintln(w, "There are no methods.")
		return err
	}
	rows := [][]string{{"METHOD", "WHO MAY CALL", "FROM", "TIMEOUT"}}
	for _, r := range rules {
		rows = append(rows, []string{r.name(), r.access.String(), r.From, r.timeout()})
	}
	return printTable(w, rows)
}

// printChanges prints what has changed.
func printChanges(w io.Writer, format string, changes []change) error {
	if format == "json" {
		return printJSON(w, struct {
			Version int      `json:"version"`
			Changes []change `json:"changes"`
		}{1, changes})
	}
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "No access has changed.")
		return err
	}
	rows := [][]string{{"", "CHANGE", "METHOD", "BEFORE", "NOW", "NOW LETS IN"}}
	for _, c := range changes {
		mark := ""
		if c.Widened {
			mark = "!"
		}
		rows = append(rows, []string{mark, c.Change, c.Service + "/" + c.Method, c.Before.who(), c.After.who(), c.letsIn()})
	}
	return printTable(w, rows)
}

// who is for people; nil is a method that is not there.
func (r *rule) who() string {
	if r == nil {
		return "-"
	}
	return r.access.String()
}

// maxLetsIn is how many kinds of caller a table names.
const maxLetsIn = 3

func (c change) letsIn() string {
	names := c.LetsIn
	more := ""
	if n := len(names) - maxLetsIn; n > 0 {
		names, more = names[:maxLetsIn], fmt.Sprintf("; and %d more", n)
	}
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, "; ") + more
}

func printTable(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = printable(cell)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// printable keeps names of groups and services from being more than text.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
