package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// behind is what stands behind easyops open in the place of a server.
func behind(t *testing.T, h http.HandlerFunc) (addr string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == versionPage {
			_, _ = io.WriteString(w, `{"instance":"a"}`)
			return
		}
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// Of the browser's headers the server gets few, and none that names it, or says
// that there is somebody in between.
func TestOpenPassesFewHeaders(t *testing.T) {
	newFleet(t)
	var got atomic.Pointer[http.Request]
	addr := behind(t, func(_ http.ResponseWriter, r *http.Request) { got.Store(r) })
	token := tempFile(t, "abc")
	o := openPages(t, "--token-file", token, addr).enter()
	o.send("POST", "/internal/x?a=b", "Origin", o.own(), "Cookie", "other=1", "Authorization", "Bearer evil", "Referer", o.own()+"/internal/",
		"Sec-Fetch-Site", "same-origin", "X-Anything", "1", "Accept", "text/html", "Connection", "Accept, X-Anything", "TE", "trailers", "User-Agent", "Browser/1")
	r := got.Load()
	if r.Host != addr || r.RequestURI != "/internal/x?a=b" {
		t.Errorf("%s %s", r.Host, r.RequestURI)
	}
	want := http.Header{"Accept-Encoding": {"gzip"}, "Authorization": {"Bearer abc"}, "Origin": {"http://" + addr}, "User-Agent": {"Browser/1"}, "Content-Length": {"0"}}
	for name, values := range r.Header {
		if fmt.Sprint(want[name]) != fmt.Sprint(values) && name != "Accept" {
			t.Errorf("%s: %q", name, values)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	// A token that was renewed is taken.
	if err := os.WriteFile(token, []byte("def-longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); got.Load().Header.Get("Authorization") != "Bearer def-longer"; o.send("GET", "/internal/") {
		if time.Now().After(end) {
			t.Fatal("the old token is sent")
		}
	}
}

// A server leads nowhere else, sets no cookies, and opens nothing to others.
func TestOpenTrimsAnswers(t *testing.T) {
	newFleet(t)
	elsewhere := plant(t, listen(t, "127.0.0.1:0"))
	var addr string
	addr = behind(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for _, name := range kept {
			h.Set(name, "x")
		}
		h.Set("Content-Disposition", `attachment; filename="x"`)
		h.Set("Content-Security-Policy", "default-src 'none'")
		switch where := r.URL.Query().Get("to"); where {
		case "":
		case "hint":
			h.Set("X-Hint", "1")
			w.WriteHeader(http.StatusEarlyHints)
			h.Del("X-Hint")
		default:
			h.Set("Location", strings.ReplaceAll(where, "SELF", addr))
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	})
	o := openPages(t, addr).enter()
	a := o.send("GET", "/internal/x")
	for _, name := range kept {
		if a.Get(name) != "" {
			t.Errorf("%s: %s", name, a.Get(name))
		}
	}
	if a.Get("Content-Disposition") == "" || len(a.Values("Content-Security-Policy")) != 2 {
		t.Errorf("%v", a.Header)
	}
	for to, want := range map[string]string{
		"/internal/help":                         "/internal/help",
		"help":                                   "/internal/help",
		"http://SELF/internal/help?a":            "/internal/help?a",
		"http://" + elsewhere.addr + "/internal": "",
		"//" + elsewhere.addr + "/internal":      "",
		"https://SELF/internal/":                 "",
		"http://SELF//evil.example/":             "",
		"javascript:alert(1)":                    "",
		"/elsewhere":                             "",
		"http://user@SELF/internal/":             "",
	} {
		if a := o.send("GET", "/internal/x?to="+url.QueryEscape(to)); a.code != 307 || a.Get("Location") != want {
			t.Errorf("%s: %d %q, want %q", to, a.code, a.Get("Location"), want)
		}
	}
	cookie := o.jar.Cookies(&url.URL{Scheme: "http", Host: o.host, Path: "/"})[0]
	conn, err := net.Dial("tcp", o.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /internal/x?to=hint HTTP/1.1\r\nHost: %s\r\nCookie: %s=%s\r\nConnection: close\r\n\r\n", o.host, sessionCookie, cookie.Value)
	if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || strings.Contains(string(answer), "X-Hint") {
		t.Errorf("%s", answer)
	}
	if elsewhere.heard.Load() != 0 {
		t.Error("it was led elsewhere")
	}
}

// What comes little by little is handed on so.
func TestOpenStreams(t *testing.T) {
	newFleet(t)
	more := make(chan struct{})
	addr := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "second\n")
	})
	o := openPages(t, addr).enter()
	answer, err := o.client(o.jar).Get(o.own() + "/internal/debug/trace")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	first, _ := lines.ReadString('\n')
	close(more)
	second, err := lines.ReadString('\n')
	if first != "first\n" || second != "second\n" || err != nil {
		t.Errorf("%q, %q, %v", first, second, err)
	}
}
