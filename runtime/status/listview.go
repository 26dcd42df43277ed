package status

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// list is a listing without its rows. What is not of these is its own, so that there is
// one code for it and not one for each type of rows.
type list struct {
	Noun, Sort, Caption, Empty, ID string

	Wide    int
	Wraps   bool
	Columns []heading
}

type heading struct {
	Key, Name string
	Sorts     bool
}

// listQuery is what the query of a request says about a list.
type listQuery struct {
	filter, sort  string
	limit, offset int
	form          form
}

func (q listQuery) key() string    { return strings.TrimPrefix(q.sort, "-") }
func (q listQuery) descends() bool { return strings.HasPrefix(q.sort, "-") }

func (l *list) parse(r *http.Request) (listQuery, error) {
	query := r.URL.Query()
	q := listQuery{filter: strings.TrimSpace(query.Get("filter")), sort: cmp.Or(query.Get("sort"), l.Sort)}
	if q.sort != "" && !slices.Contains(l.keys(), q.key()) {
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

func (l *list) keys() []string {
	var keys []string
	for _, c := range l.Columns {
		if c.Sorts {
			keys = append(keys, c.Key)
		}
	}
	return keys
}

// fittingText is how many rows a table in text has room for: each is as long as
// the heads and the longest cells make it.
func (l *list) fittingText(rows [][]Cell) int {
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

func (l *list) blocks(u *url.URL, q listQuery, d Listed, cells [][]Cell) []Block {
	if d.Total == 0 {
		return []Block{Table{Caption: l.Caption, Empty: l.Empty}}
	}
	return []Block{l.form(u, q), l.table(u, q, d, cells), l.extent(u, q, d, len(cells))}
}

func (l *list) table(u *url.URL, q listQuery, d Listed, cells [][]Cell) Table {
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
func (l *list) head(u *url.URL, q listQuery, c heading) Head {
	if !c.Sorts {
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
func (l *list) link(u *url.URL, pairs ...string) string {
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
func (l *list) form(u *url.URL, q listQuery) Form {
	sort := Input{Name: "sort", Label: "Sort by", Value: q.sort}
	for _, c := range l.Columns {
		if c.Sorts {
			sort.Choices = append(sort.Choices, Choice{c.Key, c.Name}, Choice{"-" + c.Key, c.Name + ", greatest first"})
		}
	}
	f := Form{Path: u.Path, Get: true, Label: "Show", Mild: true, Inputs: []Input{{Name: "filter", Label: "Filter", Value: q.filter}, sort}}
	if l.ID != "" {
		f.Path += "#" + l.ID
	}
	query := u.Query()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if name != "filter" && name != "sort" && name != "offset" {
			f.Inputs = append(f.Inputs, Input{Name: name, Value: query[name][0], Hidden: true})
		}
	}
	return f
}

// extent says which rows are shown, and leads to the others.
func (l *list) extent(u *url.URL, q listQuery, d Listed, rows int) Links {
	links := Links{Text: l.says(d, rows)}
	if d.Offset > 0 {
		back := max(0, d.Offset-q.limit)
		links.Links = append(links.Links, Link(l.link(u, "offset", strconv.Itoa(back)), "Previous"))
	}
	if end := d.Offset + rows; end < d.Matched {
		links.Links = append(links.Links, Link(l.link(u, "offset", strconv.Itoa(end)), "Next"))
	}
	if d.Filter != "" {
		links.Links = append(links.Links, Link(l.link(u, "filter", "", "offset", ""), "All"))
	}
	return links
}

func (l *list) says(d Listed, rows int) string {
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
