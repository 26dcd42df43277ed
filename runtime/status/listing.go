package status

import (
	"encoding/json"
	"net/http"
	"slices"
	"sort"
	"strings"
)

// How much of a list an answer holds, so that it stays below 1 MB.
const (
	listDefault = 500     // rows, unless the query says otherwise
	listMost    = 10_000  // rows that the query can ask for
	listRows    = 2_000   // of these in HTML, where a row takes more
	listCells   = 8_000   // and cells there
	listBytes   = 950_000 // of rows in JSON and in text
)

// listing is how a long list is shown: the query filters and sorts it, and says
// which part of it the answer holds.
type listing[T any] struct {
	Noun    string // what the rows are, such as "callers"
	Columns []column[T]
	Sort    string // without a query, as in [Listed]
	Caption string
	Wide    int    // as in [Table]
	Wraps   bool   // as in [Table]
	Empty   string // in place of a list without rows
	ID      string // of the section that the list is in, where the page has more
}

// column is a column of a list.
type column[T any] struct {
	Key     string // in the query
	Name    string // in the head
	Cell    func(T) Cell
	Compare func(a, b T) int // nil for one that cannot be sorted by
}

func (l *listing[T]) list() *list {
	of := &list{Noun: l.Noun, Sort: l.Sort, Caption: l.Caption, Empty: l.Empty, ID: l.ID, Wide: l.Wide, Wraps: l.Wraps}
	for _, c := range l.Columns {
		of.Columns = append(of.Columns, heading{c.Key, c.Name, c.Compare != nil})
	}
	return of
}

// shown is the part of a list that an answer holds.
type shown[T any] struct {
	Rows   []T
	Listed Listed
	Blocks []Block // the form, the table and the links; none for JSON
}

// show finds the part of a list that a request asks for. It changes nothing in
// all. Its error is for the answer.
func (l *listing[T]) show(r *http.Request, all []T) (shown[T], error) {
	of := l.list()
	q, err := of.parse(r)
	if err != nil {
		return shown[T]{}, err
	}
	rows := l.filter(all, q.filter)
	if c := l.column(q.key()); c != nil {
		rows = slices.Clone(rows)
		// Package slices has up to 20 KB of code for each type that is not a pointer, 225 KB of
		// a server in all, so here and elsewhere in what servers link such lists are sorted by
		// package sort, which has it once.
		sort.SliceStable(rows, func(i, j int) bool {
			if q.descends() {
				i, j = j, i
			}
			return c.Compare(rows[i], rows[j]) < 0
		})
	}
	s := shown[T]{Listed: Listed{Total: len(all), Matched: len(rows), Offset: min(q.offset, len(rows)), Sort: q.sort, Filter: q.filter}}
	s.Rows = rows[s.Listed.Offset:min(s.Listed.Offset+q.limit, len(rows))]
	if q.form == formJSON {
		s.Rows = s.Rows[:fitting(s.Rows)]
		return s, nil
	}
	cells := l.cells(s.Rows)
	if q.form == formText {
		cells = cells[:of.fittingText(cells)]
		s.Rows = s.Rows[:len(cells)]
	}
	s.Blocks = of.blocks(r.URL, q, s.Listed, cells)
	return s, nil
}

// fitting is how many rows an answer in JSON has room for. Only more than the
// usual number can be too many.
func fitting[T any](rows []T) int {
	if len(rows) <= listDefault {
		return len(rows)
	}
	size := 0
	for i, row := range rows {
		b, err := json.MarshalIndent(row, "        ", "  ")
		if size += len(b) + 10; err != nil || size > listBytes {
			return i
		}
	}
	return len(rows)
}

// column is the column of a key that can be sorted by, or nil.
func (l *listing[T]) column(key string) *column[T] {
	for i, c := range l.Columns {
		if c.Key == key && c.Compare != nil {
			return &l.Columns[i]
		}
	}
	return nil
}

// filter keeps the rows one of whose cells has the text in it, in upper or
// lower case.
func (l *listing[T]) filter(all []T, text string) []T {
	if text == "" {
		return all
	}
	text = strings.ToLower(text)
	var rows []T
	for _, row := range all {
		if slices.ContainsFunc(l.Columns, func(c column[T]) bool { return strings.Contains(strings.ToLower(c.Cell(row).Text), text) }) {
			rows = append(rows, row)
		}
	}
	return rows
}

// cells are what a table shows of the rows.
func (l *listing[T]) cells(rows []T) [][]Cell {
	all := make([][]Cell, len(rows))
	for i, row := range rows {
		all[i] = make([]Cell, len(l.Columns))
		for j, c := range l.Columns {
			all[i][j] = c.Cell(row)
		}
	}
	return all
}
