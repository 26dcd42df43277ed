package edge

import (
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

// An instance that breaks each connection off, and is the only one, is tried again
// after a pause, and the log says how it failed.
func TestAttemptsPause(t *testing.T) {
	p := newPlace(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var attempts atomic.Int32
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			attempts.Add(1)
			_ = conn.Close()
		}
	}()
	p.certificate("ca", "ca")
	p.list("page", registry.KindHTTP, l.Addr().String())
	c := p.config("http:\n- {service: page, allow: EVERYONE, connect_timeout: 1500ms}\n", "-easyops.tls-ca="+p.dir+"/ca.pem")
	c.Options = append(c.Options, easyops.WithTLSFiles("", "", ""), easyops.WithDrainDelay(0))
	e := p.start(c)
	if resp, _ := get(t, browser(t), "http://"+e.Addr().String()+"/"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Error(resp.Status)
	}
	if n := attempts.Load(); n < 2 || n > 4 {
		t.Errorf("%d attempts in 1.5 s", n)
	}
	if log := p.log.text(); !strings.Contains(log, "no instance can be had") || !strings.Contains(log, l.Addr().String()+": ") {
		t.Errorf("the log does not say how the instance failed:\n%s", log)
	}
}

// Instances that do not answer take no more time together than there is.
func TestSilentInstances(t *testing.T) {
	p := newPlace(t)
	for range 15 {
		l, err := net.Listen("tcp", "127.0.0.1:0") // connects, and says nothing
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		p.list("page", registry.KindHTTP, l.Addr().String())
	}
	p.certificate("ca", "ca")
	c := p.config("http:\n- {service: page, allow: EVERYONE, connect_timeout: 900ms}\n", "-easyops.tls-ca="+p.dir+"/ca.pem")
	c.Options = append(c.Options, easyops.WithTLSFiles("", "", ""), easyops.WithDrainDelay(0))
	e := p.start(c)
	begun := time.Now()
	resp, _ := get(t, browser(t), "http://"+e.Addr().String()+"/")
	if took := time.Since(begun); resp.StatusCode != http.StatusServiceUnavailable || took > 3*time.Second {
		t.Errorf("%s after %v", resp.Status, took)
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
