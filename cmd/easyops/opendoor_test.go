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
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// byPerson are the headers of a browser that its user sends somewhere.
var byPerson = []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}

// A web page that knows the URL cannot use up its token behind the user's back.
func TestOpenTokenIsNotUsedUp(t *testing.T) {
	f := newFleet(t)
	o := openPages(t, f.add().Addr)
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
		{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"},
		{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
	} {
		if a := o.sendBy(nil, "GET", o.url, headers...); a.code != 403 || a.Get("Set-Cookie") != "" {
			t.Errorf("%q: %+v", headers, a)
		}
	}
	// A terminal in a browser is a page that leads its user there.
	if a := o.send("GET", o.url, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"); a.code != 200 || a.Get("Set-Cookie") == "" {
		t.Errorf("%+v", a)
	}
}

// Requests whose end may be seen in two ways are refused, and end the connection:
// nothing behind them is taken for another request.
func TestOpenEndsAmbiguousConnections(t *testing.T) {
	f := newFleet(t)
	o := openPages(t, f.add().Addr).enter()
	cookie := o.jar.Cookies(&url.URL{Scheme: "http", Host: o.host, Path: "/"})[0]
	next := "GET /internal/health HTTP/1.1\r\nHost: " + o.host + "\r\nCookie: " + sessionCookie + "=" + cookie.Value + "\r\nConnection: close\r\n\r\n"
	for first, want := range map[string]int{
		"POST /internal/x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n": 1,
		"POST /internal/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n":                      1,
		"GET /internal/x HTTP/1.0\r\nConnection: keep-alive\r\n":                           1,
		"POST /internal/x HTTP/1.1\r\nContent-Length: 5\r\n":                               2, // the control
	} {
		conn, err := net.Dial("tcp", o.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(conn, "%sHost: %s\r\nOrigin: %s\r\nCookie: %s=%s\r\n\r\n0\r\n\r\n%s", first, o.host, o.own(), sessionCookie, cookie.Value, next)
		all, _ := io.ReadAll(bufio.NewReader(conn))
		conn.Close()
		if n := strings.Count(string(all), "\r\nDate: "); n != want || want == 1 && !strings.Contains(string(all), " 411 ") {
			t.Errorf("%q has %d answers:\n%s", first, n, all)
		}
	}
}

// askHandler asks a handler, as a browser on this machine.
func askHandler(t *testing.T, h http.Handler, method, host, path string, headers ...string) *answerTo {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Host, r.RemoteAddr = host, "127.0.0.1:5"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return &answerTo{w.Code, w.Body.String(), w.Header()}
}

// The URL for command lines leads a browser that its user sends there, once, and
// is none where no browser was started.
func TestOpenLeads(t *testing.T) {
	d := newDoor(4711, false)
	d.owner = func(*http.Request) (string, error) { return "me", nil }
	pages := d.guard(http.NotFoundHandler())
	ask := func(host string, headers ...string) *answerTo {
		return askHandler(t, pages, "GET", host, leadPath, headers...)
	}
	const here = "127.0.0.1:4711"
	if a := ask(here, byPerson...); a.code != 403 {
		t.Errorf("without a browser: %+v", a)
	}
	d.leads = true
	if strings.Contains(d.leading(), d.token) || strings.Contains(d.leading(), strings.Split(d.host, ":")[0]) {
		t.Errorf("%s has a secret", d.leading())
	}
	site := func(s, mode, dest string) []string {
		return []string{"Sec-Fetch-Site", s, "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", dest}
	}
	for _, headers := range [][]string{
		nil, site("cross-site", "navigate", "document"), site("same-site", "navigate", "document"), site("same-origin", "navigate", "document"),
		site("none", "cors", "empty"), site("none", "navigate", "iframe"), append(byPerson, "X-Forwarded-For", "10.0.0.1"),
	} {
		if a := ask(here, headers...); a.code != 403 || a.Get("Location") != "" {
			t.Errorf("%q: %+v", headers, a)
		}
	}
	for _, host := range []string{"localhost:4711", "evil.example:4711", "127.0.0.1", d.host} {
		if a := ask(host, byPerson...); a.Get("Location") != "" {
			t.Errorf("%s: %+v", host, a)
		}
	}
	if a := ask(here, byPerson...); a.code != 303 || a.Get("Location") != d.url() || a.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%+v", a)
	}
	d.opened.Store(true)
	if a := ask(here, byPerson...); a.code != 403 || a.Get("Location") != "" {
		t.Errorf("once more: %+v", a)
	}
}

// No command line that starts a browser has a secret.
func TestBrowse(t *testing.T) {
	if !kernelTells {
		t.Skip("the other systems are given a file, see TestLeadsTo")
	}
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	script := "#!/bin/sh\necho \"$@\" > " + said + ".new && mv " + said + ".new " + said + "\n"
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DISPLAY", ":0")
	d := newDoor(4711, false)
	defer browse(d, io.Discard)()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(said); err == nil {
			if got := strings.TrimSpace(string(text)); got != "http://127.0.0.1:4711/lead" {
				t.Errorf("it is given %s", got)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal("no browser is started")
		}
	}
}
