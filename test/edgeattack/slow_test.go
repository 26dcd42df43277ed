package edgeattack

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// slowness is a way to keep a connection and say too little on it.
type slowness struct {
	name  string
	first string        // sent at once
	drip  string        // sent every second
	most  time.Duration // that it may take; 0: soon
	raw   bool          // below TLS
}

// soon is within how long a connection that owes something must be closed.
const soon = 8 * time.Second

const (
	head          = "GET /a HTTP/1.1\r\nHost: localhost\r\n"
	emptySettings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

var slow = []slowness{
	{name: "silent"},
	{name: "half request line", first: "GET /a"},
	{name: "half headers", first: head},
	{name: "headers in drops", first: head, drip: "X-A: b\r\n"},
	{name: "half preface", first: http2.ClientPreface[:10]},
	{name: "preface without SETTINGS", first: http2.ClientPreface},
	{name: "half header block", first: http2.ClientPreface + emptySettings + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x83"},
	{name: "header block in drops", first: http2.ClientPreface + emptySettings + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x83", drip: "\x00\x00\x00\x09\x00\x00\x00\x00\x01"},
	{name: "TLS, silent", raw: true},
	{name: "TLS, half hello", first: "\x16\x03\x01\x02\x00\x01\x00", raw: true},
	{name: "TLS, hello in drops", first: "\x16\x03\x01\x02\x00\x01\x00", drip: "\x00", raw: true},
}

// keep opens a connection, says little on it, and returns how long the front let
// it.
func (s slowness) keep(f *front) (time.Duration, error) {
	begun := time.Now()
	protocol := "http/1.1"
	if strings.HasPrefix(s.first, http2.ClientPreface[:10]) {
		protocol = "h2"
	}
	over := *f
	if s.raw {
		over.tls = nil
	}
	conn, err := over.dial(protocol)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if secure, ok := conn.(*tls.Conn); ok {
		if err := secure.Handshake(); err != nil {
			return 0, err
		}
	}
	if _, err := io.WriteString(conn, s.first); err != nil {
		return 0, err
	}
	gone := make(chan struct{})
	defer close(gone)
	go dripping(conn, s.drip, gone)
	_ = conn.SetReadDeadline(time.Now().Add(max(s.most, soon) + patience/2))
	_, err = io.Copy(io.Discard, conn)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // io.Copy returns it as it is
		return time.Since(begun), fmt.Errorf("open after %v", time.Since(begun).Round(time.Second))
	}
	return time.Since(begun), nil // a reset is an end too
}

func dripping(conn net.Conn, drip string, gone <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for drip != "" {
		select {
		case <-gone:
			return
		case <-tick.C:
			if _, err := io.WriteString(conn, drip); err != nil {
				return
			}
		}
	}
}

// many keeps several connections, all in the same way.
func (s slowness) many(f *front) (took []time.Duration, errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range slowEach {
		wg.Go(func() {
			d, err := s.keep(f)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, d)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return took, errs
}

// TestSlow keeps connections in all ways at once: the edge closes them, the backend
// hears nothing, and others are served meanwhile.
func TestSlow(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	plaintext, _ := startEdge(t, newBehind(t), "", false, keys)
	secure, _ := startEdge(t, newBehind(t), "", true, keys)
	naive := startNaive(t)
	var wg sync.WaitGroup
	for _, f := range []*front{plaintext, secure, naive} {
		for i, s := range slow {
			if s.raw && f.tls == nil || f == naive && i > 3 {
				continue
			}
			wg.Go(func() {
				took, errs := s.many(f)
				switch {
				case f == naive && len(errs) < slowEach:
					t.Errorf("%s: a proxy without limits closed it too", s.name)
				case f != naive && len(errs) > 0:
					t.Errorf("%s, %s: %d of %d: %v", f.name, s.name, len(errs), slowEach, errs[0])
				case f != naive && slices.Max(took) > soon+patience/4:
					t.Errorf("%s, %s: closed after %v", f.name, s.name, slices.Max(took))
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	for open := true; open; {
		select {
		case <-done:
			open = false
		case <-time.After(100 * time.Millisecond):
			for _, f := range []*front{plaintext, secure} {
				if raw, _, _ := f.victim(t); raw != "" && !strings.HasPrefix(raw, "GET /victim ") {
					t.Errorf("%s: the backend was sent %q", f.name, raw)
				}
			}
		}
	}
}

// TestSlowBodies sends the bodies of requests in drops, which are cut off, and one that
// takes long but comes along, which is not.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	const post, most = "POST /a HTTP/1.1\r\nHost: localhost\r\n", 12 * time.Second
	keys, _ := newKeys(t)
	f, _ := startEdge(t, newBehind(t), "", true, keys)
	naive := startNaive(t)
	var wg sync.WaitGroup
	for _, s := range []slowness{
		{name: "silent", first: post + "Content-Length: 1000\r\n\r\n", most: most},
		{name: "in drops", first: post + "Content-Length: 1000\r\n\r\n", drip: "a", most: most},
		{name: "in chunks of a byte", first: post + "Transfer-Encoding: chunked\r\n\r\n", drip: "1\r\na\r\n", most: most},
	} {
		wg.Go(func() {
			if took, errs := s.many(f); len(errs) > 0 || slices.Max(took) > most+patience/4 {
				t.Errorf("body %s: closed after %v: %v", s.name, slices.Max(took), errs)
			}
		})
		wg.Go(func() {
			if _, err := s.keep(naive); err == nil {
				t.Errorf("body %s: a proxy without limits closed it too", s.name)
			}
		})
	}
	wg.Go(func() { f.upload(t, 15*time.Second) })
	wg.Wait()
}

// upload sends a body that takes a while, 128 KiB a second, and wants an answer.
func (f *front) upload(t *testing.T, takes time.Duration) {
	conn, err := f.dial("http/1.1")
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(takes + patience))
	part, parts := strings.Repeat("a", 64<<10), int(takes/(500*time.Millisecond))
	_, err = fmt.Fprintf(conn, "POST /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", len(part)*parts)
	tick := time.NewTicker(takes / time.Duration(parts))
	defer tick.Stop()
	for n := 0; n < parts && err == nil; n++ {
		<-tick.C
		_, err = io.WriteString(conn, part)
	}
	answer, _ := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("an upload of %v: %v, %.100q", takes, err, answer)
	}
}
