//go:build real

package operate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/go-easyops/easyops/test/browser"
)

var look = browser.Look{Width: browser.DesktopWidth, Height: browser.DesktopHeight}

// chromium starts one with a tab.
func chromium(t *testing.T) *browser.Tab {
	t.Helper()
	ctx, stop, err := browser.New(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	tab, shut, err := browser.NewTab(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shut)
	return tab
}

func evaluate(t *testing.T, tab *browser.Tab, script string) string {
	t.Helper()
	got, err := chromedp.Run(tab, chromedp.Evaluate[string](script))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// until waits for a script in the page to give what is wanted.
func until(t *testing.T, tab *browser.Tab, script, want string) {
	t.Helper()
	var got string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var err error
		if got, err = chromedp.Run(tab, chromedp.Evaluate[string](script)); err == nil && got == want {
			return
		}
	}
	t.Fatalf("%s is %q, want %q: %q", script, got, want, tab.Complaints())
}

// TestOpenInABrowser: the printed URL leads to the pages, which work as on the
// server itself; another browser gets nothing with it.
func TestOpenInABrowser(t *testing.T) {
	c := newCluster(t, 1)
	_, printed := c.open(echoService)
	u, err := url.Parse(printed)
	if err != nil {
		t.Fatal(err)
	}
	tab := chromium(t)
	if code, err := tab.Open(printed, look); code != 200 || err != nil {
		t.Fatal(code, err)
	}
	until(t, tab, "location.pathname", "/internal/")
	until(t, tab, "document.readyState", "complete")
	if text := evaluate(t, tab, "document.body.innerText"); !strings.Contains(text, echoService) {
		t.Errorf("%.500s", text)
	}
	// What a script brings up to date.
	until(t, tab, `String(performance.getEntriesByType("resource").some(e => e.initiatorType === "fetch" && e.responseStatus === 200))`, "true")
	// A form that changes something.
	page := u.Scheme + "://" + u.Host + "/internal/parameters?name=" + level
	if code, err := tab.Open(page, look); code != 200 || err != nil {
		t.Fatal(code, err)
	}
	evaluate(t, tab, `(() => {const f = document.querySelector('main form[method=post]'); f.elements['`+level+`'].value = 'debug'; f.querySelector('button').click(); return ''})()`)
	until(t, tab, `String(document.readyState === "complete" && document.querySelector("h1").innerText === "Changed")`, "true")
	if got := c.want("flags", "get", echoService, level); got[0][0] != "debug" {
		t.Errorf("%v", got)
	}
	for _, complaint := range tab.Complaints() {
		t.Errorf("the browser says: %s", complaint)
	}
	other := chromium(t)
	for _, again := range []string{printed, page} {
		if code, err := other.Open(again, look); code != 403 || err != nil {
			t.Errorf("another browser: %d, %v", code, err)
		}
	}
}

// otherPage is a page of somebody else on this machine, which the same browser
// looks at. It notes the cookies that it is sent.
func otherPage(t *testing.T, target string) (s *httptest.Server, cookies func() string) {
	var mu sync.Mutex
	var all []string
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all = append(all, r.Header.Values("Cookie")...)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>other</title><img src="%[1]s/internal/debug/cpu?seconds=1"><iframe name="frame" src="%[1]s/internal/help"></iframe>
<form id="f" method="post" action="%[1]s/internal/pleaseshutdown" target="frame"></form>
<script>
const attacks = [];
for (const credentials of ["include", "omit"]) for (const mode of ["no-cors", "cors"]) for (const method of ["GET", "POST"])
  attacks.push(fetch("%[1]s/internal/pleaseshutdown", {method, mode, credentials}).then(r => r.type === "opaque" ? "opaque" : "read " + r.status, () => "failed"));
document.getElementById("f").submit();
Promise.all(attacks).then(all => setTimeout(() => document.title = all.join(), 1500));
</script>`, target)
	}))
	t.Cleanup(s.Close)
	return s, func() string { mu.Lock(); defer mu.Unlock(); return strings.Join(all, "; ") }
}

// TestOpenToOtherPages: another page in the browser that was let in changes
// nothing, reads nothing, and is not given the cookie, though it knows the name.
// With the name of all programs on this machine it is given the cookie, which is
// why that is not the name that is printed; the rest holds then, too.
func TestOpenToOtherPages(t *testing.T) {
	c := newCluster(t, 1)
	for _, test := range []struct {
		flag   string
		cookie bool
	}{{"--no-browser", false}, {"--by-address", true}} {
		t.Run(test.flag, func(t *testing.T) {
			_, printed := c.open(test.flag, echoService)
			own, _, _ := strings.Cut(printed, "/?")
			tab := chromium(t)
			if code, err := tab.Open(printed, look); code != 200 || err != nil {
				t.Fatal(code, err)
			}
			until(t, tab, "location.pathname", "/internal/")
			page, cookies := otherPage(t, own)
			if _, err := tab.Open(page.URL, look); err != nil {
				t.Fatal(err)
			}
			until(t, tab, `String(document.title !== "other")`, "true")
			if title := evaluate(t, tab, "document.title"); strings.Contains(title, "read") {
				t.Errorf("it read: %s", title)
			}
			if _, err := chromedp.Run(tab, chromedp.Evaluate[string]("location.reload(), ''")); err != nil {
				t.Fatal(err)
			}
			until(t, tab, `String(document.title !== "other")`, "true")
			if got := strings.Contains(cookies(), "easyops-open"); got != test.cookie {
				t.Errorf("cookies %q", cookies())
			}
			if got := c.want("status", echoService); len(got) != 2 || got[1][3] != "READY" {
				t.Errorf("it changed something: %v", got)
			}
			if log := c.servers[0].Log(); strings.Contains(log, "pleaseshutdown") || strings.Contains(log, "debug/cpu") {
				t.Errorf("it came through:\n%s", log)
			}
			// The control: the browser is still let in.
			if code, err := tab.Open(own+"/internal/help", look); code != 200 || err != nil {
				t.Error(code, err)
			}
		})
	}
}
