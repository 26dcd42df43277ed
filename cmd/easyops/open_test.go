package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

// opened is easyops open, as a test sees it.
type openDoor struct {
	t    *testing.T
	url  string // with the token
	host string // as the URL has it
	addr string // where it listens
	jar  http.CookieJar
}

var printedURL = regexp.MustCompile(`http://([^/]+)/\?token=[A-Z0-9]+`)

// openPages runs the command until the end of the test.
func openPages(t *testing.T, args ...string) *openDoor {
	t.Helper()
	c, err := rootCommand(strings.NewReader(""), nil, io.Discard), error(nil)
	out, in := io.Pipe()
	c.SetOut(in)
	c.SetArgs(append([]string{"open"}, args...))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = c.ExecuteContext(ctx)
		_ = in.CloseWithError(err)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err != nil {
			t.Errorf("easyops open: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := printedURL.FindStringSubmatch(lines.Text()); m != nil {
			_, port, _ := net.SplitHostPort(m[1])
			jar, _ := cookiejar.New(nil)
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return &openDoor{t, m[0], m[1], "127.0.0.1:" + port, jar}
		}
	}
	t.Fatalf("it prints no URL: %v", err)
	return nil
}

// client is a browser, of which the names under localhost are known to be this
// machine.
func (o *openDoor) client(jar http.CookieJar) *http.Client {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, o.addr)
		},
	}
	return &http.Client{Transport: transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answerTo is what a browser sees.
type answerTo struct {
	code int
	body string
	http.Header
}

// send sends a request with headers, in pairs, by the browser that was let in.
func (o *openDoor) send(method, target string, headers ...string) answerTo {
	o.t.Helper()
	return o.sendBy(o.jar, method, target, headers...)
}

func (o *openDoor) sendBy(jar http.CookieJar, method, target string, headers ...string) answerTo {
	o.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = "http://" + o.host + target
	}
	r, err := http.NewRequest(method, target, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	answer, err := o.client(jar).Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return answerTo{answer.StatusCode, string(body), answer.Header}
}

// enter lets the browser in.
func (o *openDoor) enter() *openDoor {
	o.t.Helper()
	a := o.send("GET", o.url)
	if cookie := a.Get("Set-Cookie"); a.code != 200 || !strings.Contains(a.body, `url=/internal/`) || !strings.HasSuffix(cookie, "; Path=/; HttpOnly; SameSite=Strict") {
		o.t.Fatalf("%+v", a)
	}
	return o
}

func (o *openDoor) own() string { return "http://" + o.host }

// The pages of a server that wants a token, or a certificate, are shown to a
// browser that has neither.
func TestOpen(t *testing.T) {
	f := newFleet(t)
	ca := testAuthority(t, "--id echo --service "+echoService, "--id ops")
	a := f.addSecure(serverFiles(ca, "echo"), easyops.WithAuth("mtls"), easyops.WithOperators("service:ops", "user:alice"))
	alice := tempFile(t, easyopstest.UserToken("alice"))
	for name, flags := range map[string][]string{
		"certificate": filesOf(ca, "ops"),
		"token":       append(filesOf(ca, ""), "--token-file", alice),
	} {
		t.Run(name, func(t *testing.T) {
			o := openPages(t, append(flags, echoService)...).enter()
			page := o.send("GET", "/internal/service-info/version", "Accept", "text/html")
			if page.code != 200 || !strings.Contains(page.body, a.ID) || !strings.Contains(page.body, "<html") {
				t.Errorf("%+v", page)
			}
			for _, header := range []string{"Set-Cookie", "Www-Authenticate"} {
				if page.Get(header) != "" {
					t.Errorf("%s: %s", header, page.Get(header))
				}
			}
			// What changes something works, too.
			if done := o.send("POST", "/internal/unregister", "Origin", o.own(), "Sec-Fetch-Site", "same-origin"); done.code != 200 && done.code != 202 {
				t.Errorf("%+v", done)
			}
			if done := o.send("POST", "/internal/unregister?undo", "Origin", o.own()); done.code != 200 && done.code != 202 {
				t.Errorf("%+v", done)
			}
			f.newest(echoService, 1)
			// As does what goes on for a while.
			if profile := o.send("GET", "/internal/debug/cpu?seconds=1"); profile.code != 200 || !strings.HasPrefix(profile.body, "\x1f\x8b") {
				t.Errorf("%d, %.100q", profile.code, profile.body)
			}
			if metrics := o.send("GET", "/metrics"); metrics.code != 200 {
				t.Errorf("%+v", metrics)
			}
		})
	}
}

// Nobody else gets in. The control of each is the last line.
func TestOpenIsForOneBrowser(t *testing.T) {
	f := newFleet(t)
	f.add()
	o := openPages(t, echoService)
	const page = "/internal/service-info/version"
	refused := func(what string, a answerTo, code int) {
		t.Helper()
		if a.code != code || strings.Contains(a.body, "<") || len(a.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: %+v", what, a)
		}
	}
	stranger, _ := cookiejar.New(nil)
	refused("before", o.send("GET", page), 403)
	refused("no token", o.send("GET", "/"), 403)
	refused("a wrong token", o.send("GET", "/?token=AAAA"), 403)
	refused("two tokens, the first wrong", o.send("GET", "/?token=AAAA&"+strings.Split(o.url, "?")[1]), 403)
	refused("HEAD", o.send("HEAD", o.url), 405)
	refused("POST", o.send("POST", o.url, "Origin", o.own()), 405)
	refused("the token elsewhere", o.send("GET", page+"?"+strings.Split(o.url, "?")[1]), 403)
	refused("the token by another name", o.send("GET", o.url, "Host", o.addr), 403)
	o.enter()
	refused("the token twice", o.sendBy(stranger, "GET", o.url), 403)
	refused("without a cookie", o.sendBy(stranger, "GET", page), 403)
	if a := o.enter().send("GET", "/"); a.code != 303 || a.Get("Location") != "/internal/" {
		t.Errorf("%+v", a)
	}

	cookie := o.jar.Cookies(&url.URL{Scheme: "http", Host: o.host, Path: "/"})[0]
	with := func(value string) []string { return []string{"Cookie", sessionCookie + "=" + value} }
	refused("another cookie", o.sendBy(stranger, "GET", page, with(cookie.Value+"x")...), 403)
	refused("an empty cookie", o.sendBy(stranger, "GET", page, with("")...), 403)
	refused("two cookies", o.sendBy(stranger, "GET", page, append(with("x"), with(cookie.Value)...)...), 403)
	refused("two cookies, the first right", o.sendBy(stranger, "GET", page, append(with(cookie.Value), with("x")...)...), 403)
	_, port, _ := net.SplitHostPort(o.host)
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "evil.example", "evil.example:" + port, o.host + ".evil.example", "x" + o.host, strings.TrimSuffix(o.host, ":"+port), "a b"} {
		refused("host "+host, o.sendBy(stranger, "GET", page, append(with(cookie.Value), "Host", host)...), 403)
	}
	for _, headers := range [][]string{
		{"Origin", "http://evil.example"},
		{"Origin", "null"},
		{"Origin", "http://127.0.0.1:" + port},
		{"Origin", "https://" + o.host},
		{"Origin", o.own(), "Origin", "http://evil.example"},
		{"Origin", o.own(), "Sec-Fetch-Site", "cross-site"},
		{"Origin", o.own(), "Sec-Fetch-Site", "same-site"},
		{},
	} {
		refused(fmt.Sprint("POST ", headers), o.send("POST", "/internal/pleaseshutdown", headers...), 403)
	}
	for _, headers := range [][]string{
		{"Origin", "http://evil.example"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"X-Forwarded-For", "10.0.0.1"},
		{"Forwarded", "for=10.0.0.1"},
		{"Via", "1.1 proxy"},
	} {
		refused(fmt.Sprint("GET ", headers), o.send("GET", page, headers...), 403)
	}
	for _, path := range []string{
		"/internal/../x", "/internal/%2e%2e/x", "/internal/..%2fx", "/internal//help", "/internal/%5c..%5cx", "/internal/./help",
		"//internal/help", "/x", "/livez", "/readyz", "/internalx", "/metrics/x", "/metrics/", "/internal/%00", "/echo.v1.EchoService/Echo", "/favicon.ico",
	} {
		refused("path "+path, o.send("GET", path), 404)
	}
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY"} {
		refused(method, o.send(method, page, "Origin", o.own()), 405)
	}
	if a := o.sendBy(stranger, "GET", page, with(cookie.Value)...); a.code != 200 {
		t.Errorf("the control: %+v", a)
	}
	if a := o.send("GET", "/internal/health"); a.code != 200 {
		t.Errorf("somebody has shut it down: %+v", a)
	}
}

