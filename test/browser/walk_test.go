//go:build real

package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/go-easyops/easyops/test/access/routes"
)

//go:embed inspect.js
var inspect string

// seen is what inspect.js returns.
type seen struct {
	Faults, Links []string
	Texts         int
	Least         float64 // contrast
	Live          bool
	Text          string
	Height        int
}

// looks are all in which pages are walked.
func looks() (all []Look) {
	for _, dark := range []bool{false, true} {
		for _, size := range [][2]int64{{PhoneWidth, PhoneHeight}, {DesktopWidth, DesktopHeight}} {
			for _, noScript := range []bool{false, true} {
				all = append(all, Look{Dark: dark, Width: size[0], Height: size[1], NoScript: noScript})
			}
		}
	}
	return all
}

// open starts a browser with one tab.
func open(t *testing.T) *Tab {
	t.Helper()
	ctx, stop, err := New(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	tab, shut, err := NewTab(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shut)
	return tab
}

// shown are the pages for people.
func shown(t *testing.T, s *site) (all []routes.Route) {
	t.Helper()
	found, err := routes.Of(s.get)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range found {
		if r.Shown {
			all = append(all, r)
		}
	}
	if len(all) < 12 {
		t.Fatalf("only %d pages: %v", len(all), all)
	}
	return all
}

// TestWalk looks at every page in every way.
func TestWalk(t *testing.T) {
	s := newSite(t)
	tab := open(t)
	loads, least, links := 0, 21.0, map[string]string{}
	for _, look := range looks() {
		t.Run(look.String(), func(t *testing.T) {
			for _, r := range shown(t, s) {
				got := s.visit(t, tab, r, look)
				loads++
				least = min(least, got.Least)
				for _, l := range got.Links {
					links[l] = r.Path
				}
			}
		})
	}
	n := s.follow(t, links)
	t.Logf("%d pages loaded, %d links followed, the least contrast is %.2f", loads, n, least)
}

// visit opens a page and looks at it.
func (s *site) visit(t *testing.T, tab *Tab, r routes.Route, look Look) (got seen) {
	t.Helper()
	want := int64(http.StatusOK)
	if !r.Answers(http.MethodGet) {
		want = http.StatusMethodNotAllowed // with buttons to post
	}
	status, err := tab.Open(s.base+r.Path, look)
	if err != nil || status != want {
		t.Fatalf("%s: %d %v, want %d", r.Path, status, err, want)
	}
	if got, err = chromedp.Run(tab, chromedp.Evaluate[seen](inspect)); err != nil {
		t.Fatalf("%s: %v", r.Path, err)
	}
	for _, f := range got.Faults {
		t.Errorf("%s: %s", r.Path, f)
	}
	for _, c := range tab.Complaints() {
		if want == http.StatusOK || !strings.Contains(c, "405") { // that it says of its own
			t.Errorf("%s: the browser says: %s", r.Path, c)
		}
	}
	if got.Texts < 5 {
		t.Errorf("%s: an empty page: %q", r.Path, got.Text)
	}
	return got
}

// follow follows each link once. What it has after a # is in that page.
func (s *site) follow(t *testing.T, links map[string]string) (n int) {
	t.Helper()
	for link, from := range links {
		path, fragment, _ := strings.Cut(link, "#")
		if path == "" {
			continue // of the page itself, which is looked at there
		}
		if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "?") {
			t.Errorf("%s links to another site: %s", from, link)
			continue
		}
		if strings.HasPrefix(path, "?") {
			path = from + path
		}
		if slices.Contains(routes.Slow, path) {
			path += "?seconds=1"
		}
		code, body, err := s.get(path, "text/html,*/*;q=0.1")
		n++
		form := code == http.StatusMethodNotAllowed && strings.Contains(body, `<form method="post"`)
		off := strings.HasPrefix(path, "/internal/debug/heapdump") && code == http.StatusForbidden
		if err != nil || code != http.StatusOK && !form && !off {
			t.Errorf("%s links to %s: %d %v", from, link, code, err)
		}
		if fragment != "" && !strings.Contains(body, `id="`+fragment+`"`) {
			t.Errorf("%s links to %s, which has no such part", from, link)
		}
	}
	return n
}

