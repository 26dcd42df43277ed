package status

import (
	"cmp"
	"errors"
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// row is what the lists of these tests consist of.
type row struct {
	name  string
	calls int
}

var rowList = listing[row]{
	Noun: "rows", Sort: "-calls", Empty: "There are no rows.", ID: "list",
	Columns: []column[row]{
		{"name", "Name", func(r row) Cell { return Name(r.name) }, func(a, b row) int { return strings.Compare(a.name, b.name) }},
		{"calls", "Calls", func(r row) Cell { return Str(strconv.Itoa(r.calls)) }, func(a, b row) int { return cmp.Compare(a.calls, b.calls) }},
		{"note", "Note", func(row) Cell { return Str("same") }, nil},
	},
}

func rows(n int) []row {
	all := make([]row, n)
	for i := range all {
		all[i] = row{fmt.Sprintf("row-%05d", i), i * 7 % n}
	}
	return all
}

func showRows(t *testing.T, query string, all []row) (shown[row], error) {
	t.Helper()
	return rowList.show(httptest.NewRequest("GET", "/internal/list"+query, nil), all)
}

func TestListingShowsWhatTheQueryAsksFor(t *testing.T) {
	for _, c := range []struct {
		query                string
		first, last          string
		count, matched, from int
		sort                 string
	}{
		{"", "row-03527", "", 500, 12345, 0, "-calls"},
		{"?sort=name", "row-00000", "row-00499", 500, 12345, 0, "name"},
		{"?sort=-name&limit=2", "row-12344", "row-12343", 2, 12345, 0, "-name"},
		{"?sort=name&limit=10&offset=12340", "row-12340", "row-12344", 5, 12345, 12340, "name"},
		{"?sort=name&offset=99999", "", "", 0, 12345, 12345, "name"},
		{"?sort=name&filter=ROW-1234", "row-12340", "row-12344", 5, 5, 0, "name"},
		{"?sort=name&filter=%20same%20&limit=1", "row-00000", "row-00000", 1, 12345, 0, "name"},
		{"?filter=nothing", "", "", 0, 0, 0, "-calls"},
		{"?sort=name&limit=10000", "row-00000", "row-09999", 10000, 12345, 0, "name"},
		{"?sort=name&limit=10000&format=html", "row-00000", "row-01999", 2000, 12345, 0, "name"},
	} {
		s, err := showRows(t, c.query, rows(12345))
		if err != nil {
			t.Fatal(c.query, err)
		}
		first, last := "", ""
		if len(s.Rows) > 0 {
			first, last = s.Rows[0].name, s.Rows[len(s.Rows)-1].name
		}
		d := s.Listed
		if first != c.first || last != c.last && c.sort == "name" || len(s.Rows) != c.count || d.Matched != c.matched || d.Total != 12345 || d.Offset != c.from || d.Sort != c.sort {
			t.Errorf("%s: %d rows from %s to %s, %+v", c.query, len(s.Rows), first, last, d)
		}
	}
}

func TestListingSaysWhatIsWrongWithTheQuery(t *testing.T) {
	for query, want := range map[string]string{
		"?sort=size":    "sort=size is unknown: use one of name, calls,",
		"?sort=-":       "sort=- is unknown",
		"?sort=note":    "sort=note is unknown",
		"?limit=0":      "limit=0 is no such number: use one from 1 to 10000",
		"?limit=10001":  "limit=10001",
		"?offset=-1":    "offset=-1",
		"?offset=three": "offset=three",
	} {
		_, err := showRows(t, query, rows(3))
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != 400 || !strings.Contains(e.Text, want) {
			t.Errorf("%s: %v, want a 400 with %q", query, err, want)
		}
	}
}

// TestListingChangesNothing shows that the sorting is of a copy: others read the
// same rows.
func TestListingChangesNothing(t *testing.T) {
	all := rows(100)
	if _, err := showRows(t, "?sort=-name", all); err != nil || all[0].name != "row-00000" {
		t.Errorf("the first row is %s, %v", all[0].name, err)
	}
}

func TestListingLeadsToTheRest(t *testing.T) {
	f := newFixture(t)
	all := rows(1234)
	err := f.pages.Handle(Page{
		Path: "/internal/list", Title: "List", Help: "Lists rows.", Access: Operator,
		Get: func(r *Request) (View, error) {
			s, err := rowList.show(r.Request, all)
			return View{Data: s.Listed, Body: []Block{Section{ID: "list", Title: "Rows", Body: s.Blocks}}}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	html := func(query string) string {
		t.Helper()
		a := f.asOperator("GET", "/internal/list"+query, "Accept", "text/html")
		a.want(t, 200)
		checkHTML(t, query, a.body)
		return a.body
	}
	for query, wants := range map[string][]string{
		"": {
			"1 to 500 of 1,234 rows.", `href="/internal/list?offset=500#list"`, `aria-sort="descending"><a href="/internal/list?sort=calls#list"`,
			`<a href="/internal/list?sort=name#list">Name</a>`, `<option value="-calls" selected>`, "Note</th>",
		},
		"?sort=name&limit=100&offset=200": {
			"201 to 300 of 1,234 rows.", "offset=100&amp;sort=name", "offset=300&amp;sort=name", `aria-sort="ascending"`,
			`<input type="hidden" name="limit" value="100">`,
		},
		"?filter=%3Cnot%3E":         {"None of 1,234 rows matches &#34;&lt;not&gt;&#34;.", "<bdi>All</bdi></a>"},
		"?filter=row-0000":          {"All 10 rows that match", `value="row-0000"`},
		"?offset=5000":              {"There are no more than 1,234 rows.", "<bdi>Previous</bdi></a>"},
		"?format=html&sort=name":    {`<input type="hidden" name="format" value="html">`, "format=html&amp;sort=-name"},
		"?limit=10000&sort=name":    {"All 1,234 rows."},
		"?filter=row-00007":         {"<span>1 row that matches"},
		"?sort=name&limit=1&extra=": {"offset=1"},
	} {
		body := html(query)
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s: %q is missing in:\n%.3000s", query, want, body)
			}
		}
	}
	f.asOperator("GET", "/internal/list?limit=2&sort=name").want(t, 200,
		"NAME       CALLS  NOTE\nrow-00000  0      same\nrow-00001  7      same\n1 to 2 of 1,234 rows. Next: /internal/list?limit=2&offset=2&sort=name#list\n")
	f.asOperator("GET", "/internal/list?sort=x", "Accept", "application/json").want(t, 400, `"error": "sort=x is unknown: use one of name, calls`)
	all = nil
	f.asOperator("GET", "/internal/list").want(t, 200, "There are no rows.")
}

// TestListingStaysSmall holds the page of the longest list with most columns
// against the bound of all pages.
func TestListingStaysSmall(t *testing.T) {
	wide := listing[row]{Noun: "rows"}
	for i := range 14 {
		wide.Columns = append(wide.Columns, column[row]{fmt.Sprint(i), fmt.Sprint("Column ", i), func(r row) Cell { return Name(r.name) }, nil})
	}
	f := newFixture(t)
	err := f.pages.Handle(Page{
		Path: "/internal/list", Title: "List", Help: "Lists rows.", Access: Operator,
		Get: func(r *Request) (View, error) {
			s, err := wide.show(r.Request, rows(listMost))
			return View{Data: s.Listed, Body: s.Blocks}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{"text/html", "application/json", "text/plain"} {
		a := f.asOperator("GET", "/internal/list?limit=10000", "Accept", accept)
		a.want(t, 200)
		if n := len(a.body); n > 1_000_000 {
			t.Errorf("%s has %d bytes", accept, n)
		}
	}
	f.asOperator("GET", "/internal/list?limit=10000").want(t, 200, " of 10,000 rows. Next: /internal/list?limit=10000&offset=")
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1: "-1", -123: "-123", -1234: "-1,234"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}
