package edge

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// A service of which there is no instance is answered for in time, and the log is told
// once.
func TestNoInstance(t *testing.T) {
	p := newPlace(t)
	e := p.edge("http:\n- {service: page, path: /a, allow: EVERYONE, connect_timeout: 300ms}\n- {service: gone, path: /b, allow: EVERYONE, connect_timeout: 300ms}\n")
	p.list("gone", registry.KindHTTP, deaf(t))
	for _, path := range []string{"/a", "/b"} {
		for range 3 {
			begun := time.Now()
			resp, body := get(t, browser(t), "http://"+e.Addr().String()+path)
			if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", path, resp.StatusCode, body)
			}
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("%s: it took %v", path, took)
			}
			if strings.Contains(body, "127.0.0.1") || strings.Contains(body, p.dir) {
				t.Errorf("%s: the answer tells of what is behind: %s", path, body)
			}
		}
		if n := strings.Count(p.log.text(), "route="+path); n != 1 {
			t.Errorf("%s: the log is told %d times", path, n)
		}
	}
	// As soon as there is an instance, it serves.
	p.behind(nil, easyops.WithHTTPService("page", "/", http.HandlerFunc(echoHeaders), everyone))
	await(t, "an instance", func() bool {
		resp, _ := get(t, browser(t), "http://"+e.Addr().String()+"/a")
		return resp.StatusCode == http.StatusOK
	})
}

// deaf is an address that nobody listens on.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// An instance that refuses, and is the only one, is tried some times and not all the
// time.
func TestAttemptsPause(t *testing.T) {
	var a attempts
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	for a.pause(ctx, "a") == nil {
		a.note("a", io.EOF)
	}
	if n := len(a.addrs); n < 3 || n > 6 { // at 0, 20, 60, 140 ms
		t.Errorf("%d attempts in 250 ms", n)
	}
	begun := time.Now()
	if err := a.pause(t.Context(), "b"); err != nil || time.Since(begun) > firstPause {
		t.Errorf("another instance waits: %v", err)
	}
}

// What could not be sent goes to another instance, body and all, and nobody notices.
func TestDialFailuresGoElsewhere(t *testing.T) {
	p := newPlace(t)
	p.list("page", registry.KindHTTP, deaf(t))
	_, url := p.open(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	c := browser(t)
	for n := range 30 {
		body := strings.Repeat(fmt.Sprint(n), 1000)
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		r.Close = n%2 == 0
		if resp, got := send(t, c, r); resp.StatusCode != http.StatusOK || got != body {
			t.Fatalf("request %d: %d %.40s", n, resp.StatusCode, got)
		}
	}
}

// What was sent is not sent again: the service may have done it.
func TestSentOnce(t *testing.T) {
	p := newPlace(t)
	var seen atomic.Int32
	s := p.foreign("page", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPost {
			seen.Add(1)
			panic(http.ErrAbortHandler)
		}
	}))
	s.Config.ErrorLog = nil
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\n")
	url, c := "http://"+e.Addr().String(), browser(t)
	for n := range 10 {
		if resp, _ := get(t, c, url); resp.StatusCode != http.StatusOK { // so that there is a connection to use again
			t.Fatal(resp.Status)
		}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("do it"))
		if resp, _ := send(t, c, r); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s", resp.Status)
		}
		if got := seen.Load(); int(got) != n+1 {
			t.Errorf("it was sent %d times, want %d", got, n+1)
		}
	}
	if n := strings.Count(p.log.text(), "broken off by the service"); n != 1 {
		t.Errorf("the log is told %d times", n)
	}
}

// A token leaves the machine encrypted or not at all.
func TestTokenOverPlaintext(t *testing.T) {
	p := newPlace(t)
	var rec recorder
	s := p.foreign("near", &rec)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	p.list("far", registry.KindHTTP, "localhost:"+port) // a name, which may lead anywhere
	e := p.edge("http:\n- {service: near, path: /near}\n- {service: far, path: /far}\n- {service: far, path: /open, allow: EVERYONE}\n")
	token := []string{"Authorization", "Bearer user-bob"}
	for _, c := range []struct {
		path string
		head []string
		want int
	}{
		{"/near", token, http.StatusOK},
		{"/far", token, http.StatusBadGateway},
		{"/open", nil, http.StatusOK},
		{"/open", token, http.StatusBadGateway},
		{"/open", []string{"Authorization", ""}, http.StatusBadGateway},
	} {
		resp, body := get(t, browser(t), "http://"+e.Addr().String()+c.path, c.head...)
		if seen := rec.take(); resp.StatusCode != c.want || (len(seen) > 0) != (c.want == http.StatusOK) {
			t.Errorf("%s %v: %d %s, seen %v", c.path, c.head, resp.StatusCode, body, seen)
		}
	}
	if log := p.log.text(); !strings.Contains(log, "-easyops.tls-ca") || strings.Contains(log, "user-bob") {
		t.Error("the log does not name the setting, or has the token")
	}
}