// What is no request of a browser to a page is refused, whatever else it has.
func TestOpenIsNoProxy(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	elsewhere := plant(t, listen(t, "127.0.0.1:0"))
	o := openPages(t, a.Addr).enter()
	cookie := o.jar.Cookies(&url.URL{Scheme: "http", Host: o.host, Path: "/"})[0]
	for line, want := range map[string]string{
		"GET http://" + elsewhere.addr + "/internal/help HTTP/1.1":  "400",
		"GET http://" + o.host + "/internal/help HTTP/1.1":          "400",
		"CONNECT " + elsewhere.addr + " HTTP/1.1":                   "400",
		"CONNECT " + o.host + " HTTP/1.1":                           "400",
		"OPTIONS * HTTP/1.1":                                        "400",
		"GET //" + elsewhere.addr + "/internal/help HTTP/1.1":       "404",
		"GET /internal/help HTTP/1.1\r\nHost: " + elsewhere.addr:    "400", // two hosts
		"GET /internal/help HTTP/1.1\r\nUpgrade: websocket\r\nA: b": "200", // which the server is not told
	} {
		conn, err := net.Dial("tcp", o.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s\r\nHost: %s\r\nCookie: %s=%s\r\nConnection: close\r\n\r\n", line, o.host, sessionCookie, cookie.Value)
		answer, _ := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		if !strings.Contains(answer, " "+want+" ") {
			t.Errorf("%q: %q, want %s", line, answer, want)
		}
	}
	if elsewhere.heard.Load() != 0 {
		t.Error("it was led elsewhere")
	}
}

func TestOpenOfAServerThatIsGone(t *testing.T) {
	newFleet(t)
	addr := unused(t)
	if code, _, stderr := call("open", addr); code != 1 || !strings.Contains(stderr, addr+": ") {
		t.Errorf("code %d, %s", code, stderr)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"instance":"a"}`) }))
	o := openPages(t, s.Listener.Addr().String()).enter()
	s.Close()
	if a := o.send("GET", "/internal/"); a.code != 502 || !strings.Contains(a.body, "does not reach the server: ") || a.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%+v", a)
	}
}

func TestOpenByAddress(t *testing.T) {
	f := newFleet(t)
	o := openPages(t, "--by-address", f.add().Addr)
	if o.host != o.addr {
		t.Errorf("%s, want %s", o.host, o.addr)
	}
	if a := o.enter().send("GET", "/internal/health"); a.code != 200 {
		t.Errorf("%+v", a)
	}
}

func TestOpenOfSeveral(t *testing.T) {
	f := newFleet(t)
	f.add()
	f.add()
	all := f.newestTwo()
	for answer, want := range map[string]int{"1\n": 0, "\n": 0, "2\n": 1, "": 0, "3\n": -1, "x\n": -1} {
		c := rootCommand(&typed{strings.NewReader(answer)}, io.Discard, io.Discard)
		r := &openRequest{}
		s, err := r.choose(c, r.serversOf(all))
		if want < 0 && err == nil || want >= 0 && (err != nil || s.id != all[want].ID) {
			t.Errorf("%q: %+v, %v", answer, s, err)
		}
	}
	o := openPages(t, echoService).enter() // nobody is there to answer
	if a := o.send("GET", versionPage); !strings.Contains(a.body, all[0].ID) {
		t.Errorf("%+v", a)
	}
}

// What is refused, and what pages ask by themselves, does not keep the program.
func TestServeUntilIdle(t *testing.T) {
	for _, test := range []struct {
		request string
		ends    time.Duration
	}{
		{"GET / HTTP/1.1", 15 * time.Hour},
		{"GET / HTTP/1.1\r\nSec-Fetch-Mode: navigate", 15 * time.Hour},
		{"POST / HTTP/1.1\r\nContent-Length: 0\r\nSec-Fetch-Mode: cors", 15 * time.Hour},
		{"GET / HTTP/1.1\r\nSec-Fetch-Mode: cors", 8 * time.Hour},
		{"GET /refused HTTP/1.1", 8 * time.Hour},
	} {
		l := listen(t, "127.0.0.1:0")
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			pages := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			guard := func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/" {
						h.ServeHTTP(w, r)
					}
				})
			}
			ours := &pipes{conns: make(chan net.Conn), Listener: l}
			go func() {
				time.Sleep(7 * time.Hour)
				here, there := net.Pipe()
				ours.conns <- there
				fmt.Fprintf(here, "%s\r\nHost: x\r\nConnection: close\r\n\r\n", test.request)
				if answer, _ := io.ReadAll(here); !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
					t.Errorf("%s: %s", test.request, answer)
				}
			}()
			if err := serveUntil(t.Context(), ours, guard, pages, idleTime); err != nil {
				t.Error(err)
			}
			if d := time.Since(begun); d != test.ends {
				t.Errorf("%s: it ended after %v", test.request, d)
			}
		})
	}
}

// pipes is a listener in a bubble.
type pipes struct {
	net.Listener
	conns chan net.Conn
}

func (p *pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p *pipes) Close() error {
	close(p.conns)
	return p.Listener.Close()
}

// The URL of the browser is in no command line that others can read, and in no
// file that they can.
func TestLeadsTo(t *testing.T) {
	dir := t.TempDir()
	path, err := leadsTo(dir, "http://x.localhost:1/?token=A&b=\"")
	if err != nil || filepath.Dir(path) != dir {
		t.Fatal(path, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if text := string(read(t, path)); !strings.Contains(text, `url=http://x.localhost:1/?token=A&amp;b=&#34;"`) {
		t.Error(text)
	}
}
