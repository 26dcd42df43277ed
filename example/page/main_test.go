package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	guestbookv1 "github.com/go-easyops/easyops/example/gen/guestbook/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts the program's services and returns the address of the page, and a
// client.
func serve(t *testing.T, book guestbookv1.GuestbookServiceServer) (string, guestbookv1.GuestbookServiceClient) {
	t.Helper()
	s := easyopstest.Start(t, []easyops.Service{guestbookv1.BindGuestbookServiceServer(book)}, withPage(book))
	client, conn, err := guestbookv1.DialGuestbookService(s.Client())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return "http://" + s.Addr().String() + pagePath, client
}

// answer is what a request was answered with.
type answer struct {
	code   int
	header http.Header
}

// send makes a request as a browser does, whose redirects it does not follow.
func send(t *testing.T, method, url, body string, change ...func(*http.Request)) (a answer, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, f := range change {
		f(req)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header}, string(b)
}

func form(name, text string) string { return url.Values{"name": {name}, "text": {text}}.Encode() }

// TestSign: what is typed into the form is in the service, and the other way round.
func TestSign(t *testing.T) {
	page, client := serve(t, &guestbook{})
	if a, body := send(t, "GET", page, ""); a.code != 200 || !strings.Contains(body, "Nobody has signed yet") {
		t.Errorf("at first: %d %s", a.code, body)
	}
	a, _ := send(t, "POST", page, form(" Alice ", "by the form"))
	if a.code != http.StatusSeeOther || a.header.Get("Location") != pagePath {
		t.Errorf("signed: %d, go to %q", a.code, a.header.Get("Location"))
	}
	if _, err := client.Sign(t.Context(), &guestbookv1.SignRequest{Name: "Bob", Text: "by gRPC"}); err != nil {
		t.Fatal(err)
	}
	_, body := send(t, "GET", page, "")
	alice, bob := strings.Index(body, "<h2>Alice</h2>\n<p>by the form</p>"), strings.Index(body, "<h2>Bob</h2>\n<p>by gRPC</p>")
	if bob < 0 || alice < bob {
		t.Errorf("the page says\n%s", body)
	}
	list, err := client.ListEntries(t.Context(), &guestbookv1.ListEntriesRequest{})
	if err != nil || len(list.GetEntries()) != 2 || list.GetEntries()[1].GetName() != "Alice" {
		t.Errorf("the service says %v, %v", list, err)
	}
}

// TestWhatGuestsSay is text on the page, whatever it says, and wherever it stands.
func TestWhatGuestsSay(t *testing.T) {
	page, client := serve(t, &guestbook{})
	for _, hostile := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</textarea><script>`, "{{.Path}}"} {
		if _, err := client.Sign(t.Context(), &guestbookv1.SignRequest{Name: hostile, Text: hostile}); err != nil {
			t.Fatal(err)
		}
		for method, typed := range map[string]string{"GET": "", "POST": form(hostile, hostile+strings.Repeat("x", maxText))} {
			a, body := send(t, method, page, typed)
			if strings.Contains(body, "<script") || strings.Contains(body, "<img") || !strings.Contains(body, "alert") && strings.Contains(hostile, "alert") {
				t.Errorf("%s: %q is shown as\n%s", method, hostile, body)
			}
			if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
				t.Errorf("%s: policy %q", method, csp)
			}
		}
	}
}

// TestRefused: what is wrong with a form is said, and what was typed is kept.
func TestRefused(t *testing.T) {
	page, client := serve(t, &guestbook{})
	for name, test := range map[string]struct{ body, want string }{
		"empty":     {"", "say who you are"},
		"no text":   {form("Alice", " "), `value="Alice"`},
		"long name": {form(strings.Repeat("x", maxName+1), "text"), "at most"},
		"long text": {form("Alice", strings.Repeat("x", maxText+1)), strings.Repeat("x", maxText+1)},
		"too long":  {form("Alice", strings.Repeat("x", maxForm)), "too long"},
		"malformed": {"name=%zz", "could not be read"},
	} {
		if a, body := send(t, "POST", page, test.body); a.code != http.StatusBadRequest || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d\n%s", name, a.code, body)
		}
	}
	if list, err := client.ListEntries(t.Context(), &guestbookv1.ListEntriesRequest{}); err != nil || len(list.GetEntries()) > 0 {
		t.Errorf("kept %v, %v", list, err)
	}
}

// TestOtherSites: a form on another site signs nothing.
func TestOtherSites(t *testing.T) {
	page, _ := serve(t, &guestbook{})
	own := strings.TrimSuffix(page, pagePath)
	for name, test := range map[string]struct {
		header, value string
		code          int
	}{
		"own":         {"Origin", own, http.StatusSeeOther},
		"same origin": {"Sec-Fetch-Site", "same-origin", http.StatusSeeOther},
		"no browser":  {"X-Nothing", "", http.StatusSeeOther},
		"another":     {"Origin", "https://evil.example", http.StatusForbidden},
		"no origin":   {"Origin", "null", http.StatusForbidden},
		"cross-site":  {"Sec-Fetch-Site", "cross-site", http.StatusForbidden},
		"same-site":   {"Sec-Fetch-Site", "same-site", http.StatusForbidden},
	} {
		a, _ := send(t, "POST", page, form("Alice", name), func(r *http.Request) { r.Header.Set(test.header, test.value) })
		if a.code != test.code {
			t.Errorf("%s: %d, want %d", name, a.code, test.code)
		}
	}
	_, body := send(t, "GET", page, "")
	if n := strings.Count(body, "<article>"); n != 3 {
		t.Errorf("%d entries", n)
	}
}

// TestKept: of many entries the latest stay.
func TestKept(t *testing.T) {
	book := &guestbook{}
	for n := range kept + 10 {
		if _, err := book.Sign(t.Context(), &guestbookv1.SignRequest{Name: "n", Text: strconv.Itoa(n)}); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := book.ListEntries(t.Context(), nil)
	if all := list.GetEntries(); len(all) != kept || all[0].GetText() != strconv.Itoa(kept+9) || all[kept-1].GetText() != "10" {
		t.Errorf("%d entries, from %v", len(all), all[0])
	}
}

// broken is a service that cannot answer.
type broken struct {
	guestbookv1.UnimplementedGuestbookServiceServer
}

func (broken) Sign(context.Context, *guestbookv1.SignRequest) (*guestbookv1.SignResponse, error) {
	return nil, errors.New("the secret")
}

// TestBroken: why the service fails is not for guests.
func TestBroken(t *testing.T) {
	page, _ := serve(t, broken{})
	for _, method := range []string{"GET", "POST"} {
		if a, body := send(t, method, page, form("a", "b")); a.code != http.StatusInternalServerError || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %q", method, a.code, body)
		}
	}
}

// TestAccess: each method is for whom the .proto file says.
func TestAccess(t *testing.T) {
	easyopstest.AccessMatrix(t, guestbookv1.BindGuestbookServiceServer(&guestbook{}))
}

// TestStart: the whole program starts, with its page and its style, and stops.
func TestStart(t *testing.T) {
	t.Setenv("EASYOPS_ADDR", "127.0.0.1:0")
	t.Setenv("EASYOPS_REGISTRY", "local:"+t.TempDir())
	t.Setenv("EASYOPS_LOG_LEVEL", "error")
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"": "text/html; charset=utf-8", "style.css": "text/css; charset=utf-8"} {
		if a, _ := send(t, "GET", "http://"+s.Addr().String()+pagePath+path, ""); a.header.Get("Content-Type") != want {
			t.Errorf("%s: %d %s", path, a.code, a.header.Get("Content-Type"))
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
