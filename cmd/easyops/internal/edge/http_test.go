package edge

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// The thinnest way through: a page behind the edge.
func TestHTTPPasses(t *testing.T) {
	p := newPlace(t)
	p.behind(nil, easyops.WithHTTPService("page", "/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Host, r.URL, auth.User(r.Context()).ID)
	})))
	e := p.edge("http:\n- {path: /greet/, service: page}\n")
	resp, body := get(t, browser(t), "http://"+e.Addr().String()+"/greet/x?a=1&b;c", "Authorization", "Bearer user-alice", "Host", "shop.example.com:8443")
	if want := "shop.example.com:8443 /greet/x?a=1&b;c alice"; resp.StatusCode != 200 || body != want {
		t.Errorf("%d %s, want %s", resp.StatusCode, body, want)
	}
	for _, c := range []struct {
		path string
		want int
		head []string
	}{
		{"/greet/x", http.StatusUnauthorized, nil},
		{"/other", http.StatusNotFound, nil},
		{"/greetings", http.StatusNotFound, nil},
		{"/greet", http.StatusOK, []string{"Authorization", "Bearer user-alice"}},
		{"/internal/health", http.StatusNotFound, nil},
		{"/greet/../x", http.StatusBadRequest, nil},
	} {
		if resp, body := get(t, browser(t), "http://"+e.Addr().String()+c.path, c.head...); resp.StatusCode != c.want {
			t.Errorf("%s: %d %s, want %d", c.path, resp.StatusCode, body, c.want)
		}
	}
}

// open starts an edge before one service for everyone.
func (p *place) open(h http.HandlerFunc, opts ...easyops.ServerOption) (*Edge, string) {
	p.behind(nil, append(opts, easyops.WithHTTPService("page", "/", h, everyone))...)
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\n")
	return e, "http://" + e.Addr().String()
}

// Bodies of any length and kind arrive as they are, with what comes behind them.
func TestBodiesAndTrailers(t *testing.T) {
	p := newPlace(t)
	_, url := p.open(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "%d %d %v %q %q %q", n, r.ContentLength, r.TransferEncoding, r.Trailer["X-After"], r.Trailer["X-Forwarded-User"], r.Trailer["Authorization"])
		_, _ = w.Write(make([]byte, n))
		w.Header().Set("X-Sum", fmt.Sprintf("%x", sum.Sum(nil)))
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	})
	for _, chunked := range []bool{false, true} {
		for _, size := range []int{0, 1, 100_000, 5 << 20} {
			body := strings.Repeat("x", size)
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
			want := fmt.Sprintf("%d %d [] [] [] []", size, size)
			if chunked {
				r.ContentLength = -1
				r.Body = io.NopCloser(strings.NewReader(body))
				r.Trailer = http.Header{"X-After": {"a"}, "X-Forwarded-User": {"root"}, "Authorization": {"Bearer user-bob"}}
				want = fmt.Sprintf(`%d -1 [chunked] ["a"] [] []`, size)
			}
			resp, got := send(t, browser(t), r)
			if text, rest := got[:min(len(got), len(want))], got[min(len(got), len(want)):]; text != want || len(rest) != size {
				t.Errorf("chunked %v, %d bytes: %.80q and %d bytes, want %q", chunked, size, text, len(rest), want)
			}
			if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(body))); resp.Trailer.Get("X-Sum") != sum || resp.Trailer.Get("X-Late") != "1" {
				t.Errorf("trailers %v", resp.Trailer)
			}
		}
	}
}

// What is sent in parts arrives in parts, in both directions at once.
func TestStreamsAreNotHeldBack(t *testing.T) {
	p := newPlace(t)
	next := make(chan string)
	_, url := p.open(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		for part := range next {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
	})
	var hints atomic.Int32
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints && h.Get("Link") != "" {
			hints.Add(1)
		}
		return nil
	}}
	r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, url, http.NoBody)
	r.Header.Set("Accept", "text/event-stream")
	go func() { next <- "one\n" }()
	resp, err := browser(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for _, want := range []string{"one\n", "two\n", "three\n"} {
		if got, err := lines.ReadString('\n'); got != want {
			t.Fatalf("%q %v, want %q", got, err, want)
		}
		if want != "three\n" {
			next <- map[string]string{"one\n": "two\n", "two\n": "three\n"}[want]
		}
	}
	close(next)
	if hints.Load() != 1 {
		t.Errorf("%d early hints", hints.Load())
	}
}