// TestControl: the inspection finds what is wrong.
func TestControl(t *testing.T) {
	tab := open(t)
	srv := plantedPage(t)
	if _, err := tab.Open(srv, Look{Width: PhoneWidth, Height: PhoneHeight}); err != nil {
		t.Fatal(err)
	}
	got, err := chromedp.Run(tab, chromedp.Evaluate[seen](inspect))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(got.Faults, "\n")
	for _, want := range []string{
		"no language", "no title", "wide and has", "an id twice", "a heading of level 3 after", "not one h1", "not one main", "a field without a label",
		"a control without words", "a picture without a text", "a drawing without a text", "a table without heads", "a contrast of", "a link to nowhere",
		"an order of its own", "a style or script inside",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not found in\n%s", want, all)
		}
	}
	if said := fmt.Sprint(tab.Complaints()); !strings.Contains(said, "planted") || !strings.Contains(said, "Content Security Policy") {
		t.Errorf("the browser says only %s", said)
	}
}

// TestKeyboard: Tab reaches what the page offers, the link that skips the head
// first, and what has the focus can be seen.
func TestKeyboard(t *testing.T) {
	s, tab := newSite(t), open(t)
	for _, r := range shown(t, s) {
		s.visit(t, tab, r, Look{Width: DesktopWidth, Height: DesktopHeight})
		var order []focus
		for range 12 {
			if err := chromedp.Do(tab, chromedp.KeyEvent(kb.Tab)); err != nil {
				t.Fatal(err)
			}
			f, err := chromedp.Run(tab, chromedp.Evaluate[focus](focused))
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, f)
		}
		if !strings.Contains(order[0].Text, "Skip") {
			t.Errorf("%s: the first Tab reaches %+v", r.Path, order[0])
		}
		nav := 0
		for _, f := range order {
			if f.Nav {
				nav++
			}
			if f.Text != "" && !f.Seen {
				t.Errorf("%s: that %q has the focus cannot be seen", r.Path, f.Text)
			}
		}
		if nav < 3 {
			t.Errorf("%s: Tab reaches %d links of the head: %+v", r.Path, nav, order)
		}
	}
}

type focus struct {
	Text      string
	Nav, Seen bool
}

const focused = `(() => {
  const e = document.activeElement, s = getComputedStyle(e);
  return {text: e === document.body ? '' : (e.textContent || e.getAttribute('aria-label') || e.name || e.tagName).trim().slice(0, 40),
    nav: !!e.closest('header'), seen: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== 'none'};
})()`

// TestLive: the figures of pages that say so change by themselves, and the page is
// not loaded again.
func TestLive(t *testing.T) {
	s, tab := newSite(t), open(t)
	live := 0
	for _, r := range shown(t, s) {
		got := s.visit(t, tab, r, Look{Width: DesktopWidth, Height: DesktopHeight})
		if !got.Live {
			continue
		}
		live++
		t.Run(r.Path, func(t *testing.T) {
			const mark = `document.body.dataset.mark = "here"; document.querySelector("main").innerText`
			before := evaluate(t, tab, mark)
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
				s.call(t)
				if after := evaluate(t, tab, `document.querySelector("main").innerText`); after != before {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("nothing changes in 20 s")
				}
			}
			if kept := evaluate(t, tab, `document.body.dataset.mark || ""`); kept != "here" {
				t.Error("the page was loaded again")
			}
			for _, c := range tab.Complaints() {
				t.Errorf("the browser says: %s", c)
			}
		})
	}
	t.Logf("%d live pages", live)
}

// evaluate is the string that a script in the page gives.
func evaluate(t *testing.T, tab *Tab, script string) string {
	t.Helper()
	got, err := chromedp.Run(tab, chromedp.Evaluate[string](script))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func decode(t *testing.T, body string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}
