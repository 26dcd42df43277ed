package status

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
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

// shown is the part of a list that an answer holds.
type shown[T any] struct {
	Rows   []T
	Listed Listed
	Blocks []Block // the form, the table and the links; none for JSON
}

// show finds the part of a list that a request asks for. It changes nothing in
// all. Its error is for the answer.
func (l *listing[T]) show(r *http.Request, all []T) (shown[T], error) {
	q, err := l.parse(r)
	if err != nil {
		return shown[T]{}, err
	}
	rows := l.filter(all, q.filter)
	if c := l.column(q.key()); c != nil {
		rows = slices.Clone(rows)
		slices.SortStableFunc(rows, func(a, b T) int {
			if q.descends() {
				a, b = b, a
			}
			return c.Compare(a, b)
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
		cells = cells[:l.fittingText(cells)]
		s.Rows = s.Rows[:len(cells)]
	}
	s.Blocks = l.blocks(r.URL, q, s, cells)
	return s, nil
}

// listQuery is what the query of a request says about a list.
type listQuery struct {
	filter, sort  string
	limit, offset int
	form          form
}

func (q listQuery) key() string    { return strings.TrimPrefix(q.sort, "-") }
func (q listQuery) descends() bool { return strings.HasPrefix(q.sort, "-") }

func (l *listing[T]) parse(r *http.Request) (listQuery, error) {
	query := r.URL.Query()
	q := listQuery{filter: strings.TrimSpace(query.Get("filter")), sort: cmp.Or(query.Get("sort"), l.Sort)}
	if q.sort != "" && l.column(q.key()) == nil {
		return q, Errorf(http.StatusBadRequest, "sort=%s is unknown: use one of %s, with - before it for the greatest first",
			visible(query.Get("sort")), strings.Join(l.keys(), ", "))
	}
	var err error
	if q.limit, err = number(query, "limit", listDefault, 1, listMost); err != nil {
		return q, err
	}
	if q.offset, err = number(query, "offset", 0, 0, 1<<31-1); err != nil {
		return q, err
	}
	if q.form, err = negotiate(r); err == nil && q.form == formHTML {
		q.limit = min(q.limit, listRows, listCells/max(1, len(l.Columns)))
	}
	return q, err
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

// number is a whole number of the query.
func number(query url.Values, name string, standard, least, most int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, Errorf(http.StatusBadRequest, "%s=%s is no such number: use one from %d to %d", name, visible(text), least, most)
	}
	return n, nil
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

func (l *listing[T]) keys() []string {
	var keys []string
	for _, c := range l.Columns {
		if c.Compare != nil {
			keys = append(keys, c.Key)
		}
	}
	return keys
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

// fittingText is how many rows a table in text has room for: each is as long as
// the heads and the longest cells make it.
func (l *listing[T]) fittingText(rows [][]Cell) int {
	if len(rows) <= listDefault {
		return len(rows)
	}
	widths, beyond := make([]int, len(l.Columns)), 0 // in characters, and bytes that are more than these
	for j, c := range l.Columns {
		widths[j] = utf8.RuneCountInString(c.Name)
	}
	for i, row := range rows {
		size := 0
		for j, c := range row {
			n := utf8.RuneCountInString(c.Text)
			widths[j] = max(widths[j], n)
			beyond += len(c.Text) - n
			size += widths[j] + columnGap
		}
		if size*(i+2)+beyond > listBytes { // the head is a row as well
			return i
		}
	}
	return len(rows)
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

func (l *listing[T]) blocks(u *url.URL, q listQuery, s shown[T], cells [][]Cell) []Block {
	if s.Listed.Total == 0 {
		return []Block{Table{Caption: l.Caption, Empty: l.Empty}}
	}
	return []Block{l.form(u, q), l.table(u, q, s.Listed, cells), l.extent(u, q, s)}
}

func (l *listing[T]) table(u *url.URL, q listQuery, d Listed, cells [][]Cell) Table {
	t := Table{
		Caption: l.Caption, Wide: l.Wide, Wraps: l.Wraps, Rows: cells,
		Empty: fmt.Sprintf("None of %s matches %q.", count(d.Total, l.Noun), d.Filter),
	}
	for _, c := range l.Columns {
		t.Columns = append(t.Columns, c.Name)
		t.Heads = append(t.Heads, l.head(u, q, c))
	}
	if d.Matched > 0 && len(cells) == 0 {
		t.Empty = fmt.Sprintf("There are no more than %s.", count(d.Matched, l.Noun))
	}
	return t
}

// head sorts by a column, or turns the order round where it is that already.
func (l *listing[T]) head(u *url.URL, q listQuery, c column[T]) Head {
	if c.Compare == nil {
		return Head{}
	}
	h, sort := Head{}, c.Key
	switch q.sort {
	case c.Key:
		h.Sorted, sort = "ascending", "-"+c.Key
	case "-" + c.Key:
		h.Sorted = "descending"
	}
	h.Link = l.link(u, "sort", sort, "offset", "")
	return h
}

// link is the same page with another query; an empty value takes a name out.
func (l *listing[T]) link(u *url.URL, pairs ...string) string {
	query := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		if query.Del(pairs[i]); pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	link := url.URL{Path: u.Path, RawQuery: query.Encode(), Fragment: l.ID}
	return link.String()
}

// form filters and sorts. On a phone, where tables have no heads, it is the only
// way to sort.
func (l *listing[T]) form(u *url.URL, q listQuery) Form {
	sort := Input{Name: "sort", Label: "Sort by", Value: q.sort}
	for _, c := range l.Columns {
		if c.Compare != nil {
			sort.Choices = append(sort.Choices, Choice{c.Key, c.Name}, Choice{"-" + c.Key, c.Name + ", greatest first"})
		}
	}
	f := Form{Path: u.Path, Get: true, Label: "Show", Mild: true, Inputs: []Input{{Name: "filter", Label: "Filter", Value: q.filter}, sort}}
	if l.ID != "" {
		f.Path += "#" + l.ID
	}
	for name, values := range u.Query() {
		if name != "filter" && name != "sort" && name != "offset" {
			f.Inputs = append(f.Inputs, Input{Name: name, Value: values[0], Hidden: true})
		}
	}
	slices.SortStableFunc(f.Inputs[2:], func(a, b Input) int { return strings.Compare(a.Name, b.Name) })
	return f
}

// extent says which rows are shown, and leads to the others.
func (l *listing[T]) extent(u *url.URL, q listQuery, s shown[T]) Links {
	d := s.Listed
	links := Links{Text: l.says(d, len(s.Rows))}
	if d.Offset > 0 {
		back := max(0, d.Offset-q.limit)
		links.Links = append(links.Links, Link(l.link(u, "offset", strconv.Itoa(back)), "Previous"))
	}
	if end := d.Offset + len(s.Rows); end < d.Matched {
		links.Links = append(links.Links, Link(l.link(u, "offset", strconv.Itoa(end)), "Next"))
	}
	if d.Filter != "" {
		links.Links = append(links.Links, Link(l.link(u, "filter", "", "offset", ""), "All"))
	}
	return links
}

func (l *listing[T]) says(d Listed, rows int) string {
	of := count(d.Matched, l.Noun)
	if d.Filter != "" {
		verb := "match"
		if d.Matched == 1 {
			verb = "matches"
		}
		of += fmt.Sprintf(" that %s %q, of %s", verb, d.Filter, thousands(d.Total))
	}
	if rows == 0 {
		return ""
	}
	if rows == d.Matched && rows > 1 {
		of = "All " + of
	}
	if rows == d.Matched {
		return of + "."
	}
	return fmt.Sprintf("%s to %s of %s.", thousands(d.Offset+1), thousands(d.Offset+rows), of)
}
