package attack

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/go-easyops/easyops/test/serve"
)

const emptySettings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// slowness is a way to keep a connection and say too little on it.
type slowness struct {
	name  string
	first string // sent at once
	drip  string // sent every second
	late  string // sent after 4 s
	tls   []string
	raw   bool // below TLS
	most  time.Duration
}

// soon is within how long a connection that owes something must be closed.
const soon = 7 * time.Second

var slow = []slowness{
	{name: "silent"},
	{name: "half preface", first: http2.ClientPreface[:10]},
	{name: "preface byte by byte", first: "P", drip: "R"},
	{name: "preface without SETTINGS", first: http2.ClientPreface},
	{name: "half SETTINGS", first: http2.ClientPreface + emptySettings[:5]},
	{name: "half header block", first: http2.ClientPreface + emptySettings + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x83"},
	{name: "CONTINUATION in drops", first: http2.ClientPreface + emptySettings + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x83", drip: "\x00\x00\x00\x09\x00\x00\x00\x00\x01"},
	{name: "preface that turns out to be none", first: "PRI", late: " * HTTQ"},
	{name: "half request line", first: "GET /livez"},
	{name: "HTTP headers in drops", first: "GET /livez HTTP/1.1\r\nHost: localhost\r\n", drip: "X-A: b\r\n"},
	{name: "HTTP body in drops", first: "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", drip: "a", most: 12 * time.Second},

	{name: "TLS, silent", tls: []string{"h2"}, raw: true},
	{name: "TLS, half hello", first: "\x16\x03\x01\x02\x00\x01\x00", tls: []string{"h2"}, raw: true},
	{name: "TLS, hello in drops", first: "\x16\x03\x01\x02\x00\x01\x00", drip: "\x00", tls: []string{"h2"}, raw: true},
	{name: "TLS h2, silent", tls: []string{"h2"}},
	{name: "TLS h2, half preface", first: http2.ClientPreface[:10], tls: []string{"h2"}},
	{name: "TLS h2, preface without SETTINGS", first: http2.ClientPreface, tls: []string{"h2"}},
	{name: "TLS h2+http/1.1, silent", tls: []string{"h2", "http/1.1"}},
	{name: "TLS h2+http/1.1, half SETTINGS", first: http2.ClientPreface + emptySettings[:5], tls: []string{"h2", "http/1.1"}},
	{name: "TLS h2+http/1.1, preface without SETTINGS", first: http2.ClientPreface, tls: []string{"h2", "http/1.1"}},
	{name: "TLS http/1.1, silent", tls: []string{"http/1.1"}},
	{name: "TLS http/1.1, headers in drops", first: "GET /livez HTTP/1.1\r\nHost: localhost\r\n", drip: "X-A: b\r\n", tls: []string{"http/1.1"}},
}

// keep opens a connection, says little on it, and returns how long the server
// let it.
func (s slowness) keep(t *testing.T, x *target) (time.Duration, error) {
	on := *x
	if s.raw {
		on.tls = nil
	} else if x.tls != nil {
		on.tls = x.tls.Clone()
		on.tls.NextProtos = s.tls
	}
	begun := time.Now()
	c := on.dial(t)
	defer c.Close()
	if hs, ok := c.(interface{ Handshake() error }); ok {
		if err := hs.Handshake(); err != nil {
			return 0, err
		}
	}
	if _, err := io.WriteString(c, s.first); err != nil {
		return 0, err
	}
	gone := make(chan struct{})
	defer close(gone)
	go dripping(c, s.drip, gone)
	if s.late != "" {
		late := time.AfterFunc(4*time.Second, func() { _, _ = io.WriteString(c, s.late) })
		defer late.Stop()
	}
	_, err := ended(c, max(s.most, soon)+patience)
	return time.Since(begun), err
}

func dripping(c net.Conn, drip string, gone <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for drip != "" {
		select {
		case <-gone:
			return
		case <-tick.C:
			if _, err := io.WriteString(c, drip); err != nil {
				return
			}
		}
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	x := start(t, serve.Build(t, program))
	over := startTLS(t, serve.Build(t, program), "h2")
	stop := make(chan struct{})
	var good sync.WaitGroup
	for _, x := range []*target{x, over} {
		good.Go(func() {
			c := x.client(t)
			defer c.close()
			l, failed := callUntil(func() error { return c.echo("good") }, stop, 1)
			if len(failed) > 0 {
				t.Errorf("%s: %d of %d calls of a good client failed, first: %v", x.name, len(failed), len(l), failed[0])
			}
			t.Logf("%s: a good client made %d calls meanwhile, p99 %v", x.name, len(l), l.at(0.99).Round(10*time.Microsecond))
		})
	}
	report := make([]string, len(slow))
	var all sync.WaitGroup
	for i, s := range slow {
		if s.most > 0 && !full {
			continue // it takes longer than all the others
		}
		x := x
		if s.tls != nil {
			x = over
		}
		all.Go(func() { report[i] = s.many(t, x) })
	}
	all.Wait()
	close(stop)
	good.Wait()
	t.Logf("%d connections of each kind, closed after:\n%s", slowEach, strings.Join(report, "\n"))
}

// many opens connections that are all slow in the same way.
func (s slowness) many(t *testing.T, x *target) string {
	var mu sync.Mutex
	var took latencies
	var wg sync.WaitGroup
	for range slowEach {
		wg.Go(func() {
			d, err := s.keep(t, x)
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, d)
		})
	}
	wg.Wait()
	if most := max(s.most, soon); slices.Max(took) > most+tardiness {
		t.Errorf("%s: closed after %v, want %v", s.name, slices.Max(took), most)
	}
	return fmt.Sprintf("  %-45s %4.1f to %4.1f s", s.name, slices.Min(took).Seconds(), slices.Max(took).Seconds())
}

// TestSlowControl shows that connections of the same kinds stay open where
// nothing closes them.
func TestSlowControl(t *testing.T) {
	t.Parallel()
	bare := startBare(t)
	var all sync.WaitGroup
	for _, s := range slow[:4] {
		c := bare.dial(t)
		all.Go(func() {
			_, _ = io.WriteString(c, s.first)
			if _, err := ended(c, soon); err == nil {
				t.Errorf("%s: grpc-go alone closed it too", s.name)
			}
		})
	}
	all.Wait()
}