// A request that its client gives up is given up behind the edge as well.
func TestCancelReachesTheService(t *testing.T) {
	p := newPlace(t)
	began, ended := make(chan bool), make(chan error, 1)
	_, url := p.open(func(_ http.ResponseWriter, r *http.Request) {
		began <- true
		<-r.Context().Done()
		ended <- r.Context().Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	done := make(chan error)
	c := browser(t)
	go func() {
		resp, err := c.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-began
	cancel()
	if err := <-done; err == nil {
		t.Error("the request was answered")
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the service goes on")
	}
}

// A connection that becomes one of another protocol does so through the edge.
func TestUpgrade(t *testing.T) {
	p := newPlace(t)
	_, url := p.open(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Own: 1\r\n\r\n")
		_ = rw.Flush()
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = rw.WriteString("> " + line)
			_ = rw.Flush()
		}
	})
	conn := dial(t, addrOf(strings.TrimPrefix(url, "http://")))
	fmt.Fprint(conn, "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Own") != "1" {
		t.Fatal(resp, err)
	}
	for _, line := range []string{"a\n", "b\n"} {
		fmt.Fprint(conn, line)
		if got, err := in.ReadString('\n'); got != "> "+line {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// The routes of a request: the most specific host, then the longest path.
func TestWhichRoute(t *testing.T) {
	p := newPlace(t)
	var text strings.Builder
	text.WriteString("http:\n")
	for i, at := range []string{
		"host: a.example.com", "host: a.example.com, path: /x", "host: a.example.com, path: /x/y", `host: "*.example.com"`, `host: "*.b.example.com", path: /x`,
		"path: /x/y/z", "path: /only", `host: "::1"`, "host: 10.0.0.1",
	} {
		name := fmt.Sprintf("s%d", i)
		p.foreign(name, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
		fmt.Fprintf(&text, "- {service: %s, allow: EVERYONE, %s}\n", name, at)
	}
	e := p.edge(text.String())
	for _, c := range []struct{ host, path, want string }{
		{"a.example.com", "/", "s0"},
		{"A.Example.COM.:443", "/q", "s0"},
		{"a.example.com", "/x", "s1"},
		{"a.example.com", "/xx", "s0"},
		{"a.example.com", "/x/y/z", "s2"},
		{"c.example.com", "/x", "s3"},
		{"c.d.example.com", "/", "s3"},
		{"c.b.example.com", "/x/", "s4"},
		{"c.b.example.com", "/", "s3"},
		{"b.example.com", "/x", "s3"},
		{"example.com", "/", ""},
		{"example.com", "/x/y/z/", "s5"},
		{"other", "/x/y/z", "s5"},
		{"other", "/only", "s6"},
		{"other", "/", ""},
		{"a.example.com", "/only", "s0"},
		{"[::1]", "/", "s7"},
		{"[::1]:80", "/", "s7"},
		{"[0:0::1]:80", "/", "s7"},
		{"10.0.0.1:8", "/", "s8"},
	} {
		resp, body := get(t, browser(t), "http://"+e.Addr().String()+c.path, "Host", c.host)
		if c.want == "" && resp.StatusCode == http.StatusNotFound {
			continue
		}
		if body != c.want {
			t.Errorf("%s%s goes to %q (%s), want %q", c.host, c.path, body, resp.Status, c.want)
		}
	}
}

// Instances that come and go cost no request.
func TestRollingRestart(t *testing.T) {
	p := newPlace(t)
	hello := easyops.WithHTTPService("page", "/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}), everyone)
	servers := []*easyops.Server{p.behind(nil, hello, easyops.WithDrainDelay(300*time.Millisecond)), p.behind(nil, hello, easyops.WithDrainDelay(300*time.Millisecond))}
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\n")
	c := browser(t)
	all := repeat(4, func() error {
		resp, err := c.Post("http://"+e.Addr().String()+"/", "text/plain", strings.NewReader("12345"))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(body) != "5" {
			return fmt.Errorf("%s %s %w", resp.Status, body, err)
		}
		return nil
	})
	all.await(50)
	for i := range servers {
		next := p.behind(nil, hello, easyops.WithDrainDelay(300*time.Millisecond))
		all.await(50)
		if err := servers[i].Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		servers[i] = next
		all.await(50)
	}
	if errs := all.end(); len(errs) > 0 {
		t.Errorf("%d failed, %d did not: %v", len(errs), all.ok.Load(), errs[0])
	}
}
